"""The kernel's zram and a mounted one behind the same calls: a block file, open for direct I/O, and attributes."""

import ctypes
import errno
import fcntl
import mmap
import os
import re
import struct
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from mounts import Mounted

PAGE = 4096

_CONTROL = Path("/sys/class/zram-control")
_BLKDISCARD = 0x1277
_KEEP_SIZE, _PUNCH_HOLE, _ZERO_RANGE = 0x01, 0x02, 0x10

_libc = ctypes.CDLL(None, use_errno=True)


class ZramDisk(ABC):
    """A zram disk, uninitialised at first. Offsets and sizes are bytes; whatever is refused raises OSError."""

    def __init__(self, *, block_file: Path, attributes: Path, disksize: int) -> None:
        self._block_file = block_file
        self._attributes = attributes
        self._disksize = disksize
        self.algorithm = "lz4"  # from the next start on
        self.parameters = ""  # likewise: what algorithm_params gets
        self._fd = -1

    def initialise(self) -> None:
        self.set("comp_algorithm", self.algorithm)
        if self.parameters:
            self.set("algorithm_params", self.parameters)
        self.set("disksize", str(self._disksize))
        self._fd = os.open(self._block_file, os.O_RDWR | os.O_DIRECT)

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def start_anew(self) -> None:
        """Reset it and give it its size again."""
        self.close()
        when_free(lambda: self.set("reset", "1"))
        self.initialise()

    def set(self, attribute: str, value: str) -> None:
        (self._attributes / attribute).write_text(value)

    def numbers(self, attribute: str) -> tuple[int, ...]:
        return tuple(map(int, (self._attributes / attribute).read_text().split()))

    @abstractmethod
    def read(self, offset: int, size: int) -> bytes: ...

    @abstractmethod
    def write(self, offset: int, data: bytes) -> int: ...

    @abstractmethod
    def discard(self, offset: int, size: int) -> None: ...

    def zero(self, offset: int, size: int) -> None:
        self._fallocate(_ZERO_RANGE, offset, size)

    def _fallocate(self, mode: int, offset: int, size: int) -> None:
        if _libc.fallocate(self._fd, mode | _KEEP_SIZE, ctypes.c_int64(offset), ctypes.c_int64(size)):
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))


class KernelZram(ZramDisk):
    """A zram device of the kernel. It takes whole pages, from memory that is aligned; parts are patched in here."""

    def __init__(self, number: int, disksize: int) -> None:
        super().__init__(
            block_file=Path(f"/dev/zram{number}"), attributes=Path(f"/sys/block/zram{number}"), disksize=disksize
        )
        self._buffer = memoryview(mmap.mmap(-1, disksize))

    def read(self, offset: int, size: int) -> bytes:
        skip = offset % PAGE
        window = self._buffer[: _round_up(skip + size)]
        filled = os.preadv(self._fd, [window], offset - skip)
        return bytes(window[skip : min(skip + size, filled)])

    def write(self, offset: int, data: bytes) -> int:
        skip = offset % PAGE
        window = self._buffer[: _round_up(skip + len(data))]
        if len(window) != len(data):
            os.preadv(self._fd, [window], offset - skip)
        window[skip : skip + len(data)] = data
        written = os.pwrite(self._fd, window, offset - skip)
        return min(written - skip, len(data))

    def discard(self, offset: int, size: int) -> None:
        fcntl.ioctl(self._fd, _BLKDISCARD, struct.pack("QQ", offset, size))


class MountedZram(ZramDisk):
    """The device of a mount that was made without a size."""

    def __init__(self, mounted: Mounted, disksize: int) -> None:
        super().__init__(block_file=mounted.file, attributes=mounted.attribute(""), disksize=disksize)

    def read(self, offset: int, size: int) -> bytes:
        return os.pread(self._fd, size, offset)

    def write(self, offset: int, data: bytes) -> int:
        return os.pwrite(self._fd, data, offset)

    def discard(self, offset: int, size: int) -> None:
        self._fallocate(_PUNCH_HOLE, offset, size)


@contextmanager
def numbers_of_the_kernel(*, alone: bool = False) -> Iterator[None]:
    """Keep a test of this machine that is `alone` from meeting devices that others add to the kernel's.

    It lists all devices, or removes one twice: the number may be another test's by then. The kernel's folder has the
    lock, which those who add a device share.
    """
    folder = os.open(_CONTROL, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
        yield
    finally:
        os.close(folder)


def _round_up(size: int) -> int:
    return -(-size // PAGE) * PAGE


@contextmanager
def hot_added(disksize: int, *algorithms: str, parameters: str = "") -> Iterator[KernelZram]:
    """Add a device to the kernel's and remove it afterwards; skips the test where that cannot be.

    It has the first of the algorithms (lz4 if none is named) with its `parameters`, and must know all of them.
    """
    if os.geteuid() != 0:
        pytest.skip("a zram device of the kernel needs root")
    if not (_CONTROL / "hot_add").exists():
        pytest.skip("no zram in this kernel (/sys/class/zram-control/hot_add)")
    with numbers_of_the_kernel():
        number = int((_CONTROL / "hot_add").read_text())
    try:
        wanted = algorithms or ("lz4",)
        known = re.findall(r"[\w-]+", Path(f"/sys/block/zram{number}/comp_algorithm").read_text())
        if missing := set(wanted).difference(known):
            pytest.skip(f"this kernel's zram has no {', '.join(sorted(missing))}")
        device = KernelZram(number, disksize)
        device.algorithm = wanted[0]
        device.parameters = parameters
        try:
            device.initialise()
            yield device
        finally:
            device.close()
    finally:
        when_free(lambda: (_CONTROL / "hot_remove").write_text(str(number)))


def when_free(do: Callable[[], object]) -> None:
    """Do what takes a device that nobody has open; udev may, for a moment, and a release takes its time."""
    for _ in range(50):
        try:
            do()
        except OSError as error:
            if error.errno != errno.EBUSY:
                raise
            time.sleep(0.1)
        else:
            return
    do()
