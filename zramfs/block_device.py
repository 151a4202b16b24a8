"""Any block device, by system calls: opened, asked whether it answers, discarded."""

import fcntl
import mmap
import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from zramfs.patience import ask_patiently
from zramfs.units import PAGE_SIZE

_BLKDISCARD: Final = 0x1277
_RANGE: Final = struct.Struct("=2Q")
"""What BLKDISCARD takes: where it begins, and how many bytes."""


@contextmanager
def opened(path: Path, flags: int = os.O_RDONLY) -> Iterator[int]:
    """Open a device, and close it at the end; OSError if it cannot be opened."""
    fd = os.open(path, flags | os.O_CLOEXEC)
    try:
        yield fd
    finally:
        os.close(fd)


def discard_swap_area(path: Path) -> None:
    """Discard an unused swap area, except its first page: the header there keeps it a swap area.

    OSError with EOPNOTSUPP if the device cannot discard.
    """
    with opened(path, os.O_RDWR) as fd:
        size_bytes = os.lseek(fd, 0, os.SEEK_END)
        fcntl.ioctl(fd, _BLKDISCARD, _RANGE.pack(mmap.PAGESIZE, size_bytes - mmap.PAGESIZE))


def is_readable(path: Path) -> bool:
    """Whether a block device can be read past the kernel's page cache; TimeoutError if it does not answer."""
    return ask_patiently(lambda: b"readable" if _answers(path) else b"") == b"readable"


def _answers(path: Path) -> bool:
    try:
        with opened(path, os.O_RDONLY | os.O_DIRECT) as fd, mmap.mmap(-1, PAGE_SIZE) as page:
            return os.preadv(fd, [page], 0) == PAGE_SIZE
    except OSError:
        return False
