"""What a device stores: any part of it is written, read and discarded."""

import os
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

import pytest
import trio
from reads import read

from zramfs.contracts import StreamPolicy
from zramfs.device.device import ZramDevice

PAGE = 4096

OpenDevice = Callable[..., AbstractAsyncContextManager[ZramDevice]]
Pages = Callable[..., bytes]


@pytest.mark.parametrize("is_async", [False, True])
@pytest.mark.parametrize(
    ("offset", "size"),
    [
        (0, 1),
        (0, PAGE),
        (1, PAGE),
        (100, 200),
        (PAGE - 1, 2),
        (PAGE - 1, PAGE + 2),
        (5, 3 * PAGE),
        (2 * PAGE, 3 * PAGE + 1),
        (300, 40 * PAGE),
        (PAGE, 40 * PAGE),
    ],
)
async def test_a_write_of_any_part_changes_that_part_only(
    open_device: OpenDevice, compressible_pages: Pages, offset: int, size: int, *, is_async: bool
) -> None:
    expected = bytearray(compressible_pages(48))
    async with open_device(48, accelerator="poc") as device:
        await device.write(0, bytes(expected), is_async=is_async)
        patch = os.urandom(size)
        await device.write(offset, patch, is_async=is_async)
        expected[offset : offset + size] = patch
        assert read(device, 0, len(expected)) == expected


async def test_a_partial_write_of_zeros_can_make_a_page_same_filled(open_device: OpenDevice) -> None:
    async with open_device(1) as device:
        await device.write(0, bytes(100) + b"x" + bytes(3995))
        assert device.statistics.mm_stat().same_pages == 0
        await device.write(100, b"\0")
        assert device.statistics.mm_stat().same_pages == 1
        assert device.statistics.mm_stat().mem_used_total == 0


async def test_a_partial_page_takes_no_managed_stream(open_device: OpenDevice) -> None:
    async with open_device(4, accelerator="poc", policy=StreamPolicy.MANAGED) as device:
        await device.write(10, os.urandom(2 * PAGE), is_async=True)
        statistics = device.statistics.streams()
        assert (statistics.managed_pages, statistics.percpu_pages) == (1, 2)


@pytest.mark.parametrize("policy", StreamPolicy)
@pytest.mark.parametrize("accelerator", ["none", "ideal", "poc", "poc,queue_depth=3"])
async def test_every_page_written_is_counted_by_its_stream(
    open_device: OpenDevice, policy: StreamPolicy, accelerator: str
) -> None:
    async with open_device(300, accelerator=accelerator, policy=policy) as device:
        await device.write(0, os.urandom(300 * PAGE), is_async=True)
        await device.write(0, os.urandom(45 * PAGE), is_async=False)
        await device.write(1, os.urandom(2 * PAGE), is_async=True)
        statistics = device.statistics.streams()
        assert statistics.percpu_pages + statistics.managed_pages + statistics.fallback_pages == 348


async def test_accounting_counts_requests_and_sectors(open_device: OpenDevice) -> None:
    async with open_device(8) as device:
        await device.write(0, os.urandom(3 * PAGE))
        read(device, 0, 512)
        await device.punch(0, PAGE)
        device.flush()
        accounting = device.statistics.request_counts()
        assert (accounting.write.ios, accounting.write.sectors) == (1, 24)
        assert (accounting.read.ios, accounting.read.sectors) == (1, 1)
        assert (accounting.discard.ios, accounting.discard.sectors) == (1, 8)
        assert (accounting.flush.ios, accounting.in_flight) == (1, 0)


# ---- discarding ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("offset", "size", "freed"),
    [
        (0, 4 * PAGE, 4),
        (PAGE, PAGE, 1),
        (1, 2 * PAGE, 1),
        (PAGE, 2 * PAGE - 1, 1),
        (1, PAGE, 0),
        (10, 20, 0),
        (PAGE - 1, 2, 0),
        (1, 3 * PAGE - 2, 1),
    ],
)
async def test_punch_frees_whole_pages_and_zeroes_the_edges(
    open_device: OpenDevice, offset: int, size: int, freed: int
) -> None:
    expected = bytearray(os.urandom(4 * PAGE))
    async with open_device(4) as device:
        await device.write(0, bytes(expected))
        assert await device.punch(offset, size) == size
        expected[offset : offset + size] = bytes(size)
        assert read(device, 0, 4 * PAGE) == expected
        assert device.statistics.io_stat().notify_free == freed
        assert device.statistics.mm_stat().orig_data_size == (4 - freed) * PAGE


async def test_discard_counts_pages_that_were_empty(open_device: OpenDevice) -> None:
    async with open_device(100) as device:
        await device.punch(0, 100 * PAGE)
        await device.punch(0, PAGE)
        assert device.statistics.io_stat().notify_free == 101


async def test_find_gives_offsets_of_data_and_holes(open_device: OpenDevice) -> None:
    async with open_device(8) as device:
        await device.write(2 * PAGE, bytes(3 * PAGE))
        assert device.find(0, data=True) == 2 * PAGE
        assert device.find(2 * PAGE + 5, data=True) == 2 * PAGE + 5
        assert device.find(2 * PAGE + 5, data=False) == 5 * PAGE
        assert device.find(5 * PAGE, data=True) is None
        assert device.find(7 * PAGE + 1, data=False) == 7 * PAGE + 1


async def test_discarding_a_large_device_lets_others_have_their_turn(open_device: OpenDevice) -> None:
    turns = 0

    async def count_turns() -> None:
        nonlocal turns
        while True:
            await trio.lowlevel.checkpoint()
            turns += 1

    async with open_device(100_000) as device:
        for first in range(0, 100_000, 5000):
            await device.write(first * PAGE, b"12345678" * 512 * 5000)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(count_turns)
            await device.punch(0, 100_000 * PAGE)
            nursery.cancel_scope.cancel()
        assert turns  # one each 200 us, and a fast CPU has done it all in 1 ms
        assert device.statistics.mm_stat().orig_data_size == 0
        assert device.statistics.io_stat().notify_free == 100_000
