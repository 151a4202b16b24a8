"""zram in user space: a compressed RAM disk as a FUSE mount.

docs/architecture.md shows the way of a write through the levels below.
"""

__version__ = "0.1.0"
