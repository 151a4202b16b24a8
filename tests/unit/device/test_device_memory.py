"""The memory of a device: its limit, its peak, and what compaction gives back."""

import errno
import os
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from functools import partial

import pytest
import trio
from reads import read

from zramfs.device.device import ZramDevice
from zramfs.errors import MemoryLimitReached

PAGE = 4096

OpenDevice = Callable[..., AbstractAsyncContextManager[ZramDevice]]
Pages = Callable[..., bytes]


@pytest.mark.parametrize("is_async", [False, True])
async def test_over_the_limit_a_write_fails_and_old_data_stays(open_device: OpenDevice, *, is_async: bool) -> None:
    old = os.urandom(4 * PAGE)
    async with open_device(8, accelerator="poc", mem_limit_pages=4) as device:
        await device.write(0, old, is_async=is_async)
        for page in range(8):
            with pytest.raises(MemoryLimitReached) as caught:
                await device.write(page * PAGE, os.urandom(PAGE), is_async=is_async)
            assert caught.value.errno == errno.EIO
        assert read(device, 0, 8 * PAGE) == old + bytes(4 * PAGE)
        assert device.statistics.io_stat().failed_writes == 8
        assert device.statistics.mm_stat().mem_used_total == 4 * PAGE
        assert device.statistics.mm_stat().mem_used_max == 5 * PAGE
        assert device.statistics.accelerator()["inflight"] == 0


async def test_writes_work_again_after_a_discard(open_device: OpenDevice) -> None:
    async with open_device(8, mem_limit_pages=2) as device:
        await device.write(0, os.urandom(2 * PAGE))
        with pytest.raises(MemoryLimitReached):
            await device.write(4 * PAGE, os.urandom(PAGE))
        await device.punch(0, PAGE)
        page = os.urandom(PAGE)
        await device.write(4 * PAGE, page)
        assert read(device, 4 * PAGE, PAGE) == page


@pytest.mark.parametrize("limit", [0, 3 * PAGE, 2 * PAGE + 1])
async def test_writes_work_again_under_a_higher_limit(open_device: OpenDevice, limit: int) -> None:
    async with open_device(8, mem_limit_pages=2) as device:
        await device.write(0, os.urandom(2 * PAGE))
        with pytest.raises(MemoryLimitReached):
            await device.write(4 * PAGE, os.urandom(PAGE))
        device.settings.set_mem_limit(limit)
        await device.write(4 * PAGE, os.urandom(PAGE))
        assert device.statistics.mm_stat().mem_used_total == 3 * PAGE
        assert device.statistics.io_stat().failed_writes == 1


async def test_a_limit_below_what_is_stored_stops_writes_only(open_device: OpenDevice) -> None:
    old = os.urandom(4 * PAGE)
    async with open_device(8) as device:
        await device.write(0, old)
        device.settings.set_mem_limit(PAGE)
        with pytest.raises(MemoryLimitReached):
            await device.write(0, os.urandom(PAGE))
        assert read(device, 0, 4 * PAGE) == old


async def test_over_the_limit_same_filled_pages_are_still_written(open_device: OpenDevice) -> None:
    async with open_device(8, mem_limit_pages=1) as device:
        await device.write(0, os.urandom(PAGE))
        await device.write(0, b"12345678" * 512 * 8)
        assert device.statistics.mm_stat().same_pages == 8
        assert device.statistics.io_stat().failed_writes == 0


@pytest.mark.parametrize("accelerator", ["none", "poc", "poc,queue_depth=512"])  # the last: in two managed runs
async def test_one_bio_over_the_limit_is_one_failed_write(open_device: OpenDevice, accelerator: str) -> None:
    async with open_device(300, accelerator=accelerator, mem_limit_pages=10) as device:
        with pytest.raises(MemoryLimitReached):
            await device.write(0, os.urandom(300 * PAGE), is_async=True)
        assert device.statistics.io_stat().failed_writes == 1
        assert device.disk.in_flight == 0
        assert device.statistics.streams().inflight == 0
        await device.punch(0, 300 * PAGE)
        assert device.statistics.mm_stat().mem_used_total == 0


async def test_the_peak_counts_old_and_new_until_it_is_reset(open_device: OpenDevice) -> None:
    async with open_device(4) as device:
        await device.write(0, os.urandom(PAGE))
        await device.write(0, os.urandom(PAGE))
        assert device.statistics.mm_stat().mem_used_max == 2 * PAGE
        await device.punch(0, PAGE)
        assert device.statistics.mm_stat().mem_used_max == 2 * PAGE
        device.statistics.reset_mem_used_max()
        assert device.statistics.mm_stat().mem_used_max == 0


async def test_huge_pages_since_never_falls(open_device: OpenDevice) -> None:
    async with open_device(4) as device:
        for _ in range(3):
            await device.write(0, os.urandom(2 * PAGE))
        await device.punch(0, PAGE)
        assert (device.statistics.mm_stat().huge_pages, device.statistics.mm_stat().huge_pages_since) == (1, 6)


async def test_compaction_gives_memory_back_and_keeps_the_data(
    open_device: OpenDevice, compressible_pages: Pages
) -> None:
    source = compressible_pages(2000)
    async with open_device(2000) as device:
        await device.write(0, source)
        for page in range(2000):
            if page % 6:
                await device.punch(page * PAGE, PAGE)
        before = device.statistics.mm_stat()
        await device.upkeep.compact()
        after = device.statistics.mm_stat()
        assert after.mem_used_total < before.mem_used_total / 2
        assert after.pages_compacted * PAGE == before.mem_used_total - after.mem_used_total
        assert after.compr_data_size == before.compr_data_size
        for page in range(0, 2000, 6):
            assert read(device, page * PAGE, PAGE) == source[page * PAGE : (page + 1) * PAGE]


async def test_compaction_lets_writers_have_their_turn(open_device: OpenDevice, compressible_pages: Pages) -> None:
    source = compressible_pages(4000)
    expected = bytearray(len(source))
    async with open_device(4000, accelerator="ideal") as device:
        await device.write(0, source)
        for page in range(4000):
            if page % 4:
                await device.punch(page * PAGE, PAGE)
            else:
                expected[page * PAGE : (page + 1) * PAGE] = source[page * PAGE : (page + 1) * PAGE]
        async with trio.open_nursery() as nursery:
            nursery.start_soon(device.upkeep.compact)
            for page in range(0, 400, 4):
                patch = os.urandom(3 * PAGE)
                expected[page * PAGE : (page + 3) * PAGE] = patch
                nursery.start_soon(partial(device.write, page * PAGE, patch, is_async=True))
        assert read(device, 0, len(source)) == expected
