"""Writeback, by the sentences of Documentation/admin-guide/blockdev/zram.rst and of zram_drv.c that tests name."""

import errno
import os
import resource
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
from reads import read_back
from written_back import all_flags, backing_of, held

from zramfs.abi import ZRAM_6_18, ZRAM_7_3, ZramAbi
from zramfs.block.request import Request
from zramfs.device.device import ZramDevice
from zramfs.device.writeback import BdStat, Selection
from zramfs.errors import (
    BackingDeviceFailed,
    BackingDeviceFull,
    DeviceBusy,
    Interrupted,
    NoBackingDevice,
    WritebackLimitSpent,
    ZramError,
)
from zramfs.units import BytesLike

pytestmark = pytest.mark.usefixtures("forked_backing")

PAGE = 4096
PAGES = 64

OpenDevice = Callable[..., AbstractAsyncContextManager[ZramDevice]]
Pages = Callable[..., bytes]
Open = Callable[..., AbstractAsyncContextManager[ZramDevice]]

ALL = Selection(0, PAGES)
IDLE = Selection(0, PAGES, idle=True)
HUGE = Selection(0, PAGES, huge=True)


FORMS = {
    "6.18": {"abi": ZRAM_6_18},
    "7.3": {"abi": ZRAM_7_3},
    "7.3 compressed": {"abi": ZRAM_7_3, "compressed_writeback": True},
}
"""What is written back, and remembered of it. Everything else is the same."""


def first_block(abi: ZramAbi) -> int:
    return 0 if abi.uses_first_block else 1


@pytest.fixture(params=FORMS.values(), ids=FORMS)
def opened(open_device: OpenDevice, tmp_path: Path, request: pytest.FixtureRequest) -> Open:
    """Open a device of PAGES pages, in each form, with a backing file that takes as many pages as asked for."""
    form: dict[str, Any] = request.param

    @asynccontextmanager
    async def opening(blocks: int = PAGES, **options: Any) -> AsyncIterator[ZramDevice]:
        path = tmp_path / "backing"
        path.write_bytes(bytes((first_block(form["abi"]) + blocks) * PAGE))
        async with open_device(PAGES, backing=path, **(form | options)) as device:
            yield device

    return opening


async def write(device: ZramDevice, page: int, data: bytes) -> None:
    await device.write(page * PAGE, data)


def access_times(device: ZramDevice) -> list[str]:
    return [line.split()[1] for line in "".join(device.upkeep.block_state()).splitlines()]


def flags(device: ZramDevice) -> dict[int, str]:
    """Flags of each page in use; of one that is written back, that it is."""
    return {page: ".w...." if "w" in state else state for page, state in all_flags(device).items()}


# ---- which pages ----------------------------------------------------------------------------------------------------


async def test_idle_pages_leave_memory_and_read_back(opened: Open, compressible_pages: Pages) -> None:
    """With the command, zram will writeback idle pages from memory to the storage."""
    data = compressible_pages(3) + os.urandom(3 * PAGE)
    async with opened() as device:
        await write(device, 4, data)
        await device.upkeep.mark_idle()
        await device.upkeep.write_back([IDLE])
        memory = device.statistics.mm_stat()
        assert (memory.orig_data_size, memory.compr_data_size, memory.mem_used_total) == (6 * PAGE, 0, 0)
        assert memory.huge_pages == 0
        assert flags(device) == dict.fromkeys(range(4, 10), ".w....")
        assert await read_back(device, 0, PAGES * PAGE) == bytes(4 * PAGE) + data + bytes((PAGES - 10) * PAGE)
        assert device.writeback.statistics() == BdStat(bd_count=6, bd_reads=6, bd_writes=6)


async def test_pages_that_are_not_idle_stay(opened: Open) -> None:
    """The idle mark will be removed until someone requests access of the block."""
    async with opened() as device:
        await write(device, 0, os.urandom(2 * PAGE))
        await device.upkeep.mark_idle()
        await read_back(device, PAGE, PAGE)
        await device.upkeep.write_back([IDLE])
        assert flags(device) == {0: ".w....", 1: "..h..."}


async def test_huge_pages_are_those_that_are_incompressible(opened: Open, compressible_pages: Pages) -> None:
    """If admin wants to use incompressible page writeback, they could do it via: echo huge."""
    async with opened() as device:
        await write(device, 0, compressible_pages(1) + os.urandom(PAGE))
        await device.upkeep.write_back([HUGE])
        assert flags(device) == {0: "......", 1: ".w...."}


async def test_huge_idle_pages_are_both(opened: Open, compressible_pages: Pages) -> None:
    """If a user choose to writeback only huge and idle pages this can be accomplished with huge_idle."""
    async with opened() as device:
        await write(device, 0, compressible_pages(1) + os.urandom(2 * PAGE))
        await device.upkeep.mark_idle()
        await read_back(device, 2 * PAGE, PAGE)
        await device.upkeep.write_back([Selection(0, PAGES, idle=True, huge=True)])
        assert flags(device) == {0: "...i..", 1: ".w....", 2: "..h..."}


async def test_pages_can_be_named_by_their_index(opened: Open, compressible_pages: Pages) -> None:
    """If an admin wants to write a specific page in zram device to the backing device."""
    async with opened() as device:
        await write(device, 0, compressible_pages(6))
        await device.upkeep.write_back([Selection(1, 2), Selection(3, 5)])
        assert [page for page, state in flags(device).items() if "w" in state] == [1, 3, 4]


async def test_same_filled_and_written_back_pages_are_left_alone(opened: Open) -> None:
    """scan_slots_for_writeback: ZRAM_WB and ZRAM_SAME go to next."""
    async with opened() as device:
        await write(device, 0, b"12345678" * 512 + os.urandom(PAGE))
        await device.upkeep.write_back([ALL])
        await device.upkeep.write_back([ALL])
        assert flags(device) == {0: "s.....", 1: ".w...."}
        assert device.writeback.statistics() == BdStat(1, 0, 1)


async def test_the_largest_objects_go_first(opened: Open, compressible_pages: Pages) -> None:
    """select_pp_slot: the higher the bucket id the more optimal slot post-processing is."""
    async with opened(blocks=2) as device:
        await write(device, 0, compressible_pages(1) + os.urandom(PAGE) + compressible_pages(1) + os.urandom(PAGE))
        with pytest.raises(BackingDeviceFull):
            await device.upkeep.write_back([ALL])
        assert flags(device) == {0: "......", 1: ".w....", 2: "......", 3: ".w...."}


async def test_the_last_access_is_forgotten_where_the_kernel_forgets_it(opened: Open) -> None:
    """Until 7.0, zram_writeback_slots() frees the slot, and with it the time."""
    async with opened() as device:
        await write(device, 0, os.urandom(PAGE))
        (before,) = access_times(device)
        await device.upkeep.write_back([ALL])
        assert access_times(device) == ["0.000000" if device.settings.abi is ZRAM_6_18 else before]


async def test_a_page_that_is_listed_twice_takes_one_block(opened: Open) -> None:
    async with opened() as device:
        data = os.urandom(PAGE)
        await write(device, 0, data)
        await device.upkeep.write_back([Selection(0, 1), Selection(0, 1)])
        assert device.writeback.statistics().bd_count == 1
        assert await read_back(device, 0, PAGE) == data


@pytest.mark.parametrize("batch_pages", [1, 7, 32, 1 << 31])
async def test_batches_of_any_size_write_the_same(opened: Open, random_pages: Pages, batch_pages: int) -> None:
    async with opened() as device:
        device.writeback.batch_pages = batch_pages
        await write(device, 0, random_pages(PAGES))
        await device.upkeep.write_back([ALL])
        assert device.writeback.statistics() == BdStat(PAGES, 0, PAGES)
        assert await read_back(device, 0, PAGES * PAGE) == random_pages(PAGES)


# ---- what happens to pages that are there ---------------------------------------------------------------------------


@pytest.mark.parametrize(("offset", "size"), [(1, 1), (PAGE - 1, 2), (100, 3 * PAGE), (0, 5 * PAGE), (PAGE, PAGE)])
async def test_any_part_reads_back(opened: Open, random_pages: Pages, offset: int, size: int) -> None:
    async with opened() as device:
        await write(device, 0, random_pages(5))
        await device.upkeep.write_back([Selection(1, 2), Selection(3, 5)])
        assert await read_back(device, offset, size) == random_pages(5)[offset : offset + size]


async def test_overwriting_frees_the_block(opened: Open) -> None:
    """bd_count: size of data written in backing device. (slot_free releases the block.)"""
    async with opened() as device:
        await write(device, 0, os.urandom(2 * PAGE))
        await device.upkeep.write_back([ALL])
        data = os.urandom(PAGE)
        await write(device, 0, data)
        assert device.writeback.statistics().bd_count == 1
        assert flags(device) == {0: "..h...", 1: ".w...."}
        assert await read_back(device, 0, PAGE) == data


async def test_discarding_frees_the_block(opened: Open) -> None:
    async with opened() as device:
        await write(device, 0, os.urandom(2 * PAGE))
        await device.upkeep.write_back([ALL])
        await device.punch(0, PAGE)
        assert device.writeback.statistics().bd_count == 1
        assert await read_back(device, 0, PAGE) == bytes(PAGE)


async def test_a_partial_write_brings_the_page_back_and_frees_its_block(opened: Open, random_pages: Pages) -> None:
    """zram_bvec_write_partial: read the full page before writing the changes."""
    expected = bytearray(random_pages(3))
    async with opened() as device:
        await write(device, 0, expected)
        await device.upkeep.write_back([ALL])
        await device.write(100, b"x" * 2 * PAGE)
        expected[100 : 100 + 2 * PAGE] = b"x" * 2 * PAGE
        assert await read_back(device, 0, 3 * PAGE) == expected
        assert "w" not in "".join(flags(device).values())
        assert device.writeback.statistics().bd_count == 0


async def test_a_punched_edge_is_read_first(opened: Open, random_pages: Pages) -> None:
    expected = bytearray(random_pages(3))
    async with opened() as device:
        await write(device, 0, expected)
        await device.upkeep.write_back([ALL])
        await device.punch(10, 2 * PAGE)
        expected[10 : 10 + 2 * PAGE] = bytes(2 * PAGE)
        assert await read_back(device, 0, 3 * PAGE) == expected


async def test_a_read_of_both_kinds_of_pages_counts_once(opened: Open, random_pages: Pages) -> None:
    async with opened() as device:
        await write(device, 0, random_pages(4))
        await device.upkeep.write_back([Selection(1, 3)])
        assert await read_back(device, 0, 4 * PAGE) == random_pages(4)
        assert (device.statistics.request_counts().read.ios, device.statistics.request_counts().read.sectors) == (
            1,
            4 * 8,
        )
        assert device.disk.in_flight == 0


# ---- requests of other threads -----------------------------------------------------------------------------------


def request_of_a_thread(device: ZramDevice, operation: str, offset: int, data: BytesLike) -> Request:
    """Do a request on a thread's channel, and return it with its outcome."""
    request = Request(operation, offset, data, channel=1)
    request.submit(device.disk)
    request.wait()
    return request


async def test_other_threads_read_and_patch_pages_that_are_there(opened: Open, random_pages: Pages) -> None:
    expected = bytearray(random_pages(20))
    out = bytearray(20 * PAGE)
    async with opened(receivers=1) as device:
        await write(device, 0, bytes(expected))
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


async def test_other_threads_get_an_error_where_nobody_waits_any_more(opened: Open, random_pages: Pages) -> None:
    outcomes = []

    async def ask(device: ZramDevice, operation: str, data: BytesLike) -> None:
        outcomes.append(await trio.to_thread.run_sync(request_of_a_thread, device, operation, 1, data))

    async with opened(receivers=1) as device:
        await write(device, 0, random_pages(1))
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


# ---- limits ---------------------------------------------------------------------------------------------------------


async def test_no_limit_holds_before_it_is_enabled(opened: Open) -> None:
    """The default value is 0 so that it doesn't limit any writeback."""
    async with opened() as device:
        await write(device, 0, os.urandom(2 * PAGE))
        await device.upkeep.write_back([ALL])
        assert device.writeback.statistics().bd_writes == 2
        assert device.writeback.limit_pages == 0


async def test_once_enabled_nothing_is_written_without_a_budget(opened: Open) -> None:
    """Once writeback_limit_enable is set, zram doesn't allow any writeback until admin sets the budget."""
    async with opened() as device:
        await write(device, 0, os.urandom(2 * PAGE))
        device.writeback.is_limited = True
        with pytest.raises(WritebackLimitSpent) as raised:
            await device.upkeep.write_back([ALL])
        assert raised.value.errno == errno.EIO
        assert device.writeback.statistics() == BdStat(0, 0, 0)


async def test_a_spent_budget_ends_the_writeback_and_is_kept_count_of(opened: Open, random_pages: Pages) -> None:
    """If an admin wants to see the remaining writeback budget since last set."""
    async with opened() as device:
        await write(device, 0, random_pages(5))
        device.writeback.is_limited = True
        device.writeback.limit_pages = 3
        with pytest.raises(WritebackLimitSpent):
            await device.upkeep.write_back([ALL])
        assert (device.writeback.limit_pages, device.writeback.statistics().bd_writes) == (0, 3)
        device.writeback.limit_pages = 10
        await device.upkeep.write_back([ALL])
        assert (device.writeback.limit_pages, device.writeback.statistics().bd_writes) == (8, 5)
        assert await read_back(device, 0, 5 * PAGE) == random_pages(5)


async def test_a_full_backing_device_loses_nothing(opened: Open, random_pages: Pages) -> None:
    """ret = -ENOSPC: what does not fit stays in memory."""
    async with opened(blocks=3) as device:
        await write(device, 0, random_pages(5))
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


async def test_a_block_that_cannot_be_written_costs_no_other_page(opened: Open, random_pages: Pages) -> None:
    """BIO errors are not fatal, we continue; failed wb requests should not be accounted in wb_limit."""
    async with opened() as device:
        await write(device, 0, random_pages(6))
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


async def test_a_block_that_cannot_be_read_fails_its_page_alone(opened: Open, random_pages: Pages) -> None:
    async with opened() as device:
        await write(device, 0, random_pages(4))
        await device.upkeep.write_back([ALL])
        os.truncate(backing_of(device).path, (first_block(device.settings.abi) + 3) * PAGE)
        with pytest.raises(BackingDeviceFailed) as raised:
            await read_back(device, 0, 4 * PAGE)
        assert raised.value.errno == errno.EIO
        with pytest.raises(BackingDeviceFailed):
            await device.write(3 * PAGE + 1, b"x")
        assert device.statistics.io_stat().failed_reads == device.statistics.io_stat().failed_writes == 1
        assert await read_back(device, 0, 3 * PAGE) == random_pages(4)[: 3 * PAGE]
        await write(device, 3, random_pages(1))
        assert await read_back(device, 3 * PAGE, PAGE) == random_pages(1)


# ---- while something else happens -----------------------------------------------------------------------------------


async def test_a_page_that_is_written_while_it_is_written_back_keeps_its_new_contents(
    opened: Open, random_pages: Pages
) -> None:
    """Slot can change under us: in both cases slot loses ZRAM_PP_SLOT flag."""
    new = os.urandom(PAGE)
    async with opened() as device:
        await write(device, 0, random_pages(4))
        with held(device, writes=True) as gate:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(device.upkeep.write_back, [ALL])
                await gate.reached()
                await write(device, 1, new)
                await device.punch(2 * PAGE, PAGE)
                await read_back(device, 3 * PAGE, PAGE)
                gate.open()
        assert flags(device) == {0: ".w....", 1: "..h...", 3: "..h..."}
        assert device.writeback.statistics() == BdStat(bd_count=1, bd_reads=0, bd_writes=4)
        expected = random_pages(4)[:PAGE] + new + bytes(PAGE) + random_pages(4)[3 * PAGE :]
        assert await read_back(device, 0, 4 * PAGE) == expected


async def test_a_block_is_given_to_nobody_while_it_is_read(opened: Open, random_pages: Pages) -> None:
    old, new, other = (random_pages(1, seed) for seed in (1, 2, 3))
    async with opened(blocks=2) as device:
        await write(device, 0, old)
        await device.upkeep.write_back([ALL])
        with held(device, writes=False) as gate:
            out = bytearray(PAGE)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(device.read, 0, memoryview(out))
                await gate.reached()
                await write(device, 0, new)
                await write(device, 1, other)
                await device.upkeep.write_back([Selection(1, 2)])
                gate.open()
        assert out == old
        assert await read_back(device, 0, 2 * PAGE) == new + other


async def test_a_page_that_is_written_while_a_part_of_it_is_awaited_keeps_both(
    opened: Open, random_pages: Pages
) -> None:
    new = bytearray(random_pages(1, 2))
    async with opened() as device:
        await write(device, 0, random_pages(1))
        await device.upkeep.write_back([ALL])
        with held(device, writes=False) as gate:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(device.write, 100, b"patch")
                await gate.reached()
                await write(device, 0, new)
                gate.open()
        new[100:105] = b"patch"
        assert await read_back(device, 0, PAGE) == new


async def test_two_partial_writes_of_one_page_both_count(opened: Open, random_pages: Pages) -> None:
    expected = bytearray(random_pages(1))
    async with opened() as device:
        await write(device, 0, random_pages(1))
        await device.upkeep.write_back([ALL])
        async with trio.open_nursery() as nursery:
            for place in range(0, PAGE, 256):
                expected[place : place + 4] = b"here"
                nursery.start_soon(device.write, place, b"here")
        assert await read_back(device, 0, PAGE) == expected


async def test_reset_is_refused_while_pages_are_written_back(opened: Open, random_pages: Pages) -> None:
    async with opened() as device:
        await write(device, 0, random_pages(4))
        with held(device, writes=True) as gate:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(device.upkeep.write_back, [ALL])
                await gate.reached()
                with pytest.raises(DeviceBusy):
                    device.reset()
                gate.open()
        device.reset()


async def test_an_interrupted_writeback_ends_after_its_batch(opened: Open, random_pages: Pages) -> None:
    async with opened() as device:
        device.upkeep.interrupt()  # nothing
        device.writeback.batch_pages = 16
        await write(device, 0, random_pages(PAGES))
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


async def test_a_cancelled_writeback_gives_its_blocks_back(opened: Open, random_pages: Pages) -> None:
    async with opened() as device:
        device.writeback.batch_pages = 16
        await write(device, 0, random_pages(PAGES))
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


# ---- the backing device ---------------------------------------------------------------------------------------------


async def test_without_a_backing_device_writeback_is_refused(open_device: OpenDevice) -> None:
    async with open_device(4) as device:
        with pytest.raises(NoBackingDevice) as raised:
            await device.upkeep.write_back([ALL])
        assert raised.value.errno == errno.ENODEV
        assert device.writeback.statistics() == BdStat(0, 0, 0)


async def test_reset_lets_the_backing_device_go_and_leaves_the_budget(opened: Open) -> None:
    """zram_reset_device() touches neither bd_wb_limit nor wb_limit_enable, though zram.rst says that it does."""
    async with opened() as device:
        device.writeback.is_limited, device.writeback.limit_pages = True, 5
        path = backing_of(device).path
        device.reset()
        await device.writeback.wait_until_released()
        assert device.writeback.backing is None
        assert (device.writeback.is_limited, device.writeback.limit_pages) == (True, 5)
        await device.upkeep.choose_backing(path)


async def test_the_backing_device_cannot_change_once_initialised(opened: Open, tmp_path: Path) -> None:
    async with opened() as device:
        with pytest.raises(DeviceBusy):
            await device.upkeep.choose_backing(str(tmp_path / "backing"))


async def test_a_file_backs_one_device_alone(opened: Open, open_device: OpenDevice, tmp_path: Path) -> None:
    async with opened(), open_device(4) as other:
        other.reset()
        with pytest.raises(BackingDeviceFailed) as raised:
            await other.upkeep.choose_backing(str(tmp_path / "backing"))
        assert raised.value.errno == errno.EBUSY


@pytest.mark.parametrize(
    ("name", "error_number"),
    [("missing", errno.ENOENT), ("folder", errno.ENOTBLK), ("fifo", errno.ENOTBLK), ("short", errno.EINVAL)],
)
async def test_what_cannot_back_a_device_is_refused(
    open_device: OpenDevice, tmp_path: Path, name: str, error_number: int
) -> None:
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "short").write_bytes(bytes(PAGE - 1))
    async with open_device(4) as device:
        device.reset()
        with pytest.raises(BackingDeviceFailed) as raised:
            await device.upkeep.choose_backing(str(tmp_path / name))
        assert raised.value.errno == error_number
        assert device.writeback.backing is None
