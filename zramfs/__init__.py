"""zram in user space: a compressed RAM disk as a FUSE mount.

`with zramfs.mount(size="1G") as disk:` is all that a program needs (docs/library.md). docs/architecture.md shows the
way of a write through the levels below. Each name is imported when it is first used: `import zramfs` costs nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from zramfs.errors import BadUsage, CommandFailed, InvalidValue, MountFailed, NotMounted, ZramError
    from zramfs.library.attributes import Attributes
    from zramfs.library.disk import Device, Disk
    from zramfs.library.mounting import mount
    from zramfs.library.status import Status

__version__ = "0.1.0"

__all__ = [
    "Attributes",
    "BadUsage",
    "CommandFailed",
    "Device",
    "Disk",
    "InvalidValue",
    "MountFailed",
    "NotMounted",
    "Status",
    "ZramError",
    "mount",
]

_WHERE: Final = {
    "Attributes": "library.attributes",
    "Device": "library.disk",
    "Disk": "library.disk",
    "Status": "library.status",
    "mount": "library.mounting",
}


def __getattr__(name: str) -> object:
    """Import a public name (PEP 562)."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value: object = getattr(import_module(f"zramfs.{_WHERE.get(name, 'errors')}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """Name what is public, imported or not."""
    return [*__all__, *(name for name in globals() if name.startswith("__"))]
