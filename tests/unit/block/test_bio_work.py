"""What is done to the pages of large bios, a part at a time, by one thread or several."""

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from disks import lz4_disk

from zramfs.block.disk import Disk
from zramfs.block.request import Request
from zramfs.errors import MemoryLimitReached

PAGE = 4096
PAGES = 256

Opener = Callable[..., Disk]


@pytest.fixture
def open_disk() -> Iterator[Opener]:
    with ExitStack() as stack:

        def make(**options: Any) -> Disk:
            return stack.enter_context(lz4_disk(4 * PAGES, **options))

        yield make


def do(disk: Disk, operation: str, offset: int, data: object = None, channel: int = 1, **options: Any) -> int:
    request = Request(operation, offset, data, channel=channel, **options)  # type: ignore[arg-type]
    request.submit(disk)
    request.wait()
    return request.result()


def read(disk: Disk, offset: int, size: int) -> bytes:
    out = bytearray(size)
    assert do(disk, "read", offset, out) == size
    return bytes(out)


def pages_of(data: bytes) -> list[bytes]:
    return [data[place : place + PAGE] for place in range(0, len(data), PAGE)]


@pytest.mark.parametrize("crew", [0, 1, 3])
def test_large_bios_move_each_page_to_its_place(open_disk: Opener, crew: int) -> None:
    disk = open_disk(receivers=1, crew=crew)
    for turn in range(10):
        data = os.urandom(PAGES * PAGE // 2) + bytes([turn]) * (PAGES * PAGE // 2)
        offset = turn * 10 * PAGE
        assert do(disk, "write", offset, data) == len(data)
        assert read(disk, offset, len(data)) == data


def test_large_bios_of_several_threads_end_once_each(open_disk: Opener) -> None:
    disk = open_disk(receivers=3, crew=1)

    def write(channel: int) -> None:
        for _ in range(10):
            do(disk, "write", (channel - 1) * PAGES * PAGE, bytes([channel]) * (PAGES * PAGE), channel)

    threads = [threading.Thread(target=write, args=(channel,)) for channel in (1, 2, 3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert disk.in_flight == 0
    assert disk.counts.finished(1)[:2] == (30, 30 * PAGES * 8)
    assert {read(disk, place * PAGES * PAGE, 10) for place in range(3)} == {bytes([each]) * 10 for each in (1, 2, 3)}


def test_at_the_limit_the_first_pages_of_a_write_are_kept(open_disk: Opener) -> None:
    disk = open_disk(receivers=1, limit_pages=40)
    data = b"".join(bytes([255]) * PAGE + os.urandom(PAGE) for _ in range(PAGES // 2))  # half of them need no room
    with pytest.raises(MemoryLimitReached):
        do(disk, "write", 0, data)
    is_kept = [now == written for now, written in zip(pages_of(read(disk, 0, len(data))), pages_of(data), strict=True)]
    kept = is_kept.index(False)
    assert 60 < kept <= 81
    assert not any(is_kept[kept:])
    assert disk.counts.failed_writes == 1


def test_range_of_many_pages_is_punched_whole_and_alone(open_disk: Opener) -> None:
    disk = open_disk(receivers=1)
    data = os.urandom(4 * PAGES * PAGE)
    do(disk, "write", 0, data)
    assert do(disk, "punch", PAGE, size_bytes=3 * PAGES * PAGE) == 3 * PAGES * PAGE
    assert disk.table.stored_pages == PAGES
    assert disk.table.freed_notifications == 3 * PAGES
    assert read(disk, 0, len(data)) == data[:PAGE] + bytes(3 * PAGES * PAGE) + data[(3 * PAGES + 1) * PAGE :]
