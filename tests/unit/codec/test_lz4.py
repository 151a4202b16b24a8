"""The codec against the library that it is linked to, called another way, and against python-lz4's decompressor.

python-lz4's compressor is no reference: its wheels bring a liblz4 of their own, whose pages are some bytes longer.
"""

import ctypes
import os
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path

import lz4.block
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zramfs.codec.lz4 import Lz4Codec
from zramfs.codec.run import RunCompressor

PAGE = 4096


LIBLZ4 = ctypes.CDLL("liblz4.so.1")


def reference(page: bytes, acceleration: int = 1) -> bytes:
    room = ctypes.create_string_buffer(5000)
    length: int = LIBLZ4.LZ4_compress_fast(page, room, len(page), len(room), acceleration)
    return room.raw[:length]


def expected(page: bytes, acceleration: int = 1) -> bytes:
    compressed = reference(page, acceleration)
    return compressed if len(compressed) < PAGE else page


def pages_of(data: bytes) -> Iterator[bytes]:
    for offset in range(0, len(data) - PAGE + 1, PAGE):
        yield data[offset : offset + PAGE]


def binaries() -> list[bytes]:
    files = sorted((path for path in Path("/usr/bin").iterdir() if path.is_file()), key=lambda path: path.name)
    return [page for path in files[::25] for page in islice(pages_of(path.read_bytes()), 40)]


def patterns() -> list[bytes]:
    repeated = [(os.urandom(period) * PAGE)[:PAGE] for period in (1, 2, 3, 7, 9, 16, 100, 1000, 2048, 4000)]
    half_random = [os.urandom(length) + bytes(PAGE - length) for length in range(0, PAGE + 1, 97)]
    return repeated + half_random


def test_text_compresses_as_by_the_library(compressible_pages: Callable[..., bytes]) -> None:
    codec = Lz4Codec()
    for page in pages_of(compressible_pages(100)):
        assert codec.compress(page) == expected(page)


def test_binaries_compress_as_by_the_library() -> None:
    codec = Lz4Codec()
    pages = binaries()
    assert len(pages) > 100
    for page in pages:
        assert codec.compress(page) == expected(page)


def test_patterns_compress_as_by_the_library() -> None:
    codec = Lz4Codec()
    for page in patterns():
        assert codec.compress(page) == expected(page)


@pytest.mark.parametrize("acceleration", [2, 8, 100, 65537])
def test_accelerated_pages_compress_as_by_the_library(acceleration: int) -> None:
    codec = Lz4Codec(acceleration)
    for page in binaries()[::5]:
        assert codec.compress(page) == expected(page, acceleration)


def test_lengths_of_random_pages_are_those_of_the_library() -> None:
    data = os.urandom(64 * PAGE)
    compressor = RunCompressor(Lz4Codec(), 64)
    compressor.compress(data, 0, 64)
    assert compressor.run.lengths() == [len(reference(page)) for page in pages_of(data)]


def test_python_lz4_decompresses_what_the_codec_compresses(compressible_pages: Callable[..., bytes]) -> None:
    codec = Lz4Codec()
    for page in [*pages_of(compressible_pages(20)), *patterns()[:10]]:
        assert lz4.block.decompress(codec.compress(page), uncompressed_size=PAGE) == page


def test_the_codec_decompresses_what_python_lz4_compresses(compressible_pages: Callable[..., bytes]) -> None:
    codec = Lz4Codec()
    for page in [*pages_of(compressible_pages(20)), *patterns()]:
        for mode in ("fast", "high_compression"):
            assert codec.decompress(lz4.block.compress(page, mode=mode, store_size=False)) == page


def test_a_context_carries_nothing_from_page_to_page() -> None:
    codec = Lz4Codec()
    pages = binaries()[:50]
    assert [codec.compress(page) for page in pages] == [Lz4Codec().compress(page) for page in pages]


@given(st.binary(min_size=1, max_size=200), st.integers(1, 100))
def test_a_page_comes_back(seed: bytes, acceleration: int) -> None:
    page = (seed * PAGE)[:PAGE]
    codec = Lz4Codec(acceleration)
    assert codec.decompress(codec.compress(page)) == page


@given(st.binary(max_size=5000))
def test_decompressing_junk_is_an_error_or_a_page(junk: bytes) -> None:
    try:
        page = Lz4Codec().decompress(junk)
    except ValueError:
        return
    assert page == lz4.block.decompress(junk, uncompressed_size=PAGE)


@given(cut=st.integers(0, PAGE), flips=st.lists(st.tuples(st.integers(0, PAGE), st.integers(1, 255)), max_size=4))
def test_decompressing_a_damaged_page_is_an_error_or_a_page(cut: int, flips: list[tuple[int, int]]) -> None:
    damaged = bytearray(reference((b"the quick brown zspage %d " * 300)[:PAGE])[:cut])
    for position, bits in flips:
        if damaged:
            damaged[position % len(damaged)] ^= bits
    try:
        page = Lz4Codec().decompress(bytes(damaged))
    except ValueError:
        return
    assert len(page) == PAGE


@pytest.mark.parametrize("junk", [b"", b"\0", bytes(100), b"\xff" * 4096])
def test_what_gives_no_page_is_a_value_error(junk: bytes) -> None:
    with pytest.raises(ValueError, match="does not decompress"):
        Lz4Codec().decompress(junk)


@pytest.mark.parametrize("length", [0, 1, PAGE - 1, PAGE + 1, 2 * PAGE])
def test_data_of_more_or_less_than_a_page_does_not_decompress(length: int) -> None:
    data = lz4.block.compress(bytes(length), store_size=False)
    with pytest.raises(ValueError, match="does not decompress"):
        Lz4Codec().decompress(data)


@pytest.mark.parametrize("length", [0, PAGE - 1, PAGE + 1])
def test_compress_takes_whole_pages_only(length: int) -> None:
    with pytest.raises(ValueError, match="a page has 4096 bytes"):
        Lz4Codec().compress(bytes(length))
