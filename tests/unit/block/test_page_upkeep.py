"""What upkeep does to a page: look at it, replace it by a block or a smaller object, and leave what others touched."""

import os
import zlib
from collections.abc import Callable, Iterator

import pytest
from disks import lz4_disk
from reads import read_disk, write_disk
from secondaries import letters

from zramfs.block.blocks import BlockMap
from zramfs.block.candidates import Candidates
from zramfs.block.disk import Disk
from zramfs.block.page_upkeep import (
    WrittenBack,
    commit_written_back,
    decompress_block,
    load_candidate,
    load_object,
    object_bytes,
    priority,
    recompress_page,
    written_back,
)
from zramfs.block.slots import Codecs
from zramfs.codec.lz4 import Lz4Codec
from zramfs.codec.run import FunctionCodec
from zramfs.errors import CorruptPage, ZramError
from zramfs.zcomp.zcomp import PercpuStream

PAGE = 4096
BLOCK = 7


@pytest.fixture
def disk(compressible_pages: Callable[..., bytes]) -> Iterator[Disk]:
    """Open a disk of two pages, both candidates: one that LZ4 shrinks, and one that only zlib does."""
    with lz4_disk(2, blocks=BlockMap(16)) as opened:
        write_disk(opened, 0, compressible_pages(1) + letters(1))
        Candidates(opened.table).add_some(0, 2)
        yield opened


@pytest.fixture
def codecs() -> Codecs:
    return Codecs(Lz4Codec(), {1: FunctionCodec(zlib.compress, zlib.decompress)})


@pytest.fixture
def room() -> bytearray:
    return bytearray(os.urandom(PAGE))


def zlib_stream() -> PercpuStream:
    return PercpuStream(FunctionCodec(zlib.compress, zlib.decompress))


def test_a_candidate_is_loaded(disk: Disk, codecs: Codecs, room: bytearray) -> None:
    assert load_candidate(disk.table, 1, room, codecs)
    assert room == letters(1)


def test_a_page_that_was_accessed_is_not_loaded(disk: Disk, codecs: Codecs, room: bytearray) -> None:
    before = bytes(room)
    read_disk(disk, 0, PAGE)
    assert not load_candidate(disk.table, 0, room, codecs)
    assert not load_object(disk.table, 0, room)
    assert room == before


def test_a_candidate_that_does_not_decompress_is_an_error(disk: Disk, room: bytearray) -> None:
    with pytest.raises(CorruptPage, match="page 0"):
        load_candidate(disk.table, 0, room, Codecs(FunctionCodec(zlib.compress, zlib.decompress)))


def test_an_object_is_loaded_as_it_is_with_zeros_behind(
    disk: Disk, room: bytearray, compressible_pages: Callable[..., bytes]
) -> None:
    assert load_object(disk.table, 0, room)
    length = object_bytes(disk.table, 0)
    assert Lz4Codec().decompress(bytes(room[:length])) == compressible_pages(1)
    assert not any(room[length:])


@pytest.mark.parametrize("remembers", [True, False])
def test_a_block_stands_for_the_object_of_a_candidate(disk: Disk, remembers: bool) -> None:  # noqa: FBT001
    length = object_bytes(disk.table, 0)
    assert commit_written_back(disk.table, 0, BLOCK, remembers=remembers)
    (found,) = written_back(disk.table, 0, 2)
    assert (found.page, found.block) == (0, BLOCK)
    assert not remembers or (found.length, found.priority) == (length, 0)
    assert disk.table.object_count == 1


def test_no_block_stands_for_what_somebody_has_touched(disk: Disk) -> None:
    write_disk(disk, 0, b"new!" * 1024)
    assert not commit_written_back(disk.table, 0, BLOCK, remembers=True)
    assert written_back(disk.table, 0, 2) == []
    assert read_disk(disk, 0, PAGE) == b"new!" * 1024


def test_an_object_in_a_block_decompresses_by_its_length_and_priority(codecs: Codecs) -> None:
    data = zlib.compress(letters(1))
    contents = data + bytes(PAGE - len(data))
    assert decompress_block(contents, WrittenBack(0, BLOCK, len(data), 1), codecs) == letters(1)
    assert decompress_block(contents, WrittenBack(0, BLOCK, PAGE, 0), codecs) == contents


def test_an_object_in_a_block_that_does_not_decompress_names_page_and_block(codecs: Codecs) -> None:
    with pytest.raises(CorruptPage, match=r"page 3 .*block 7"):
        decompress_block(b"\xff" * PAGE, WrittenBack(3, BLOCK, 100, 1), codecs)


def test_a_smaller_object_is_kept_under_its_priority(disk: Disk) -> None:
    assert recompress_page(disk.table, 1, zlib_stream(), letters(1), 1, 0)
    assert (object_bytes(disk.table, 1), priority(disk.table, 1)) == (len(zlib.compress(letters(1))), 1)
    assert disk.table.object_count == 2


def test_an_object_that_is_no_smaller_or_above_the_threshold_is_not_kept(disk: Disk) -> None:
    before = object_bytes(disk.table, 1)
    assert not recompress_page(disk.table, 1, zlib_stream(), os.urandom(PAGE), 1, 0)
    assert not recompress_page(disk.table, 1, zlib_stream(), letters(1), 1, 1000)
    assert (object_bytes(disk.table, 1), priority(disk.table, 1)) == (before, 0)


def test_what_somebody_has_touched_is_not_recompressed(disk: Disk) -> None:
    write_disk(disk, PAGE, letters(1, seed=1))
    assert not recompress_page(disk.table, 1, zlib_stream(), letters(1), 1, 0)
    assert read_disk(disk, PAGE, PAGE) == letters(1, seed=1)


def test_a_codec_that_fails_leaves_the_page(disk: Disk) -> None:
    def fail(page: bytes) -> bytes:
        raise ValueError(len(page))

    with pytest.raises(ZramError, match="page 1 could not be compressed"):
        recompress_page(disk.table, 1, PercpuStream(FunctionCodec(fail, zlib.decompress)), letters(1), 1, 0)
    assert read_disk(disk, PAGE, PAGE) == letters(1)
