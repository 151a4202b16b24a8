"""Recompression, by the sentences of Documentation/admin-guide/blockdev/zram.rst and of zram_drv.c that tests name."""

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
from written_back import access_times, all_flags, write_pages

from zramfs.abi import ZRAM_6_18, ZRAM_7_3, ZramAbi
from zramfs.codec.run import FunctionCodec, PageCodec
from zramfs.contracts import Backend, BackendParams
from zramfs.device.device import ZramDevice
from zramfs.device.writeback import Selection
from zramfs.errors import CorruptPage, DeviceBusy, ZramError

pytestmark = pytest.mark.usefixtures("forked_backing")

PAGE = 4096
PAGES = 64

Open = Callable[..., AbstractAsyncContextManager[ZramDevice]]
OpenDevice = Callable[..., AbstractAsyncContextManager[ZramDevice]]
Pages = Callable[..., bytes]


class Useless(Zlib):
    """Shrinks nothing."""

    def create_context(self, params: BackendParams) -> PageCodec:
        del params
        return FunctionCodec(self._keep, lambda data: data)

    def _keep(self, page: bytes) -> bytes:
        self.compressed += 1
        return page


class Failing(Zlib):
    """Fails on every page."""

    def create_context(self, params: BackendParams) -> PageCodec:
        del params
        return FunctionCodec(self._fail, self._fail)

    def _fail(self, _data: bytes) -> bytes:
        raise ArithmeticError


@pytest.fixture
def opened(open_device: OpenDevice, tmp_path: Path) -> Open:
    """Open a device of PAGES pages with the secondary algorithms given, in order of their priorities."""

    @asynccontextmanager
    async def opening(*backends: Backend, **options: Any) -> AsyncIterator[ZramDevice]:
        path = tmp_path / "backing"
        path.write_bytes(bytes(PAGES * PAGE))
        async with open_device(PAGES, secondaries=dict(enumerate(backends, 1)), backing=path, **options) as device:
            yield device

    return opening


async def test_recompressed_pages_are_smaller_and_read_the_same(opened: Open, compressible_pages: Pages) -> None:
    """Recompressed using more effective algorithm and, hence, reduce zsmalloc memory usage. r: recompressed page."""
    data = compressible_pages(4)
    async with opened(Zlib()) as device:
        await write_pages(device, 0, data)
        before = device.statistics.mm_stat()
        await device.upkeep.recompress(every())
        after = device.statistics.mm_stat()
        assert after.compr_data_size == sum(
            len(zlib.compress(data[page * PAGE : (page + 1) * PAGE], 9)) for page in range(4)
        )
        assert after.compr_data_size < before.compr_data_size
        assert after.orig_data_size == before.orig_data_size
        assert all_flags(device) == dict.fromkeys(range(4), "....r.")
        assert await read_back(device, 0, 4 * PAGE) == data


async def test_huge_pages_that_another_algorithm_shrinks_are_huge_no_more(opened: Open) -> None:
    """Alternative compression algorithm can be more successful compressing huge pages."""
    async with opened(Zlib()) as device:
        await write_pages(device, 0, letters(3))
        assert device.statistics.mm_stat().huge_pages == 3
        await device.upkeep.recompress(every(huge=True))
        memory = device.statistics.mm_stat()
        assert (memory.huge_pages, memory.huge_pages_since) == (0, 3)
        assert memory.compr_data_size < 3 * 3300
        assert await read_back(device, 0, 3 * PAGE) == letters(3)


async def test_large_reads_decompress_what_each_algorithm_made(open_device: OpenDevice) -> None:
    async with open_device(256, secondaries={2: Zlib()}) as device:
        data = letters(200)
        await write_pages(device, 0, data)
        await device.upkeep.recompress(every(end_priority=3, most_pages=100))
        assert sum(state == "....r." for state in all_flags(device).values()) == 100
        assert await read_back(device, 0, 200 * PAGE) == data


async def test_only_idle_pages_are_recompressed_if_asked_for(opened: Open, compressible_pages: Pages) -> None:
    """IDLE pages recompression is activated by `idle` mode. (recompress_slot: mark it as non-IDLE.)"""
    async with opened(Zlib()) as device:
        await write_pages(device, 0, compressible_pages(3))
        await device.upkeep.mark_idle()
        await read_back(device, PAGE, 1)
        await device.upkeep.recompress(every(idle=True))
        assert all_flags(device) == {0: "....r.", 1: "......", 2: "....r."}


async def test_huge_idle_pages_are_both(opened: Open, compressible_pages: Pages) -> None:
    """HUGE_IDLE pages recompression is activated by `huge_idle` mode."""
    async with opened(Zlib()) as device:
        await write_pages(device, 0, compressible_pages(1) + letters(2))
        await device.upkeep.mark_idle()
        await read_back(device, 2 * PAGE, 1)
        await device.upkeep.recompress(every(idle=True, huge=True))
        assert all_flags(device) == {0: "...i..", 1: "....r.", 2: "..h..."}


async def test_pages_below_the_threshold_are_left_alone(opened: Open, compressible_pages: Pages) -> None:
    """Zram will recompress only pages of equal or greater size."""
    backend = Zlib()
    async with opened(backend) as device:
        await write_pages(device, 0, compressible_pages(1) + letters(1))
        await device.upkeep.recompress(every(threshold_bytes=3500))
        assert all_flags(device) == {0: "......", 1: "....r."}
        assert backend.compressed == 1


async def test_a_result_that_is_not_below_the_threshold_is_not_kept(opened: Open) -> None:
    """Successful: re-compressed object is smaller … and matches re-compression criteria (e.g. size threshold)."""
    async with opened(Zlib()) as device:
        await write_pages(device, 0, letters(1))
        await device.upkeep.recompress(every(threshold_bytes=3000))
        assert all_flags(device) == {0: "..h..n"}


async def test_no_more_pages_are_tried_than_allowed_and_the_largest_first(
    opened: Open, compressible_pages: Pages
) -> None:
    """max_pages: limit the number of entries (pages) we attempt to recompress."""
    async with opened(Zlib()) as device:
        await write_pages(device, 0, compressible_pages(2) + letters(2))
        await device.upkeep.recompress(every(most_pages=0))
        assert "r" not in "".join(all_flags(device).values())
        await device.upkeep.recompress(every(most_pages=2))
        assert all_flags(device) == {0: "......", 1: "......", 2: "....r.", 3: "....r."}


async def test_a_page_that_no_algorithm_shrinks_is_incompressible_and_not_tried_again(opened: Open) -> None:
    """Such a page is marked as incompressible, so ZRAM will not attempt to re-compress it in the future."""
    first, second = Useless("first"), Useless("second")
    async with opened(first, second) as device:
        await write_pages(device, 0, os.urandom(PAGE))
        await device.upkeep.recompress(every(end_priority=3))
        await device.upkeep.recompress(every(end_priority=3))
        assert all_flags(device) == {0: "..h..n"}
        assert (first.compressed, second.compressed) == (1, 1)
        await write_pages(device, 0, os.urandom(PAGE))
        assert all_flags(device) == {0: "..h..."}


async def test_the_peak_counts_what_recompression_takes_with_the_next_write(opened: Open) -> None:
    """recompress_slot() allocates without update_used_max(), which zram_can_store_page() calls for a write."""
    async with opened(Zlib()) as device:
        await write_pages(device, 0, letters(1))
        await device.upkeep.recompress(every())
        memory = device.statistics.mm_stat()
        assert memory.mem_used_max == PAGE < memory.mem_used_total
        await write_pages(device, 1, letters(1))
        assert device.statistics.mm_stat().mem_used_max == memory.mem_used_total + PAGE


@pytest.mark.parametrize("abi", [ZRAM_6_18, ZRAM_7_3])
async def test_a_recompressed_page_counts_as_never_accessed(opened: Open, abi: ZramAbi) -> None:
    """recompress_slot() frees the slot, and with it the time: so it is older than any age, until it is accessed."""
    async with opened(Zlib(), abi=abi) as device:
        await write_pages(device, 0, letters(2))
        await device.upkeep.recompress(every(most_pages=1))
        accessed = access_times(device)
        assert sorted(accessed) == ["0.000000", max(accessed)]
        await device.upkeep.mark_idle(1)
        assert sorted(all_flags(device).values()) == ["...ir.", "..h..."]
        await read_back(device, 0, 2 * PAGE)
        assert "0.000000" not in access_times(device)


async def test_a_page_is_not_incompressible_before_the_last_algorithm_was_tried(opened: Open) -> None:
    """Mark the object incompressible if the max-priority algorithm couldn't re-compress it."""
    async with opened(Useless(), Zlib()) as device:
        await write_pages(device, 0, letters(1))
        await device.upkeep.recompress(every(end_priority=2))
        assert all_flags(device) == {0: "..h..."}
        await device.upkeep.recompress(every(end_priority=3))
        assert all_flags(device) == {0: "....r."}


async def test_algorithms_are_tried_in_order_until_one_saves_memory(opened: Open) -> None:
    """ZRAM iterates the list of registered alternative compression algorithms in order of their priorities."""
    useless, zlib_1, zlib_2 = Useless(), Zlib("first"), Zlib("second")
    async with opened(useless, zlib_1, zlib_2) as device:
        await write_pages(device, 0, letters(1))
        await device.upkeep.recompress(every(end_priority=4))
        assert (useless.compressed, zlib_1.compressed, zlib_2.compressed) == (1, 1, 0)


async def test_recompressed_pages_are_tried_by_later_algorithms_alone(opened: Open, compressible_pages: Pages) -> None:
    """Already compressed with same of higher priority."""
    weak, strong = Zlib("weak", level=1), Zlib("strong")
    async with opened(weak, strong) as device:
        await write_pages(device, 0, compressible_pages(1))
        await device.upkeep.recompress(every(end_priority=2))
        await device.upkeep.recompress(every(end_priority=2))
        assert (weak.compressed, strong.compressed) == (1, 0)
        await device.upkeep.recompress(every(end_priority=3))
        assert (weak.compressed, strong.compressed) == (1, 1)
        assert await read_back(device, 0, PAGE) == compressible_pages(1)


async def test_overwriting_a_recompressed_page_uses_the_primary_algorithm(
    opened: Open, compressible_pages: Pages
) -> None:
    async with opened(Zlib()) as device:
        await write_pages(device, 0, compressible_pages(1))
        await device.upkeep.recompress(every())
        await write_pages(device, 0, compressible_pages(1, 2))
        assert all_flags(device) == {0: "......"}
        assert await read_back(device, 0, PAGE) == compressible_pages(1, 2)


async def test_compaction_and_discards_leave_recompressed_pages_whole(opened: Open) -> None:
    async with opened(Zlib()) as device:
        data = letters(PAGES)
        await write_pages(device, 0, data)
        await device.upkeep.recompress(every())
        for page in range(0, PAGES, 2):
            await device.punch(page * PAGE, PAGE)
        await device.upkeep.compact()
        for page in range(1, PAGES, 2):
            assert await read_back(device, page * PAGE, PAGE) == data[page * PAGE : (page + 1) * PAGE]
        await device.punch(0, PAGES * PAGE)
        assert device.statistics.mm_stat().mem_used_total == device.statistics.mm_stat().compr_data_size == 0


async def test_recompressed_pages_are_written_back_and_patched(opened: Open) -> None:
    async with opened(Zlib()) as device:
        expected = bytearray(letters(2))
        await write_pages(device, 0, expected)
        await device.upkeep.recompress(every())
        await device.upkeep.write_back([Selection(0, 1)])
        assert all_flags(device) == {0: ".w..r.", 1: "....r."}
        await device.write(PAGE - 2, b"both")
        expected[PAGE - 2 : PAGE + 2] = b"both"
        assert await read_back(device, 0, 2 * PAGE) == expected


async def test_incompressible_pages_can_be_written_back(opened: Open, compressible_pages: Pages) -> None:
    """Writeback only incompressible pages (pages that none of algorithms can compress)."""
    async with opened(Useless()) as device:
        await write_pages(device, 0, os.urandom(PAGE))
        await device.upkeep.recompress(every())
        await write_pages(device, 1, os.urandom(PAGE) + compressible_pages(1))
        await device.upkeep.write_back([Selection(0, PAGES, incompressible=True)])
        assert all_flags(device) == {0: ".wh..n", 1: "..h...", 2: "......"}


async def test_an_algorithm_that_fails_ends_it_and_loses_nothing(opened: Open) -> None:
    """Compression error: return ret."""
    async with opened(Failing()) as device:
        await write_pages(device, 0, letters(2))
        with pytest.raises(ZramError):
            await device.upkeep.recompress(every())
        assert all_flags(device) == {0: "..h...", 1: "..h..."}
        assert await read_back(device, 0, 2 * PAGE) == letters(2)


async def test_a_page_that_does_not_decompress_ends_it(opened: Open, compressible_pages: Pages) -> None:
    class Unreadable(Zlib):
        def create_context(self, params: BackendParams) -> PageCodec:
            del params
            return FunctionCodec(self._compress, lambda _data: b"")

    async with opened(Zlib(), backend=Unreadable("primary", level=1)) as device:
        await write_pages(device, 0, compressible_pages(1))
        with pytest.raises(CorruptPage):
            await device.upkeep.recompress(every())


async def test_others_have_their_turn_between_pages(opened: Open) -> None:
    async with opened(Zlib()) as device:
        await write_pages(device, 0, letters(PAGES))
        turns = 0

        async def count_turns() -> None:
            nonlocal turns
            while True:
                turns += 1
                await trio.lowlevel.checkpoint()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(count_turns)
            await device.upkeep.recompress(every())
            nursery.cancel_scope.cancel()
        assert turns > 5


async def test_a_page_that_is_written_meanwhile_keeps_its_new_contents(opened: Open) -> None:
    async with opened(Zlib()) as device:
        await write_pages(device, 0, letters(PAGES))
        expected = bytearray(letters(PAGES))

        async def overwrite() -> None:
            for page in range(PAGES - 1, -1, -1):
                expected[page * PAGE : (page + 1) * PAGE] = letters(1, page)
                await write_pages(device, page, letters(1, page))
                await device.upkeep.recompress(every(huge=True, most_pages=1))
                await trio.lowlevel.checkpoint()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(device.upkeep.recompress, every())
            nursery.start_soon(overwrite)
        assert await read_back(device, 0, PAGES * PAGE) == expected


async def test_reset_is_refused_meanwhile_and_forgets_the_algorithms(opened: Open) -> None:
    async with opened(Zlib()) as device:
        await write_pages(device, 0, letters(PAGES))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(device.upkeep.recompress, every())
            while not device.upkeep.is_running:
                await trio.lowlevel.checkpoint()
            with pytest.raises(DeviceBusy):
                device.reset()
        device.reset()
        assert device.settings.secondaries == {}
