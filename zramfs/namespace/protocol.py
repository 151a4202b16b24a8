"""What the daemon and a keeper both know of their link."""

from typing import Final

READY: Final = "ready"
"""The request that says: all devices that there are have been attached."""
