import os
import random
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from disks import lz4_disk
from reads import punch_disk, read_disk, write_disk

from zramfs.block.disk import Disk
from zramfs.block.slots import SlotTable
from zramfs.codec.lz4 import Lz4Codec
from zramfs.codec.run import FunctionCodec, PageCodec
from zramfs.contracts import Backend, BackendParams
from zramfs.errors import CorruptPage, MemoryLimitReached, ZramError

PAGE = 4096
MIB = 1 << 20
TIB_PAGES = 1 << 28


class Functions(Backend):
    """Compresses and decompresses by functions that a test may replace."""

    name = "functions"

    def __init__(self, compress: Callable[[bytes], bytes], decompress: Callable[[bytes], bytes]) -> None:
        self.compress, self.decompress = compress, decompress

    def create_context(self, params: BackendParams) -> PageCodec:
        del params
        return FunctionCodec(self._compress, self._decompress)

    def _compress(self, page: bytes) -> bytes:
        return self.compress(page)

    def _decompress(self, data: bytes) -> bytes:
        return self.decompress(data)


@pytest.fixture
def disk() -> Iterator[Disk]:
    with lz4_disk(1000) as opened:
        yield opened


def statistics(disk: Disk) -> tuple[int, int, int, int]:
    table = disk.table
    return table.stored_pages, table.same_pages, table.huge_pages, table.object_count


def incompressible_to(length: int) -> bytes:
    """Make a page that LZ4 compresses to exactly `length` bytes."""
    codec = Lz4Codec()
    noise = random.Random(2026).randbytes(PAGE)
    for kept in range(length - 40, length):
        page = noise[:kept] + bytes(PAGE - kept)
        if len(codec.compress(page)) == length:
            return page
    raise AssertionError(length)


def test_pages_never_written_read_as_zeros(disk: Disk) -> None:
    assert read_disk(disk, 0, 4 * PAGE) == bytes(4 * PAGE)


def test_stored_pages_read_back(disk: Disk, compressible_pages: Callable[..., bytes]) -> None:
    source = compressible_pages(2) + os.urandom(PAGE) + bytes(PAGE) + b"12345678" * 512
    write_disk(disk, 2 * PAGE, source)
    assert read_disk(disk, 0, 8 * PAGE) == bytes(2 * PAGE) + source + bytes(PAGE)
    assert statistics(disk) == (5, 2, 1, 3)


@pytest.mark.parametrize("offset", [0, 1, 7, 8, 4095, 4096, 4097, 5000])
@pytest.mark.parametrize("size", [0, 1, 3, 4095, 4096, 4097, 9001])
def test_any_part_reads_back(disk: Disk, offset: int, size: int, compressible_pages: Callable[..., bytes]) -> None:
    source = compressible_pages(1) + b"12345678" * 512 + os.urandom(PAGE) + bytes(PAGE) + b"ABCDEFGH" * 512
    write_disk(disk, 0, source)
    assert read_disk(disk, offset, size) == source[offset : offset + size]


def test_a_page_of_3624_bytes_is_compressed_and_one_of_3625_is_raw(disk: Disk) -> None:
    write_disk(disk, 0, incompressible_to(3624))
    assert (disk.table.compressed_bytes, disk.table.huge_pages) == (3624, 0)
    write_disk(disk, PAGE, incompressible_to(3625))
    assert (disk.table.compressed_bytes, disk.table.huge_pages) == (3624 + PAGE, 1)


def test_storing_again_replaces_the_page(disk: Disk, compressible_pages: Callable[..., bytes]) -> None:
    for source in (os.urandom(PAGE), bytes(PAGE), compressible_pages(1), os.urandom(PAGE), b"12345678" * 512):
        write_disk(disk, 0, source)
        assert read_disk(disk, 0, PAGE) == source
        assert disk.table.stored_pages == 1
    assert statistics(disk) == (1, 1, 0, 0)
    assert (disk.table.used_pages, disk.table.compressed_bytes, disk.table.huge_pages_since) == (0, 0, 2)


def test_discard_frees_and_notifies_even_empty_pages(disk: Disk) -> None:
    write_disk(disk, 0, os.urandom(2 * PAGE) + bytes(PAGE))
    punch_disk(disk, 0, 8 * PAGE)
    assert statistics(disk) == (0, 0, 0, 0)
    assert (disk.table.used_pages, disk.table.compressed_bytes, disk.table.freed_notifications) == (0, 0, 8)
    assert read_disk(disk, 0, 8 * PAGE) == bytes(8 * PAGE)


def test_discard_skips_what_is_empty_without_touching_it(resident_bytes: Callable[[], int]) -> None:
    with lz4_disk(TIB_PAGES) as disk:
        write_disk(disk, 5 * PAGE, os.urandom(PAGE))
        write_disk(disk, (TIB_PAGES - 1) * PAGE, os.urandom(PAGE))
        before = resident_bytes()
        punch_disk(disk, 0, (TIB_PAGES - 1) * PAGE)
        assert statistics(disk) == (1, 0, 1, 1)
        assert resident_bytes() - before < 4 * MIB


@pytest.mark.parametrize("border", [255, 256, 257, 511, 512, 700, 767, 768, 999])
def test_discard_ends_exactly_at_its_borders(disk: Disk, border: int) -> None:
    source = os.urandom(1000 * PAGE)
    write_disk(disk, 0, source)
    punch_disk(disk, 0, border * PAGE)
    assert read_disk(disk, 0, 1000 * PAGE) == bytes(border * PAGE) + source[border * PAGE :]
    punch_disk(disk, (border + 1) * PAGE, (1000 - border - 1) * PAGE)
    assert disk.table.stored_pages == 1
    assert disk.table.freed_notifications == 999


@pytest.mark.parametrize("stored", [0, 1, 255, 256, 257, 511, 512, 999])
def test_find_tells_what_is_in_use(disk: Disk, stored: int) -> None:
    write_disk(disk, stored * PAGE, bytes(PAGE))
    table = disk.table
    assert table.find(0, in_use=True) == stored
    assert table.find(stored, in_use=True) == stored
    assert table.find(stored + 1, in_use=True) == 1000
    assert table.find(stored, in_use=False) == stored + 1
    assert table.find(1000, in_use=True) == table.find(1000, in_use=False) == 1000


def test_find_passes_what_is_full(disk: Disk) -> None:
    write_disk(disk, 100 * PAGE, bytes(800 * PAGE))
    assert disk.table.find(100, in_use=False) == 900
    assert disk.table.find(99, in_use=False) == 99
    punch_disk(disk, 612 * PAGE, PAGE)
    assert disk.table.find(100, in_use=False) == 612


def test_over_the_limit_the_page_keeps_its_old_contents() -> None:
    with lz4_disk(4, limit_pages=2) as disk:
        old, new = os.urandom(2 * PAGE), os.urandom(PAGE)
        write_disk(disk, 0, old)
        with pytest.raises(MemoryLimitReached):
            write_disk(disk, PAGE, new)
        assert read_disk(disk, 0, 2 * PAGE) == old
        assert statistics(disk) == (2, 0, 2, 2)
        assert (disk.table.used_pages, disk.table.peak_pages, disk.table.huge_pages_since) == (2, 3, 2)


def test_over_the_limit_the_pages_before_are_stored() -> None:
    with lz4_disk(4, limit_pages=2) as disk:
        source = os.urandom(4 * PAGE)
        with pytest.raises(MemoryLimitReached):
            write_disk(disk, 0, source)
        assert read_disk(disk, 0, 4 * PAGE) == source[: 2 * PAGE] + bytes(2 * PAGE)


def test_same_filled_pages_need_no_room() -> None:
    with lz4_disk(4, limit_pages=1) as disk:
        write_disk(disk, 0, os.urandom(PAGE))
        write_disk(disk, 0, b"12345678" * 2048)
        assert disk.table.used_pages == 0
        assert disk.table.stored_pages == 4


def test_the_peak_counts_the_old_and_the_new_object(disk: Disk) -> None:
    write_disk(disk, 0, os.urandom(PAGE))
    assert disk.table.peak_pages == 1
    write_disk(disk, 0, os.urandom(PAGE))
    assert (disk.table.used_pages, disk.table.peak_pages) == (1, 2)
    disk.table.reset_peak()
    assert disk.table.peak_pages == 1


def test_a_page_that_its_codec_failed_on_keeps_its_old_contents() -> None:
    backend = Functions(lambda page: page[:2000], lambda data: data + data + data[:96])
    with lz4_disk(3, backend=backend) as disk:
        old = 2 * os.urandom(1024) + os.urandom(2048)
        backend.decompress = lambda _data: old
        for page in range(3):
            write_disk(disk, page * PAGE, old)
        backend.compress = lambda _page: bytes(1 // 0)
        with pytest.raises(ZramError, match="could not be compressed"):
            write_disk(disk, 0, bytes(PAGE) + os.urandom(PAGE) + bytes(PAGE))
        assert read_disk(disk, 0, 3 * PAGE) == bytes(PAGE) + old + old


@pytest.mark.parametrize("reader", [lambda _data: b"too short", lambda _data: 1 / 0])
def test_a_page_that_does_not_decompress_is_corrupt(reader: Callable[[bytes], bytes]) -> None:
    with lz4_disk(3, backend=Functions(lambda page: page[:100], reader)) as disk:
        write_disk(disk, PAGE, os.urandom(PAGE))
        with pytest.raises(CorruptPage, match="does not decompress"):
            read_disk(disk, 0, 3 * PAGE)
        with pytest.raises(CorruptPage, match="does not decompress"):
            read_disk(disk, PAGE + 1, 5)
        assert read_disk(disk, 0, PAGE) == bytes(PAGE)
        assert disk.counts.failed_reads == 2


def test_raw_pages_need_no_codec() -> None:
    page = os.urandom(PAGE)
    with lz4_disk(1, backend=Functions(bytes, lambda _data: b"")) as disk:
        write_disk(disk, 0, page)
        assert read_disk(disk, 0, PAGE) == page


def test_compaction_frees_pages_and_keeps_contents(disk: Disk, compressible_pages: Callable[..., bytes]) -> None:
    source = compressible_pages(1000)
    write_disk(disk, 0, source)
    for page in range(1000):
        if page % 5:
            punch_disk(disk, page * PAGE, PAGE)
    before = disk.table.used_pages
    while disk.table.compact_some(50):
        pass
    assert disk.table.used_pages < before / 2
    assert disk.table.compacted_pages == before - disk.table.used_pages
    for page in range(0, 1000, 5):
        assert read_disk(disk, page * PAGE, PAGE) == source[page * PAGE : (page + 1) * PAGE]


def test_a_table_of_1_tib_costs_little_memory(resident_bytes: Callable[[], int]) -> None:
    before = resident_bytes()
    table = SlotTable(TIB_PAGES)
    assert resident_bytes() - before < 1 * MIB
    table.close()
    with lz4_disk(TIB_PAGES) as disk:
        write_disk(disk, (TIB_PAGES - 2) * PAGE, os.urandom(2 * PAGE))
        assert resident_bytes() - before < 3 * MIB


def test_a_sparse_table_costs_a_page_for_each_place_that_was_written(resident_bytes: Callable[[], int]) -> None:
    with lz4_disk(TIB_PAGES) as disk:
        before = resident_bytes()
        for page in range(0, TIB_PAGES, TIB_PAGES // 256):
            write_disk(disk, page * PAGE, b"12345678" * 512)
        assert resident_bytes() - before < 3 * MIB


def test_close_gives_the_memory_back(resident_bytes: Callable[[], int]) -> None:
    before = resident_bytes()
    with lz4_disk(20_000) as disk:
        source = os.urandom(200 * PAGE)
        for first_page in range(0, 20_000, 200):
            write_disk(disk, first_page * PAGE, source)
        assert resident_bytes() - before > 75 * MIB
    assert resident_bytes() - before < 4 * MIB


def open_descriptors() -> set[str]:
    return {each.name for each in Path("/proc/self/fd").iterdir()}


def test_a_table_that_cannot_be_had_is_a_memory_error() -> None:
    descriptors = open_descriptors()
    with pytest.raises(MemoryError, match="address space"):
        SlotTable(1 << 48)
    assert open_descriptors() == descriptors
