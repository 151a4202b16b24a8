"""compressed_writeback: objects are written back as they are, and decompressed when they are read."""

import errno
import os
import zlib
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
from reads import read_back
from secondaries import Zlib, every, letters
from written_back import ALL, PAGE, PAGES, all_flags, held, write_pages

from zramfs.abi import ZRAM_6_18, ZRAM_7_3
from zramfs.backends.zstd import ZSTD
from zramfs.contracts import AlgorithmParams
from zramfs.control.writeback import WritebackAttributes
from zramfs.device.device import ZramDevice
from zramfs.device.writeback import BdStat
from zramfs.errors import CorruptPage, DeviceBusy, InvalidValue

pytestmark = pytest.mark.usefixtures("forked_backing")

OpenDevice = Callable[..., AbstractAsyncContextManager[ZramDevice]]
Pages = Callable[..., bytes]
Open = Callable[..., AbstractAsyncContextManager[ZramDevice]]


def block_0(backing: Path) -> bytes:
    return backing.read_bytes()[:PAGE]


@pytest.fixture
def backing(tmp_path: Path) -> Path:
    path = tmp_path / "backing"
    path.write_bytes(b"\xee" * PAGES * PAGE)
    return path


@pytest.fixture
def opened(open_device: OpenDevice, backing: Path) -> Open:
    @asynccontextmanager
    async def opening(**options: Any) -> AsyncIterator[ZramDevice]:
        async with open_device(PAGES, backing=backing, compressed_writeback=True, **options) as device:
            yield device

    return opening


async def test_a_block_has_the_object_and_zeros(opened: Open, backing: Path, compressible_pages: Pages) -> None:
    """read_from_zspool_raw: as we read raw compressed data."""
    page = compressible_pages(1)
    async with opened(backend=Zlib(), accelerator=None) as device:
        await write_pages(device, 0, page)
        await device.upkeep.write_back([ALL])
        assert block_0(backing) == zlib.compress(page, 9).ljust(PAGE, b"\0")
        assert await read_back(device, 0, PAGE) == page


async def test_a_huge_page_is_written_as_it_is(opened: Open, backing: Path, random_pages: Pages) -> None:
    async with opened() as device:
        await write_pages(device, 0, random_pages(1))
        await device.upkeep.write_back([ALL])
        assert block_0(backing) == random_pages(1)
        assert await read_back(device, 0, PAGE) == random_pages(1)


async def test_memory_and_blocks_are_counted_as_ever(opened: Open, compressible_pages: Pages) -> None:
    """zram_writeback_complete: compr_data_size and huge_pages lose what leaves, pages_stored does not."""
    data = compressible_pages(3) + os.urandom(2 * PAGE)
    async with opened() as device:
        await write_pages(device, 0, data)
        await device.upkeep.write_back([ALL])
        memory = device.statistics.mm_stat()
        assert (memory.orig_data_size, memory.compr_data_size, memory.mem_used_total) == (5 * PAGE, 0, 0)
        assert (memory.huge_pages, memory.huge_pages_since) == (0, 2)
        assert device.writeback.statistics() == BdStat(5, 0, 5)
        assert await read_back(device, 0, 5 * PAGE) == data
        assert device.writeback.statistics() == BdStat(5, 5, 5)
        await device.punch(0, 5 * PAGE)
        memory = device.statistics.mm_stat()
        assert (memory.orig_data_size, memory.compr_data_size, memory.huge_pages) == (0, 0, 0)


@pytest.mark.parametrize("compressed", [False, True])
async def test_marks_are_remembered_until_the_page_is_overwritten(
    open_device: OpenDevice, backing: Path, compressible_pages: Pages, *, compressed: bool
) -> None:
    """Do not slot_free() written-back slots: what is known of the object stays, but for the idle mark."""
    options = {"backing": backing, "compressed_writeback": compressed, "secondaries": {1: Zlib()}}
    async with open_device(PAGES, **options) as device:
        await write_pages(device, 0, compressible_pages(1) + os.urandom(2 * PAGE))
        await device.upkeep.recompress(every())
        await write_pages(device, 2, os.urandom(PAGE))
        await device.upkeep.mark_idle()
        await device.upkeep.write_back([ALL])
        assert all_flags(device) == {0: ".w..r.", 1: ".wh..n", 2: ".wh..."}
        await read_back(device, 0, 3 * PAGE)
        assert all_flags(device) == {0: ".w..r.", 1: ".wh..n", 2: ".wh..."}
        await write_pages(device, 0, compressible_pages(3))
        assert all_flags(device) == {0: "......", 1: "......", 2: "......"}
        assert device.statistics.mm_stat().huge_pages == 0


async def test_until_7_0_marks_are_forgotten(open_device: OpenDevice, backing: Path) -> None:
    async with open_device(PAGES, backing=backing, abi=ZRAM_6_18) as device:
        await write_pages(device, 0, os.urandom(PAGE))
        await device.upkeep.write_back([ALL])
        assert all_flags(device) == {0: ".w...."}


async def test_recompressed_objects_are_read_by_their_own_algorithm(opened: Open) -> None:
    expected = bytearray(letters(4))
    async with opened(secondaries={2: Zlib()}) as device:
        await write_pages(device, 0, expected)
        await device.upkeep.recompress(every(first_priority=2, end_priority=3, most_pages=2))
        await device.upkeep.write_back([ALL])
        assert list(all_flags(device).values()) == [".w..r.", ".w..r.", ".wh...", ".wh..."]
        await device.write(PAGE - 10, b"x" * PAGE)
        expected[PAGE - 10 : 2 * PAGE - 10] = b"x" * PAGE
        assert await read_back(device, 0, 4 * PAGE) == expected


async def test_objects_that_need_a_dictionary_are_read(
    open_device: OpenDevice, backing: Path, compressible_pages: Pages
) -> None:
    async with open_device(PAGES, backend=ZSTD, accelerator=None, backing=backing) as device:
        path = str(backing)
        device.reset()
        await device.writeback.wait_until_released()
        device.settings.set_backend(ZSTD)
        device.settings.algorithms.set_params(
            0, AlgorithmParams(dictionary=compressible_pages(2, 7), dictionary_path="/d")
        )
        await device.upkeep.choose_backing(path)
        device.settings.compress_writeback(wanted=True)
        device.initialise(PAGES * PAGE)
        await write_pages(device, 0, compressible_pages(PAGES))
        await device.upkeep.write_back([ALL])
        assert device.statistics.mm_stat().compr_data_size == 0
        assert await read_back(device, 0, PAGES * PAGE) == compressible_pages(PAGES)


@pytest.mark.parametrize("size", [1, 100, PAGE])
async def test_a_block_that_does_not_decompress_costs_its_page_alone(
    opened: Open, backing: Path, compressible_pages: Pages, size: int
) -> None:
    data = compressible_pages(3)
    async with opened(backend=Zlib(), accelerator=None) as device:
        await write_pages(device, 0, data)
        await device.upkeep.write_back([ALL])
        with backing.open("r+b") as file:
            os.pwrite(file.fileno(), bytes(PAGE), PAGE)
        with pytest.raises(CorruptPage) as raised:
            await read_back(device, PAGE, size)
        assert raised.value.errno == errno.EIO
        with pytest.raises(CorruptPage):
            await device.write(PAGE + 1, b"x")
        assert (device.statistics.io_stat().failed_reads, device.statistics.io_stat().failed_writes) == (1, 1)
        assert await read_back(device, 0, PAGE) == data[:PAGE]
        assert await read_back(device, 2 * PAGE, PAGE) == data[2 * PAGE :]
        await write_pages(device, 1, data[:PAGE])
        assert await read_back(device, PAGE, PAGE) == data[:PAGE]


async def test_a_page_that_changes_while_its_object_is_read_is_read_as_it_was(
    opened: Open, compressible_pages: Pages
) -> None:
    """Its length and its algorithm are those of the object in the block, whatever the slot has by then."""
    old, new = compressible_pages(1, 1), b"new " * (PAGE // 4 - 1) + b"more"
    async with opened() as device:
        await write_pages(device, 0, old)
        await device.upkeep.write_back([ALL])
        with held(device, writes=False) as gate:
            out = bytearray(PAGE)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(device.read, 0, memoryview(out))
                await gate.reached()
                await write_pages(device, 0, new)
                await device.upkeep.write_back([ALL])
                gate.open()
        assert out == old
        assert await read_back(device, 0, PAGE) == new


async def test_the_attribute_is_a_bool_until_the_device_is_initialised(open_device: OpenDevice) -> None:
    async with open_device(4) as device:
        tree = WritebackAttributes(device).tree()
        attribute: Any = tree["compressed_writeback"]
        assert attribute.show() == "0\n"
        with pytest.raises(InvalidValue):
            await attribute.store("junk")
        with pytest.raises(DeviceBusy):
            await attribute.store("1")
        device.reset()
        await attribute.store("on\n")
        assert attribute.show() == "1\n"
        device.initialise(PAGE)
        device.reset()
        assert attribute.show() == "1\n"


@pytest.mark.parametrize("name", ["compressed_writeback", "writeback_batch_size"])
async def test_later_attributes_are_missing_in_6_18(open_device: OpenDevice, name: str) -> None:
    async with open_device(4, abi=ZRAM_6_18) as device, open_device(4, abi=ZRAM_7_3) as newer:
        assert name not in WritebackAttributes(device).tree()
        assert name in WritebackAttributes(newer).tree()
