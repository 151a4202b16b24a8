"""One script of requests, which has the same replies, errors and statistics on every transport."""

import ctypes
import errno
import mmap
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from mounts import MIB, Mounted

Mount = Callable[..., Mounted]

PAGE = 4096
SIZE = 16 * MIB
KEEP, PUNCH, ZERO = 1, 2, 16


class File:
    """A block file that is open for direct, synchronous I/O, so that each call is one request; and its model."""

    def __init__(self, path: Path) -> None:
        self.fd = os.open(path, os.O_RDWR | os.O_DIRECT | os.O_DSYNC)
        self.model = bytearray(SIZE)

    def write(self, offset: int, data: bytes) -> int:
        with mmap.mmap(-1, max(len(data), PAGE)) as room:
            room[: len(data)] = data
            with memoryview(room) as view:
                written = os.pwritev(self.fd, [view[: len(data)]], offset)
        self.model[offset : offset + written] = data[:written]
        return written

    def read(self, offset: int, size: int) -> bytes:
        with mmap.mmap(-1, max(size, PAGE)) as room:
            with memoryview(room) as view:
                count = os.preadv(self.fd, [view[:size]], offset)
            return room[:count]

    def fallocate(self, mode: int, offset: int, size: int) -> None:
        os_fallocate(self.fd, mode, offset, size)
        end = min(offset + size, SIZE)
        self.model[offset:end] = bytes(end - offset)


def os_fallocate(fd: int, mode: int, offset: int, size: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.fallocate(fd, mode, ctypes.c_long(offset), ctypes.c_long(size)):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


@pytest.fixture
def mounted(mount: Mount) -> Mounted:
    return mount(size="16M")


@pytest.fixture
def file(mounted: Mounted) -> Iterator[File]:
    file = File(mounted.file)
    yield file
    os.close(file.fd)


def errno_of(call: Callable[[], object]) -> int:
    try:
        call()
    except OSError as error:
        return error.errno or 0
    return 0


def test_script_has_the_same_replies_and_statistics(mounted: Mounted, file: File) -> None:
    pages = os.urandom(300 * PAGE)
    for offset, size in [
        (0, PAGE),
        (PAGE, 33 * PAGE),
        (MIB, 256 * PAGE),
        (512, 1024),
        (3 * PAGE - 7, 5),
        (MIB + 9, 9000),
    ]:
        assert file.write(offset, pages[:size]) == size
    file.fallocate(PUNCH | KEEP, 2 * PAGE, 3 * PAGE)
    file.fallocate(ZERO | KEEP, MIB + 100, 2 * PAGE)
    file.fallocate(ZERO, 40 * PAGE, PAGE)
    file.fallocate(PUNCH | KEEP, SIZE - PAGE, MIB)
    assert file.write(SIZE - PAGE, pages[: 2 * PAGE]) == PAGE
    assert errno_of(lambda: file.write(SIZE, pages[:PAGE])) == errno.ENOSPC
    assert errno_of(lambda: file.fallocate(0, 0, PAGE)) == errno.EOPNOTSUPP
    for offset, size in [(0, PAGE), (0, 40 * PAGE), (MIB, MIB), (5, 7), (PAGE - 1, 2 * PAGE + 2), (SIZE - PAGE, PAGE)]:
        assert file.read(offset, size) == file.model[offset : offset + size]
    assert file.read(SIZE, PAGE) == b""
    assert os.lseek(file.fd, 36 * PAGE, os.SEEK_DATA) == MIB
    assert os.lseek(file.fd, 0, os.SEEK_HOLE) == 2 * PAGE
    assert errno_of(lambda: os.lseek(file.fd, SIZE, os.SEEK_DATA)) == errno.ENXIO
    stat = [int(field) for field in mounted.show("stat").split()]
    reads, writes, discards = stat[0], stat[4], stat[11]
    assert (reads, writes, discards) == (6, 7, 4)
    assert [int(field) for field in mounted.show("io_stat").split()] == [0, 0, 0, 3 + 1 + 1 + 1]


def test_what_is_no_block_file_is_answered_beside_it(mounted: Mounted, file: File) -> None:
    del file
    fd = os.open(mounted.attribute("disksize"), os.O_RDONLY)
    try:
        assert os.pread(fd, 100, 0) == b"16777216\n"
        assert os.lseek(fd, 0, os.SEEK_HOLE) == PAGE
        assert errno_of(lambda: os_fallocate(fd, KEEP | PUNCH, 0, PAGE)) in (errno.EBADF, errno.EOPNOTSUPP)
    finally:
        os.close(fd)
    writable = os.open(mounted.attribute("idle"), os.O_WRONLY)
    try:
        assert errno_of(lambda: os_fallocate(writable, KEEP | PUNCH, 0, PAGE)) == errno.EOPNOTSUPP
    finally:
        os.close(writable)
    assert {path.name for path in mounted.path.iterdir()} == {"sys", "zram0"}


def test_transport_is_the_one_that_was_asked_for(mounted: Mounted, transport: str) -> None:
    lines = (mounted.path / "sys/fs/zramfs/transport").read_text().splitlines()
    shown = dict(line.split() for line in lines)
    assert shown["transport"] == transport
    assert int(shown["queues"]) == sum(key.startswith("requests_") for key in shown)
    assert int(shown["handed_over"]) > 0
    assert mounted.status()["daemon"]["transport"]["transport"] == transport
