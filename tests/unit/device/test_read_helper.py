import os
import threading
from collections.abc import Callable, Iterator

import pytest
from reads import read_slots

from zramfs.codec.lz4 import Lz4Codec
from zramfs.codec.run import FunctionCodec, PageCodec, RunCompressor
from zramfs.device.slots import Codecs, ReadHelper, SlotTable
from zramfs.errors import CorruptPage
from zramfs.units import PAGE_SIZE

PAGES = 300


@pytest.fixture
def helper() -> Iterator[ReadHelper]:
    helper = ReadHelper(Codecs(Lz4Codec()))
    yield helper
    helper.close()


def stored(slots: SlotTable, data: bytes, codec: PageCodec) -> None:
    compressor = RunCompressor(codec, 1)
    for page in range(len(data) // PAGE_SIZE):
        compressor.compress(data, page * PAGE_SIZE, 1)
        slots.store(page, compressor.run)


def every_kind_of_page(compressible_pages: Callable[..., bytes]) -> bytes:
    kinds = [compressible_pages(1, 7), os.urandom(PAGE_SIZE), bytes(PAGE_SIZE), b"ABCDEFGH" * 512]
    return b"".join(kinds[page % 4] for page in range(PAGES - 20))


def test_large_reads_are_the_same_with_a_helper(helper: ReadHelper, compressible_pages: Callable[..., bytes]) -> None:
    slots = SlotTable(PAGES)
    data = every_kind_of_page(compressible_pages)
    stored(slots, data, Lz4Codec())
    data += bytes(20 * PAGE_SIZE)
    for first, pages in [(0, PAGES), (1, 64), (17, 65), (100, 200), (0, 63), (236, 64)]:
        begin, size = first * PAGE_SIZE, pages * PAGE_SIZE
        for _ in range(50):
            assert read_slots(slots, begin, size, Lz4Codec(), helper) == data[begin : begin + size]


def test_large_unaligned_reads_are_the_same_with_a_helper(helper: ReadHelper) -> None:
    slots = SlotTable(PAGES)
    data = os.urandom(PAGES * PAGE_SIZE)
    stored(slots, data, Lz4Codec())
    assert read_slots(slots, 100, 100 * PAGE_SIZE, Lz4Codec(), helper) == data[100 : 100 + 100 * PAGE_SIZE]


def test_page_that_does_not_decompress_fails_the_read_and_only_this() -> None:
    def fail(data: bytes) -> bytes:
        raise ValueError(len(data))

    broken = FunctionCodec(lambda page: page[:100], fail)
    slots = SlotTable(PAGES)
    stored(slots, os.urandom(PAGE_SIZE) * 64, broken)
    helper = ReadHelper(Codecs(broken))
    try:
        with pytest.raises(CorruptPage):
            read_slots(slots, 0, 64 * PAGE_SIZE, broken, helper)
        assert read_slots(slots, 100 * PAGE_SIZE, 64 * PAGE_SIZE, broken, helper) == bytes(64 * PAGE_SIZE)
    finally:
        helper.close()


def test_helper_and_reader_both_may_need_the_interpreter() -> None:
    plain = FunctionCodec(lambda page: page[:2048], lambda data: data + data)
    slots = SlotTable(PAGES)
    page = os.urandom(2048) * 2
    stored(slots, page * 200, plain)
    helper = ReadHelper(Codecs(plain))
    try:
        for _ in range(20):
            assert read_slots(slots, 0, 200 * PAGE_SIZE, plain, helper) == page * 200
    finally:
        helper.close()


def test_close_ends_the_thread() -> None:
    before = threading.active_count()
    helper = ReadHelper(Codecs(Lz4Codec()))
    assert threading.active_count() == before + 1
    helper.close()
    assert threading.active_count() == before
