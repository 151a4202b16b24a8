import os
import random
from collections.abc import Callable

import pytest
from reads import read_slots

from zramfs.codec.lz4 import Lz4Codec
from zramfs.codec.run import FunctionCodec, RunCompressor
from zramfs.device.slots import SlotTable
from zramfs.errors import CorruptPage, MemoryLimitReached, ZramError

PAGE = 4096
MIB = 1 << 20
TIB_PAGES = 1 << 28


def store(slots: SlotTable, first_page: int, source: bytes) -> None:
    pages = len(source) // PAGE
    compressor = RunCompressor(Lz4Codec(), pages)
    compressor.compress(source, 0, pages)
    slots.store(first_page, compressor.run)


def discard(slots: SlotTable, first_page: int, pages: int) -> None:
    """Discard in slices of 3 pages in use, as the device does in larger ones."""
    page = first_page
    while page < first_page + pages:
        page += slots.discard_some(page, first_page + pages - page, 3)


def statistics(slots: SlotTable) -> tuple[int, int, int, int]:
    return slots.stored_pages, slots.same_pages, slots.huge_pages, slots.object_count


def incompressible_to(length: int) -> bytes:
    """Make a page that LZ4 compresses to exactly `length` bytes."""
    codec = Lz4Codec()
    noise = random.Random(2026).randbytes(PAGE)
    for kept in range(length - 40, length):
        page = noise[:kept] + bytes(PAGE - kept)
        if len(codec.compress(page)) == length:
            return page
    raise AssertionError(length)


def test_pages_never_written_read_as_zeros() -> None:
    assert read_slots(SlotTable(4), 0, 4 * PAGE) == bytes(4 * PAGE)


def test_stored_pages_read_back(compressible_pages: Callable[..., bytes]) -> None:
    source = compressible_pages(2) + os.urandom(PAGE) + bytes(PAGE) + b"12345678" * 512
    slots = SlotTable(8)
    store(slots, 2, source)
    assert read_slots(slots, 0, 8 * PAGE) == bytes(2 * PAGE) + source + bytes(PAGE)
    assert statistics(slots) == (5, 2, 1, 3)


@pytest.mark.parametrize("offset", [0, 1, 7, 8, 4095, 4096, 4097, 5000])
@pytest.mark.parametrize("size", [0, 1, 3, 4095, 4096, 4097, 9001])
def test_any_part_reads_back(offset: int, size: int, compressible_pages: Callable[..., bytes]) -> None:
    source = compressible_pages(1) + b"12345678" * 512 + os.urandom(PAGE) + bytes(PAGE) + b"ABCDEFGH" * 512
    slots = SlotTable(5)
    store(slots, 0, source)
    assert read_slots(slots, offset, size) == source[offset : offset + size]


def test_a_page_of_3624_bytes_is_compressed_and_one_of_3625_is_raw() -> None:
    slots = SlotTable(2)
    store(slots, 0, incompressible_to(3624))
    assert (slots.compressed_bytes, slots.huge_pages) == (3624, 0)
    store(slots, 1, incompressible_to(3625))
    assert (slots.compressed_bytes, slots.huge_pages) == (3624 + PAGE, 1)


def test_storing_again_replaces_the_page(compressible_pages: Callable[..., bytes]) -> None:
    slots = SlotTable(1)
    for source in (os.urandom(PAGE), bytes(PAGE), compressible_pages(1), os.urandom(PAGE), b"12345678" * 512):
        store(slots, 0, source)
        assert read_slots(slots, 0, PAGE) == source
        assert slots.stored_pages == 1
    assert statistics(slots) == (1, 1, 0, 0)
    assert (slots.used_pages, slots.compressed_bytes, slots.huge_pages_since) == (0, 0, 2)


def test_discard_frees_and_notifies_even_empty_pages() -> None:
    slots = SlotTable(8)
    store(slots, 0, os.urandom(2 * PAGE) + bytes(PAGE))
    discard(slots, 0, 8)
    assert statistics(slots) == (0, 0, 0, 0)
    assert (slots.used_pages, slots.compressed_bytes, slots.freed_notifications) == (0, 0, 8)
    assert read_slots(slots, 0, 8 * PAGE) == bytes(8 * PAGE)


def test_discard_frees_no_more_than_it_may() -> None:
    slots = SlotTable(100)
    store(slots, 0, os.urandom(10 * PAGE))
    assert slots.discard_some(0, 100, 4) == 4
    assert slots.stored_pages == 6
    assert slots.freed_notifications == 4
    assert slots.discard_some(4, 96, 6) == 96
    assert (slots.stored_pages, slots.freed_notifications) == (0, 100)


def test_discard_skips_what_is_empty_without_touching_it(resident_bytes: Callable[[], int]) -> None:
    slots = SlotTable(TIB_PAGES)
    store(slots, 5, os.urandom(PAGE))
    store(slots, TIB_PAGES - 1, os.urandom(PAGE))
    before = resident_bytes()
    assert slots.discard_some(0, TIB_PAGES - 1, 10) == TIB_PAGES - 1
    assert statistics(slots) == (1, 0, 1, 1)
    assert resident_bytes() - before < 4 * MIB


@pytest.mark.parametrize("border", [255, 256, 257, 511, 512, 700, 767, 768, 999])
def test_discard_ends_exactly_at_its_borders(border: int) -> None:
    slots = SlotTable(1000)
    source = os.urandom(1000 * PAGE)
    store(slots, 0, source)
    discard(slots, 0, border)
    assert read_slots(slots, 0, 1000 * PAGE) == bytes(border * PAGE) + source[border * PAGE :]
    discard(slots, border + 1, 1000 - border - 1)
    assert slots.stored_pages == 1
    assert slots.freed_notifications == 999


@pytest.mark.parametrize("stored", [0, 1, 255, 256, 257, 511, 512, 999])
def test_find_tells_what_is_in_use(stored: int) -> None:
    slots = SlotTable(1000)
    store(slots, stored, bytes(PAGE))
    assert slots.find(0, in_use=True) == stored
    assert slots.find(stored, in_use=True) == stored
    assert slots.find(stored + 1, in_use=True) == 1000
    assert slots.find(stored, in_use=False) == stored + 1
    assert slots.find(1000, in_use=True) == slots.find(1000, in_use=False) == 1000


def test_find_passes_what_is_full() -> None:
    slots = SlotTable(1000)
    store(slots, 100, bytes(800 * PAGE))
    assert slots.find(100, in_use=False) == 900
    assert slots.find(99, in_use=False) == 99
    discard(slots, 612, 1)
    assert slots.find(100, in_use=False) == 612


def test_over_the_limit_the_page_keeps_its_old_contents() -> None:
    slots = SlotTable(4, limit_pages=2)
    old, new = os.urandom(2 * PAGE), os.urandom(PAGE)
    store(slots, 0, old)
    with pytest.raises(MemoryLimitReached, match="page 1 does not fit: 2 pages are in use"):
        store(slots, 1, new)
    assert read_slots(slots, 0, 2 * PAGE) == old
    assert statistics(slots) == (2, 0, 2, 2)
    assert (slots.used_pages, slots.peak_pages, slots.huge_pages_since) == (2, 3, 2)


def test_over_the_limit_the_pages_before_are_stored() -> None:
    slots = SlotTable(4, limit_pages=2)
    source = os.urandom(4 * PAGE)
    with pytest.raises(MemoryLimitReached, match="page 2 "):
        store(slots, 0, source)
    assert read_slots(slots, 0, 4 * PAGE) == source[: 2 * PAGE] + bytes(2 * PAGE)


def test_same_filled_pages_need_no_room() -> None:
    slots = SlotTable(4, limit_pages=1)
    store(slots, 0, os.urandom(PAGE))
    store(slots, 0, b"12345678" * 2048)
    assert slots.used_pages == 0
    assert slots.stored_pages == 4


def test_the_peak_counts_the_old_and_the_new_object() -> None:
    slots = SlotTable(1)
    store(slots, 0, os.urandom(PAGE))
    assert slots.peak_pages == 1
    store(slots, 0, os.urandom(PAGE))
    assert (slots.used_pages, slots.peak_pages) == (1, 2)
    slots.reset_peak()
    assert slots.peak_pages == 1


def test_a_page_that_its_codec_failed_on_keeps_its_old_contents() -> None:
    def fail(_data: bytes) -> bytes:
        raise ArithmeticError

    slots = SlotTable(3)
    old = os.urandom(3 * PAGE)
    store(slots, 0, old)
    compressor = RunCompressor(FunctionCodec(fail, fail), 3)
    compressor.compress(bytes(PAGE) + os.urandom(PAGE) + bytes(PAGE), 0, 3)
    with pytest.raises(ZramError, match="page 1 could not be compressed"):
        slots.store(0, compressor.run)
    assert read_slots(slots, 0, 3 * PAGE) == bytes(PAGE) + old[PAGE:]


@pytest.mark.parametrize("reader", [lambda _data: b"too short", lambda _data: 1 / 0])
def test_a_page_that_does_not_decompress_is_corrupt(
    reader: Callable[[bytes], bytes], compressible_pages: Callable[..., bytes]
) -> None:
    slots = SlotTable(3)
    store(slots, 1, compressible_pages(1))
    codec = FunctionCodec(bytes, reader)
    with pytest.raises(CorruptPage, match="page 1 does not decompress"):
        read_slots(slots, 0, 3 * PAGE, codec)
    with pytest.raises(CorruptPage, match="page 1 does not decompress"):
        read_slots(slots, PAGE + 1, 5, codec)
    assert read_slots(slots, 0, PAGE, codec) == bytes(PAGE)


def test_raw_pages_need_no_codec() -> None:
    page = os.urandom(PAGE)
    slots = SlotTable(1)
    store(slots, 0, page)
    assert read_slots(slots, 0, PAGE, FunctionCodec(bytes, lambda _data: b"")) == page


def test_compaction_frees_pages_and_keeps_contents(compressible_pages: Callable[..., bytes]) -> None:
    slots = SlotTable(1000)
    source = compressible_pages(1000)
    store(slots, 0, source)
    for page in range(1000):
        if page % 5:
            discard(slots, page, 1)
    before = slots.used_pages
    while slots.compact_some(50):
        pass
    assert slots.used_pages < before / 2
    assert slots.compacted_pages == before - slots.used_pages
    for page in range(0, 1000, 5):
        assert read_slots(slots, page * PAGE, PAGE) == source[page * PAGE : (page + 1) * PAGE]


def test_a_table_of_1_tib_costs_little_memory(resident_bytes: Callable[[], int]) -> None:
    before = resident_bytes()
    slots = SlotTable(TIB_PAGES)
    assert resident_bytes() - before < 1 * MIB
    store(slots, TIB_PAGES - 2, os.urandom(2 * PAGE))
    assert resident_bytes() - before < 2 * MIB


def test_a_sparse_table_costs_a_page_for_each_place_that_was_written(
    resident_bytes: Callable[[], int],
) -> None:
    slots = SlotTable(TIB_PAGES)
    before = resident_bytes()
    for page in range(0, TIB_PAGES, TIB_PAGES // 256):
        store(slots, page, b"12345678" * 512)
    assert resident_bytes() - before < 3 * MIB


def test_close_gives_the_memory_back(resident_bytes: Callable[[], int]) -> None:
    before = resident_bytes()
    slots = SlotTable(20_000)
    source = os.urandom(200 * PAGE)
    for first_page in range(0, 20_000, 200):
        store(slots, first_page, source)
    assert resident_bytes() - before > 75 * MIB
    slots.close()
    assert resident_bytes() - before < 4 * MIB


def test_a_table_that_cannot_be_had_is_a_memory_error() -> None:
    with pytest.raises(MemoryError, match="address space"):
        SlotTable(1 << 48)
