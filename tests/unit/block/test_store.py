"""What a commit leaves in a slot and in the pool, whatever was there."""

import os
from collections.abc import Iterator
from itertools import product

import pytest
from disks import lz4_disk

from zramfs.block.disk import Disk
from zramfs.block.request import Outcome, Request
from zramfs.errors import MemoryLimitReached

PAGE = 4096
ZEROS, PATTERN = bytes(PAGE), b"12345678" * (PAGE // 8)
SMALL, HUGE = os.urandom(1000) + bytes(PAGE - 1000), os.urandom(PAGE)
NAMES = {ZEROS: "zeros", PATTERN: "pattern", SMALL: "small", HUGE: "huge"}
OBJECTS = {ZEROS: 0, PATTERN: 0, SMALL: 1, HUGE: 1}


@pytest.fixture
def disk() -> Iterator[Disk]:
    with lz4_disk(256, receivers=1) as disk:
        yield disk


def write(disk: Disk, data: bytes, page: int = 0) -> int:
    request = Request("write", page * PAGE, data, channel=1)
    assert request.submit(disk) == Outcome.ENDED
    return request.result()


def read(disk: Disk, page: int = 0) -> bytes:
    out = bytearray(PAGE)
    Request("read", page * PAGE, out, channel=1).submit(disk)
    return bytes(out)


@pytest.mark.parametrize(("old", "new"), list(product(OBJECTS, OBJECTS)), ids=lambda page: NAMES[page])
def test_new_page_takes_the_place_of_the_old_one(disk: Disk, old: bytes, new: bytes) -> None:
    write(disk, old)
    assert disk.table.object_count == OBJECTS[old]
    write(disk, new)
    assert read(disk) == new
    assert (disk.table.object_count, disk.table.stored_pages) == (OBJECTS[new], 1)
    assert disk.table.same_pages == 1 - OBJECTS[new]


def test_same_filled_pages_take_no_memory(disk: Disk) -> None:
    for page in range(100):
        write(disk, PATTERN, page)
    assert (disk.table.same_pages, disk.table.used_pages) == (100, 0)


@pytest.mark.parametrize(("data", "huge"), [(HUGE, 5), (SMALL, 0)], ids=["huge", "small"])
def test_pages_that_do_not_shrink_are_kept_as_they_are(disk: Disk, data: bytes, huge: int) -> None:
    for page in range(5):
        write(disk, data, page)
    assert disk.table.huge_pages == huge
    assert (disk.table.compressed_bytes == 5 * PAGE) is bool(huge)


def test_page_without_room_leaves_the_old_one() -> None:
    with lz4_disk(256, receivers=1, limit_pages=8) as disk:
        stored = disk.table.limit_pages // 2
        for page in range(stored):
            write(disk, HUGE, page)
        with pytest.raises(MemoryLimitReached):
            write(disk, HUGE * 8, stored)
        stored = disk.table.stored_pages
        assert stored <= 8
        assert disk.table.object_count == stored
        with pytest.raises(MemoryLimitReached):
            write(disk, HUGE, stored)
        write(disk, PATTERN, stored)  # needs none
        assert [read(disk, page) for page in range(stored + 1)] == [HUGE] * stored + [PATTERN]


def test_punched_page_frees_its_object(disk: Disk) -> None:
    write(disk, HUGE)
    Request("punch", 0, size_bytes=PAGE, channel=1).submit(disk)
    assert (disk.table.object_count, disk.table.stored_pages, read(disk)) == (0, 0, ZEROS)
