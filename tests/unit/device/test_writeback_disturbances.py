"""What ends a writeback early, or happens beside it: limits, failures, and requests of other threads."""

import errno
import os
import resource
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

import pytest
import trio
from reads import read_back
from written_back import (
    ALL,
    PAGE,
    PAGES,
    backing_of,
    first_block,
    flags,
    held,
    write_pages,
)

from zramfs.block.request import Request
from zramfs.device.device import ZramDevice
from zramfs.device.writeback import BdStat, Selection
from zramfs.errors import (
    BackingDeviceFailed,
    BackingDeviceFull,
    DeviceBusy,
    Interrupted,
    WritebackLimitSpent,
    ZramError,
)
from zramfs.units import BytesLike

pytestmark = pytest.mark.usefixtures("forked_backing")

OpenDevice = Callable[..., AbstractAsyncContextManager[ZramDevice]]
Pages = Callable[..., bytes]
Open = Callable[..., AbstractAsyncContextManager[ZramDevice]]


# ---- limits ---------------------------------------------------------------------------------------------------------


async def test_no_limit_holds_before_it_is_enabled(open_backed: Open) -> None:
    """The default value is 0 so that it doesn't limit any writeback."""
    async with open_backed() as device:
        await write_pages(device, 0, os.urandom(2 * PAGE))
        await device.upkeep.write_back([ALL])
        assert device.writeback.statistics().bd_writes == 2
        assert device.writeback.limit_pages == 0


async def test_once_enabled_nothing_is_written_without_a_budget(open_backed: Open) -> None:
    """Once writeback_limit_enable is set, zram doesn't allow any writeback until admin sets the budget."""
    async with open_backed() as device:
        await write_pages(device, 0, os.urandom(2 * PAGE))
        device.writeback.is_limited = True
        with pytest.raises(WritebackLimitSpent) as raised:
            await device.upkeep.write_back([ALL])
        assert raised.value.errno == errno.EIO
        assert device.writeback.statistics() == BdStat(0, 0, 0)


async def test_a_spent_budget_ends_the_writeback_and_is_kept_count_of(open_backed: Open, random_pages: Pages) -> None:
    """If an admin wants to see the remaining writeback budget since last set."""
    async with open_backed() as device:
        await write_pages(device, 0, random_pages(5))
        device.writeback.is_limited = True
        device.writeback.limit_pages = 3
        with pytest.raises(WritebackLimitSpent):
            await device.upkeep.write_back([ALL])
        assert (device.writeback.limit_pages, device.writeback.statistics().bd_writes) == (0, 3)
        device.writeback.limit_pages = 10
        await device.upkeep.write_back([ALL])
        assert (device.writeback.limit_pages, device.writeback.statistics().bd_writes) == (8, 5)
        assert await read_back(device, 0, 5 * PAGE) == random_pages(5)


async def test_a_full_backing_device_loses_nothing(open_backed: Open, random_pages: Pages) -> None:
    """ret = -ENOSPC: what does not fit stays in memory."""
    async with open_backed(blocks=3) as device:
        await write_pages(device, 0, random_pages(5))
        with pytest.raises(BackingDeviceFull) as raised:
            await device.upkeep.write_back([ALL])
        assert raised.value.errno == errno.ENOSPC
        assert device.writeback.statistics() == BdStat(3, 0, 3)
        assert await read_back(device, 0, 5 * PAGE) == random_pages(5)
        await device.punch(0, PAGE)
        with pytest.raises(BackingDeviceFull):
            await device.upkeep.write_back([ALL])
        assert device.writeback.statistics().bd_count == 3


# ---- failures -------------------------------------------------------------------------------------------------------


async def test_a_block_that_cannot_be_written_costs_no_other_page(open_backed: Open, random_pages: Pages) -> None:
    """BIO errors are not fatal, we continue; failed wb requests should not be accounted in wb_limit."""
    async with open_backed() as device:
        await write_pages(device, 0, random_pages(6))
        device.writeback.is_limited = True
        device.writeback.limit_pages = 10
        room = (first_block(device.settings.abi) + 5) * PAGE
        resource.prlimit(backing_of(device)._link._process.pid, resource.RLIMIT_FSIZE, (room, room))
        with pytest.raises(BackingDeviceFailed) as raised:
            await device.upkeep.write_back([ALL])
        assert raised.value.errno == errno.EFBIG
        assert device.writeback.statistics() == BdStat(5, 0, 5)
        assert device.writeback.limit_pages == 5
        assert flags(device)[5] == "..h..."
        assert await read_back(device, 0, 6 * PAGE) == random_pages(6)


async def test_a_block_that_cannot_be_read_fails_its_page_alone(open_backed: Open, random_pages: Pages) -> None:
    async with open_backed() as device:
        await write_pages(device, 0, random_pages(4))
        await device.upkeep.write_back([ALL])
        os.truncate(backing_of(device).path, (first_block(device.settings.abi) + 3) * PAGE)
        with pytest.raises(BackingDeviceFailed) as raised:
            await read_back(device, 0, 4 * PAGE)
        assert raised.value.errno == errno.EIO
        with pytest.raises(BackingDeviceFailed):
            await device.write(3 * PAGE + 1, b"x")
        assert device.statistics.io_stat().failed_reads == device.statistics.io_stat().failed_writes == 1
        assert await read_back(device, 0, 3 * PAGE) == random_pages(4)[: 3 * PAGE]
        await write_pages(device, 3, random_pages(1))
        assert await read_back(device, 3 * PAGE, PAGE) == random_pages(1)


# ---- requests of other threads -----------------------------------------------------------------------------------


def request_of_a_thread(device: ZramDevice, operation: str, offset: int, data: BytesLike) -> Request:
    """Do a request on a thread's channel, and return it with its outcome."""
    request = Request(operation, offset, data, channel=1)
    request.submit(device.disk)
    request.wait()
    return request


async def test_other_threads_read_and_patch_pages_that_are_there(open_backed: Open, random_pages: Pages) -> None:
    expected = bytearray(random_pages(20))
    out = bytearray(20 * PAGE)
    async with open_backed(receivers=1) as device:
        await write_pages(device, 0, bytes(expected))
        await device.upkeep.write_back([Selection(0, 2), Selection(10, 20)])
        read = await trio.to_thread.run_sync(request_of_a_thread, device, "read", 0, out)
        assert read.result() == len(out)
        assert out == expected
        patch = os.urandom(9 * PAGE)
        expected[10 * PAGE + 7 : 19 * PAGE + 7] = patch
        written = await trio.to_thread.run_sync(request_of_a_thread, device, "write", 10 * PAGE + 7, patch)
        assert written.result() == len(patch)
        assert device.writeback.statistics().bd_count == 2
        assert await read_back(device, 0, len(expected)) == expected
        assert device.statistics.request_counts().read.ios == 2
        assert device.disk.in_flight == 0


async def test_other_threads_get_an_error_where_nobody_waits_any_more(open_backed: Open, random_pages: Pages) -> None:
    outcomes = []

    async def ask(device: ZramDevice, operation: str, data: BytesLike) -> None:
        outcomes.append(await trio.to_thread.run_sync(request_of_a_thread, device, operation, 1, data))

    async with open_backed(receivers=1) as device:
        await write_pages(device, 0, random_pages(1))
        await device.upkeep.write_back([ALL])
        for operation, data in (("read", bytearray(10)), ("write", b"patch")):
            with held(device, writes=False) as gate:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(ask, device, operation, data)
                    await gate.reached()
                    gate.fail(OSError(errno.EIO, "gone"))
            with pytest.raises(ZramError) as raised:
                outcomes[-1].result()
            assert raised.value.errno == errno.EIO
        assert (device.statistics.io_stat().failed_reads, device.statistics.io_stat().failed_writes) == (1, 1)
        assert device.disk.in_flight == 0
        assert await read_back(device, 0, PAGE) == random_pages(1)


# ---- while something else happens -----------------------------------------------------------------------------------


async def test_a_page_that_is_written_while_it_is_written_back_keeps_its_new_contents(
    open_backed: Open, random_pages: Pages
) -> None:
    """Slot can change under us: in both cases slot loses ZRAM_PP_SLOT flag."""
    new = os.urandom(PAGE)
    async with open_backed() as device:
        await write_pages(device, 0, random_pages(4))
        with held(device, writes=True) as gate:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(device.upkeep.write_back, [ALL])
                await gate.reached()
                await write_pages(device, 1, new)
                await device.punch(2 * PAGE, PAGE)
                await read_back(device, 3 * PAGE, PAGE)
                gate.open()
        assert flags(device) == {0: ".w....", 1: "..h...", 3: "..h..."}
        assert device.writeback.statistics() == BdStat(bd_count=1, bd_reads=0, bd_writes=4)
        expected = random_pages(4)[:PAGE] + new + bytes(PAGE) + random_pages(4)[3 * PAGE :]
        assert await read_back(device, 0, 4 * PAGE) == expected


async def test_a_block_is_given_to_nobody_while_it_is_read(open_backed: Open, random_pages: Pages) -> None:
    old, new, other = (random_pages(1, seed) for seed in (1, 2, 3))
    async with open_backed(blocks=2) as device:
        await write_pages(device, 0, old)
        await device.upkeep.write_back([ALL])
        with held(device, writes=False) as gate:
            out = bytearray(PAGE)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(device.read, 0, memoryview(out))
                await gate.reached()
                await write_pages(device, 0, new)
                await write_pages(device, 1, other)
                await device.upkeep.write_back([Selection(1, 2)])
                gate.open()
        assert out == old
        assert await read_back(device, 0, 2 * PAGE) == new + other


async def test_a_page_that_is_written_while_a_part_of_it_is_awaited_keeps_both(
    open_backed: Open, random_pages: Pages
) -> None:
    new = bytearray(random_pages(1, 2))
    async with open_backed() as device:
        await write_pages(device, 0, random_pages(1))
        await device.upkeep.write_back([ALL])
        with held(device, writes=False) as gate:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(device.write, 100, b"patch")
                await gate.reached()
                await write_pages(device, 0, new)
                gate.open()
        new[100:105] = b"patch"
        assert await read_back(device, 0, PAGE) == new


async def test_two_partial_writes_of_one_page_both_count(open_backed: Open, random_pages: Pages) -> None:
    expected = bytearray(random_pages(1))
    async with open_backed() as device:
        await write_pages(device, 0, random_pages(1))
        await device.upkeep.write_back([ALL])
        async with trio.open_nursery() as nursery:
            for place in range(0, PAGE, 256):
                expected[place : place + 4] = b"here"
                nursery.start_soon(device.write, place, b"here")
        assert await read_back(device, 0, PAGE) == expected


async def test_reset_is_refused_while_pages_are_written_back(open_backed: Open, random_pages: Pages) -> None:
    async with open_backed() as device:
        await write_pages(device, 0, random_pages(4))
        with held(device, writes=True) as gate:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(device.upkeep.write_back, [ALL])
                await gate.reached()
                with pytest.raises(DeviceBusy):
                    device.reset()
                gate.open()
        device.reset()


async def test_an_interrupted_writeback_ends_after_its_batch(open_backed: Open, random_pages: Pages) -> None:
    async with open_backed() as device:
        device.upkeep.interrupt()  # nothing
        device.writeback.batch_pages = 16
        await write_pages(device, 0, random_pages(PAGES))
        with held(device, writes=True) as gate:
            async with trio.open_nursery() as nursery:

                async def be_interrupted() -> None:
                    with pytest.raises(Interrupted) as raised:
                        await device.upkeep.write_back([ALL])
                    assert raised.value.errno == errno.ECANCELED

                nursery.start_soon(be_interrupted)
                await gate.reached()
                device.upkeep.interrupt()
                gate.open()
        assert device.writeback.statistics() == BdStat(16, 0, 16)
        assert await read_back(device, 0, PAGES * PAGE) == random_pages(PAGES)


async def test_a_cancelled_writeback_gives_its_blocks_back(open_backed: Open, random_pages: Pages) -> None:
    async with open_backed() as device:
        device.writeback.batch_pages = 16
        await write_pages(device, 0, random_pages(PAGES))
        with held(device, writes=True) as gate:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(device.upkeep.write_back, [ALL])
                await gate.reached()
                nursery.cancel_scope.cancel()
                gate.open()
        assert device.writeback.statistics() == BdStat(16, 0, 16)
        assert await read_back(device, 0, PAGES * PAGE) == random_pages(PAGES)
        await device.upkeep.write_back([ALL])
        assert device.writeback.statistics() == BdStat(PAGES, 16, PAGES)
