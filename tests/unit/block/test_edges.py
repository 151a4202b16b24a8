"""Requests that begin or end within a page."""

import os
import random
import threading
from collections.abc import Iterator

import pytest
from disks import do, lz4_disk, read

from zramfs.block.disk import Disk

PAGE = 4096
RECEIVERS = 4


@pytest.fixture
def disk() -> Iterator[Disk]:
    with lz4_disk(1024, receivers=RECEIVERS, crew=1) as disk:
        yield disk


@pytest.mark.parametrize("offset", [0, 1, 100, 4095, 4096, 12345])
@pytest.mark.parametrize("size", [1, 4095, 4096, 4097, 70000, 1 << 20])
def test_whatever_is_written_is_read(disk: Disk, offset: int, size: int) -> None:
    data = (os.urandom(1500) + bytes(1000)) * (size // 2500 + 1)
    assert do(disk, "write", offset, data[:size]) == size
    assert read(disk, 0, offset + size + 10) == bytes(offset) + data[:size] + bytes(10)


@pytest.mark.parametrize(("offset", "size"), [(0, PAGE), (1, 10), (4000, 200), (5, 300_000), (0, 1 << 20)])
def test_punched_range_reads_as_zeros_and_the_rest_as_before(disk: Disk, offset: int, size: int) -> None:
    data = os.urandom(1 << 20)
    do(disk, "write", 0, data)
    assert do(disk, "punch", offset, size_bytes=size) == size
    assert read(disk, 0, 1 << 20) == data[:offset] + bytes(size) + data[offset + size :]
    whole_pages = max(0, (offset + size) // PAGE - -(-offset // PAGE))
    assert disk.table.freed_notifications == whole_pages
    assert disk.table.stored_pages == 256 - whole_pages


def test_parts_of_one_page_written_by_several_threads_are_all_kept(disk: Disk) -> None:

    def write_own_part(channel: int) -> None:
        rng = random.Random(channel)
        for _ in range(500):
            do(disk, "write", channel * 512, rng.randbytes(512), channel)
            assert read(disk, channel * 512, 512, channel)[:4] != bytes(4)
        do(disk, "write", channel * 512, bytes([channel]) * 512, channel)

    threads = [threading.Thread(target=write_own_part, args=(channel,)) for channel in range(1, RECEIVERS + 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert read(disk, 512, 2048) == b"".join(bytes([channel]) * 512 for channel in range(1, RECEIVERS + 1))
