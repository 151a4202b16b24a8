"""Writeback, by the sentences of Documentation/admin-guide/blockdev/zram.rst and of zram_drv.c that tests name."""

import errno
import os
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest
from reads import read_back
from written_back import (
    ALL,
    HUGE,
    IDLE,
    PAGE,
    PAGES,
    access_times,
    backing_of,
    flags,
    write_pages,
)

from zramfs.abi import ZRAM_6_18
from zramfs.device.device import ZramDevice
from zramfs.device.writeback import BdStat, Selection
from zramfs.errors import (
    BackingDeviceFailed,
    BackingDeviceFull,
    DeviceBusy,
    NoBackingDevice,
)

pytestmark = pytest.mark.usefixtures("forked_backing")

OpenDevice = Callable[..., AbstractAsyncContextManager[ZramDevice]]
Pages = Callable[..., bytes]
Open = Callable[..., AbstractAsyncContextManager[ZramDevice]]


# ---- which pages ----------------------------------------------------------------------------------------------------


async def test_idle_pages_leave_memory_and_read_back(open_backed: Open, compressible_pages: Pages) -> None:
    """With the command, zram will writeback idle pages from memory to the storage."""
    data = compressible_pages(3) + os.urandom(3 * PAGE)
    async with open_backed() as device:
        await write_pages(device, 4, data)
        await device.upkeep.mark_idle()
        await device.upkeep.write_back([IDLE])
        memory = device.statistics.mm_stat()
        assert (memory.orig_data_size, memory.compr_data_size, memory.mem_used_total) == (6 * PAGE, 0, 0)
        assert memory.huge_pages == 0
        assert flags(device) == dict.fromkeys(range(4, 10), ".w....")
        assert await read_back(device, 0, PAGES * PAGE) == bytes(4 * PAGE) + data + bytes((PAGES - 10) * PAGE)
        assert device.writeback.statistics() == BdStat(bd_count=6, bd_reads=6, bd_writes=6)


async def test_pages_that_are_not_idle_stay(open_backed: Open) -> None:
    """The idle mark will be removed until someone requests access of the block."""
    async with open_backed() as device:
        await write_pages(device, 0, os.urandom(2 * PAGE))
        await device.upkeep.mark_idle()
        await read_back(device, PAGE, PAGE)
        await device.upkeep.write_back([IDLE])
        assert flags(device) == {0: ".w....", 1: "..h..."}


async def test_huge_pages_are_those_that_are_incompressible(open_backed: Open, compressible_pages: Pages) -> None:
    """If admin wants to use incompressible page writeback, they could do it via: echo huge."""
    async with open_backed() as device:
        await write_pages(device, 0, compressible_pages(1) + os.urandom(PAGE))
        await device.upkeep.write_back([HUGE])
        assert flags(device) == {0: "......", 1: ".w...."}


async def test_huge_idle_pages_are_both(open_backed: Open, compressible_pages: Pages) -> None:
    """If a user choose to writeback only huge and idle pages this can be accomplished with huge_idle."""
    async with open_backed() as device:
        await write_pages(device, 0, compressible_pages(1) + os.urandom(2 * PAGE))
        await device.upkeep.mark_idle()
        await read_back(device, 2 * PAGE, PAGE)
        await device.upkeep.write_back([Selection(0, PAGES, idle=True, huge=True)])
        assert flags(device) == {0: "...i..", 1: ".w....", 2: "..h..."}


async def test_pages_can_be_named_by_their_index(open_backed: Open, compressible_pages: Pages) -> None:
    """If an admin wants to write a specific page in zram device to the backing device."""
    async with open_backed() as device:
        await write_pages(device, 0, compressible_pages(6))
        await device.upkeep.write_back([Selection(1, 2), Selection(3, 5)])
        assert [page for page, state in flags(device).items() if "w" in state] == [1, 3, 4]


async def test_same_filled_and_written_back_pages_are_left_alone(open_backed: Open) -> None:
    """scan_slots_for_writeback: ZRAM_WB and ZRAM_SAME go to next."""
    async with open_backed() as device:
        await write_pages(device, 0, b"12345678" * 512 + os.urandom(PAGE))
        await device.upkeep.write_back([ALL])
        await device.upkeep.write_back([ALL])
        assert flags(device) == {0: "s.....", 1: ".w...."}
        assert device.writeback.statistics() == BdStat(1, 0, 1)


async def test_the_largest_objects_go_first(open_backed: Open, compressible_pages: Pages) -> None:
    """select_pp_slot: the higher the bucket id the more optimal slot post-processing is."""
    async with open_backed(blocks=2) as device:
        await write_pages(
            device, 0, compressible_pages(1) + os.urandom(PAGE) + compressible_pages(1) + os.urandom(PAGE)
        )
        with pytest.raises(BackingDeviceFull):
            await device.upkeep.write_back([ALL])
        assert flags(device) == {0: "......", 1: ".w....", 2: "......", 3: ".w...."}


async def test_the_last_access_is_forgotten_where_the_kernel_forgets_it(open_backed: Open) -> None:
    """Until 7.0, zram_writeback_slots() frees the slot, and with it the time."""
    async with open_backed() as device:
        await write_pages(device, 0, os.urandom(PAGE))
        (before,) = access_times(device)
        await device.upkeep.write_back([ALL])
        assert access_times(device) == ["0.000000" if device.settings.abi is ZRAM_6_18 else before]


async def test_a_page_that_is_listed_twice_takes_one_block(open_backed: Open) -> None:
    async with open_backed() as device:
        data = os.urandom(PAGE)
        await write_pages(device, 0, data)
        await device.upkeep.write_back([Selection(0, 1), Selection(0, 1)])
        assert device.writeback.statistics().bd_count == 1
        assert await read_back(device, 0, PAGE) == data


@pytest.mark.parametrize("batch_pages", [1, 7, 32, 1 << 31])
async def test_batches_of_any_size_write_the_same(open_backed: Open, random_pages: Pages, batch_pages: int) -> None:
    async with open_backed() as device:
        device.writeback.batch_pages = batch_pages
        await write_pages(device, 0, random_pages(PAGES))
        await device.upkeep.write_back([ALL])
        assert device.writeback.statistics() == BdStat(PAGES, 0, PAGES)
        assert await read_back(device, 0, PAGES * PAGE) == random_pages(PAGES)


# ---- what happens to pages that are there ---------------------------------------------------------------------------


@pytest.mark.parametrize(("offset", "size"), [(1, 1), (PAGE - 1, 2), (100, 3 * PAGE), (0, 5 * PAGE), (PAGE, PAGE)])
async def test_any_part_reads_back(open_backed: Open, random_pages: Pages, offset: int, size: int) -> None:
    async with open_backed() as device:
        await write_pages(device, 0, random_pages(5))
        await device.upkeep.write_back([Selection(1, 2), Selection(3, 5)])
        assert await read_back(device, offset, size) == random_pages(5)[offset : offset + size]


async def test_overwriting_frees_the_block(open_backed: Open) -> None:
    """bd_count: size of data written in backing device. (slot_free releases the block.)"""
    async with open_backed() as device:
        await write_pages(device, 0, os.urandom(2 * PAGE))
        await device.upkeep.write_back([ALL])
        data = os.urandom(PAGE)
        await write_pages(device, 0, data)
        assert device.writeback.statistics().bd_count == 1
        assert flags(device) == {0: "..h...", 1: ".w...."}
        assert await read_back(device, 0, PAGE) == data


async def test_discarding_frees_the_block(open_backed: Open) -> None:
    async with open_backed() as device:
        await write_pages(device, 0, os.urandom(2 * PAGE))
        await device.upkeep.write_back([ALL])
        await device.punch(0, PAGE)
        assert device.writeback.statistics().bd_count == 1
        assert await read_back(device, 0, PAGE) == bytes(PAGE)


async def test_a_partial_write_brings_the_page_back_and_frees_its_block(open_backed: Open, random_pages: Pages) -> None:
    """zram_bvec_write_partial: read the full page before writing the changes."""
    expected = bytearray(random_pages(3))
    async with open_backed() as device:
        await write_pages(device, 0, expected)
        await device.upkeep.write_back([ALL])
        await device.write(100, b"x" * 2 * PAGE)
        expected[100 : 100 + 2 * PAGE] = b"x" * 2 * PAGE
        assert await read_back(device, 0, 3 * PAGE) == expected
        assert "w" not in "".join(flags(device).values())
        assert device.writeback.statistics().bd_count == 0


async def test_a_punched_edge_is_read_first(open_backed: Open, random_pages: Pages) -> None:
    expected = bytearray(random_pages(3))
    async with open_backed() as device:
        await write_pages(device, 0, expected)
        await device.upkeep.write_back([ALL])
        await device.punch(10, 2 * PAGE)
        expected[10 : 10 + 2 * PAGE] = bytes(2 * PAGE)
        assert await read_back(device, 0, 3 * PAGE) == expected


async def test_a_read_of_both_kinds_of_pages_counts_once(open_backed: Open, random_pages: Pages) -> None:
    async with open_backed() as device:
        await write_pages(device, 0, random_pages(4))
        await device.upkeep.write_back([Selection(1, 3)])
        assert await read_back(device, 0, 4 * PAGE) == random_pages(4)
        assert (device.statistics.request_counts().read.ios, device.statistics.request_counts().read.sectors) == (
            1,
            4 * 8,
        )
        assert device.disk.in_flight == 0


# ---- the backing device ---------------------------------------------------------------------------------------------


async def test_without_a_backing_device_writeback_is_refused(open_device: OpenDevice) -> None:
    async with open_device(4) as device:
        with pytest.raises(NoBackingDevice) as raised:
            await device.upkeep.write_back([ALL])
        assert raised.value.errno == errno.ENODEV
        assert device.writeback.statistics() == BdStat(0, 0, 0)


async def test_reset_lets_the_backing_device_go_and_leaves_the_budget(open_backed: Open) -> None:
    """zram_reset_device() touches neither bd_wb_limit nor wb_limit_enable, though zram.rst says that it does."""
    async with open_backed() as device:
        device.writeback.is_limited, device.writeback.limit_pages = True, 5
        path = backing_of(device).path
        device.reset()
        await device.writeback.wait_until_released()
        assert device.writeback.backing is None
        assert (device.writeback.is_limited, device.writeback.limit_pages) == (True, 5)
        await device.upkeep.choose_backing(path)


async def test_the_backing_device_cannot_change_once_initialised(open_backed: Open, tmp_path: Path) -> None:
    async with open_backed() as device:
        with pytest.raises(DeviceBusy):
            await device.upkeep.choose_backing(str(tmp_path / "backing"))


async def test_a_file_backs_one_device_alone(open_backed: Open, open_device: OpenDevice, tmp_path: Path) -> None:
    async with open_backed(), open_device(4) as other:
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
