"""From the kernel's words to a bio, and from the ended bio to the kernel's words."""

import errno
import os
from collections.abc import Iterator
from typing import Any, Final

import pytest
from disks import do, lz4_disk
from fuse_kernel import (
    FALLOCATE,
    FORGET,
    GETATTR,
    INIT,
    INTERRUPT,
    LSEEK,
    OPEN,
    READ,
    WRITE,
    WRITE_CACHE,
    allocating,
    message,
    offset_of,
    reading,
    seeking,
    size_of,
    writing,
)

from zramfs.block.disk import Disk
from zramfs.receive.handles import FIRST_OTHER_HANDLE, Handles

PAGE: Final = 4096
SIZE: Final = 64 * PAGE
SUBMIT, ANSWER, HAND_OVER, IGNORE = range(4)
READS, WRITES, PUNCHES = range(3)
KEEP, HOLE, ZERO = 1, 2, 16


@pytest.fixture
def disk() -> Iterator[Disk]:
    with lz4_disk(64, receivers=1) as disk:
        yield disk


@pytest.fixture
def handles() -> Handles:
    return Handles()


@pytest.fixture
def handle(handles: Handles, disk: Disk) -> int:
    return handles.open_disk(disk, os.O_RDWR)


# ---- requests -------------------------------------------------------------------------------------------------------


def test_read_becomes_a_bio(doors: Any, handles: Handles, handle: int) -> None:
    verdict, bio = doors.read_one(message(READ, 8, reading(handle, 123, 4567)), handles)
    assert (verdict, bio["operation"], bio["unique"]) == (SUBMIT, READS, 8)
    assert (bio["offset_bytes"], bio["size_bytes"], bio["error"]) == (123, 4567, 0)


def test_write_becomes_a_bio_with_its_payload(doors: Any, handles: Handles, handle: int) -> None:
    verdict, bio = doors.read_one(message(WRITE, 2, writing(handle, 5, 4)), handles, b"data")
    assert (verdict, bio["operation"], bio["has_payload"]) == (SUBMIT, WRITES, True)
    assert (bio["offset_bytes"], bio["size_bytes"], bio["is_urgent"]) == (5, 4, False)


@pytest.mark.parametrize(
    ("flags", "write_flags", "is_async"),
    [
        (0, 0, False),
        (0, WRITE_CACHE, True),
        (os.O_DIRECT, 0, True),
        (os.O_DIRECT | os.O_DSYNC, 0, False),
        (os.O_DIRECT | os.O_SYNC, 0, False),
        (os.O_DIRECT | os.O_DSYNC, WRITE_CACHE, True),
        (os.O_DSYNC, 0, False),
    ],
)
def test_write_is_asynchronous_if_nobody_waits_for_it_by_itself(
    doors: Any, handles: Handles, handle: int, flags: int, write_flags: int, *, is_async: bool
) -> None:
    body = writing(handle, 0, 4, flags=os.O_RDWR | flags, write_flags=write_flags)
    assert doors.read_one(message(WRITE, 2, body), handles, b"data")[1]["is_async"] is is_async


@pytest.mark.parametrize("mode", [HOLE | KEEP, ZERO, ZERO | KEEP])
def test_range_that_is_freed_becomes_a_bio_that_ends_with_the_disk(
    doors: Any, handles: Handles, handle: int, mode: int
) -> None:
    verdict, bio = doors.read_one(message(FALLOCATE, 2, allocating(handle, mode, PAGE, 2 * PAGE)), handles)
    assert (verdict, bio["operation"]) == (SUBMIT, PUNCHES)
    assert (bio["offset_bytes"], bio["size_bytes"]) == (PAGE, 2 * PAGE)
    if mode & KEEP:
        _, bio = doors.read_one(message(FALLOCATE, 2, allocating(handle, mode, PAGE, SIZE)), handles)
        assert bio["size_bytes"] == SIZE - PAGE


@pytest.mark.parametrize(
    ("mode", "offset", "size", "error"),
    [
        (0, 0, PAGE, errno.EOPNOTSUPP),
        (HOLE, 0, PAGE, errno.EOPNOTSUPP),
        (64, 0, PAGE, errno.EOPNOTSUPP),
        (ZERO, 0, SIZE + 1, errno.EINVAL),
        (HOLE | KEEP, SIZE, PAGE, errno.EINVAL),
    ],
)
def test_range_that_cannot_be_freed_is_answered_at_once(
    doors: Any, handles: Handles, handle: int, mode: int, offset: int, size: int, error: int
) -> None:
    verdict, bio = doors.read_one(message(FALLOCATE, 2, allocating(handle, mode, offset, size)), handles)
    assert (verdict, bio["error"]) == (ANSWER, error)


def test_data_and_holes_are_found_at_once(doors: Any, handles: Handles, disk: Disk, handle: int) -> None:
    do(disk, "write", 4 * PAGE, b"x" * PAGE)

    def seek(offset: int, whence: int) -> tuple[int, int, int]:
        verdict, bio = doors.read_one(message(LSEEK, 2, seeking(handle, offset, whence)), handles)
        return verdict, bio["error"], bio["found"]

    assert seek(0, os.SEEK_DATA) == (ANSWER, 0, 4 * PAGE)
    assert seek(4 * PAGE, os.SEEK_HOLE) == (ANSWER, 0, 5 * PAGE)
    assert seek(5 * PAGE, os.SEEK_DATA)[:2] == (ANSWER, errno.ENXIO)
    assert seek(0, os.SEEK_END)[:2] == (ANSWER, errno.EINVAL)


@pytest.mark.parametrize("opcode", [GETATTR, OPEN, INIT, FORGET])
def test_what_is_no_bio_is_handed_over(doors: Any, handles: Handles, handle: int, opcode: int) -> None:
    assert doors.read_one(message(opcode, 2, reading(handle, 0, 1)), handles)[0] == HAND_OVER


@pytest.mark.parametrize("opcode", [READ, WRITE, FALLOCATE, LSEEK])
@pytest.mark.parametrize("other", [FIRST_OTHER_HANDLE, 1, 1 << 63])
def test_what_is_for_another_file_is_handed_over(
    doors: Any, handles: Handles, handle: int, opcode: int, other: int
) -> None:
    assert handle == 0
    assert doors.read_one(message(opcode, 2, reading(other, 0, 1)), handles)[0] == HAND_OVER


def test_nobody_acts_on_an_interrupt(doors: Any, handles: Handles) -> None:
    assert doors.read_one(message(INTERRUPT, 2, bytes(8)), handles)[0] == IGNORE


# ---- replies --------------------------------------------------------------------------------------------------------


def test_reply_to_a_read_has_its_data_behind_the_header(doors: Any) -> None:
    header, argument, data_bytes = doors.reply_to(READ, 6, 3 * PAGE, 0)
    assert header == {"len": 16 + 3 * PAGE, "error": 0, "unique": 6}
    assert (argument, data_bytes) == (b"", 3 * PAGE)


def test_reply_to_a_write_says_how_much_was_written(doors: Any) -> None:
    header, argument, data_bytes = doors.reply_to(WRITE, 6, 700, 0)
    assert (header["len"], size_of(argument), data_bytes) == (16 + 8, 700, 0)


def test_reply_to_a_seek_says_where(doors: Any) -> None:
    header, argument, data_bytes = doors.reply_to(LSEEK, 6, 0, 0, found=1 << 40)
    assert (header["len"], offset_of(argument), data_bytes) == (16 + 8, 1 << 40, 0)


def test_reply_to_a_freed_range_has_nothing_behind_its_header(doors: Any) -> None:
    assert doors.reply_to(FALLOCATE, 6, PAGE, 0) == ({"len": 16, "error": 0, "unique": 6}, b"", 0)


@pytest.mark.parametrize("opcode", [READ, WRITE, LSEEK, FALLOCATE])
def test_reply_to_what_has_failed_is_its_errno_alone(doors: Any, opcode: int) -> None:
    assert doors.reply_to(opcode, 6, PAGE, errno.EIO) == ({"len": 16, "error": -errno.EIO, "unique": 6}, b"", 0)
