"""The kernel's loop devices, by their ioctls (linux/loop.h). Level 0."""

import fcntl
import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_SET_CAPACITY: Final = 0x4C07
_GET_STATUS64: Final = 0x4C05

_INFO: Final = struct.Struct("=5Q4I64s64s32s2Q")
"""loop_info64: lo_device, lo_inode, lo_rdevice, lo_offset, lo_sizelimit, lo_number, lo_encrypt_type, its key's size,
lo_flags, lo_file_name, lo_crypt_name, the key, lo_init."""

_BLOCK_DEVICES: Final = Path("/sys/block")


@dataclass(frozen=True, slots=True)
class BackingFile:
    """What a loop device is bound to: its file system's st_dev, and its inode."""

    device: int
    inode: int


def refresh_capacity(backing: BackingFile) -> None:
    """Tell every loop device over a file that its size has changed, as `losetup --set-capacity` does.

    The kernel asks the file system for the size meanwhile. Loop devices that we may not open stay as they are.
    """
    for path in _bound_loops():
        with suppress(OSError), _opened(path) as fd:
            if _backing_file(fd) == backing:
                fcntl.ioctl(fd, _SET_CAPACITY)


def _bound_loops() -> Iterator[Path]:
    return (Path("/dev", bound.parent.name) for bound in _BLOCK_DEVICES.glob("loop*/loop"))


def _backing_file(fd: int) -> BackingFile:
    """Ask what is behind an open loop device; ENXIO if nothing is. The size that the kernel knows is fresh then."""
    device, inode, *_ = _INFO.unpack(fcntl.ioctl(fd, _GET_STATUS64, bytes(_INFO.size)))
    return BackingFile(device, inode)


@contextmanager
def _opened(path: Path) -> Iterator[int]:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        yield fd
    finally:
        os.close(fd)
