"""The codec byte by byte against the kernel's rules in Python, and against two other LZ4s, which must read its pages.

That the rules are the kernel's, tests/system/test_kernel_comparison.py shows. liblz4 looks for a match one byte nearer
to the page's end, so it is near, but not equal; python-lz4 brings a liblz4 of its own, which is not even near.
"""

import ctypes
import os
import random
from collections.abc import Callable
from itertools import islice
from pathlib import Path

import lz4.block
import pytest
from hypothesis import given
from hypothesis import strategies as st
from lz4_blocks import pages_of, sequence

from zramfs.codec.lz4 import Lz4Codec
from zramfs.codec.run import RunCompressor

PAGE = 4096


LIBLZ4 = ctypes.CDLL("liblz4.so.1")


def length_by_liblz4(page: bytes) -> int:
    room = ctypes.create_string_buffer(5000)
    length: int = LIBLZ4.LZ4_compress_fast(page, room, len(page), len(room), 1)
    return length


def reference(page: bytes, acceleration: int = 1) -> bytes:  # noqa: C901 - one loop, as the original
    """Compress by the rules of the kernel's LZ4_compress_generic(), for inputs below 64 KiB."""
    seen_at: dict[int, int] = {}
    last_start, matches_end = PAGE - 12, PAGE - 5

    def look_up(at: int) -> int:
        """Where the four bytes at `at` may have been before, 0 if unknown; they are noted as seen."""
        word = int.from_bytes(page[at : at + 4], "little")
        hash_ = (word * 2654435761 & 0xFFFFFFFF) >> 19
        before = seen_at.get(hash_, 0)
        seen_at[hash_] = at
        return before

    def is_match(at: int, match: int) -> bool:
        return page[at : at + 4] == page[match : match + 4]

    look_up(0)
    block, unwritten, at = b"", 0, 1
    while True:
        attempts, step, following = acceleration << 6, 1, at
        while True:
            at, following = following, following + step
            step, attempts = attempts >> 6, attempts + 1
            if following > last_start:
                return block + sequence(page[unwritten:])
            match = look_up(at)
            if is_match(at, match):
                break
        while at > unwritten and match > 0 and page[at - 1] == page[match - 1]:
            at, match = at - 1, match - 1
        while True:
            end = at + 4
            while end < matches_end and page[end] == page[end - at + match]:
                end += 1
            block += sequence(page[unwritten:at], at - match, end - at)
            unwritten = at = end
            if at > last_start:
                return block + sequence(page[unwritten:])
            look_up(at - 2)
            match = look_up(at)
            if not is_match(at, match):
                break
        at += 1


def expected(page: bytes, acceleration: int = 1) -> bytes:
    compressed = reference(page, acceleration)
    return compressed if len(compressed) < PAGE else page


def binaries() -> list[bytes]:
    files = sorted((path for path in Path("/usr/bin").iterdir() if path.is_file()), key=lambda path: path.name)
    return [page for path in files[::25] for page in islice(pages_of(path.read_bytes()), 40)]


def patterns() -> list[bytes]:
    repeated = [(os.urandom(period) * PAGE)[:PAGE] for period in (1, 2, 3, 7, 9, 16, 100, 1000, 2048, 4000)]
    half_random = [os.urandom(length) + bytes(PAGE - length) for length in range(0, PAGE + 1, 97)]
    return repeated + half_random


def test_text_compresses_by_the_kernels_rules(compressible_pages: Callable[..., bytes]) -> None:
    codec = Lz4Codec()
    for page in pages_of(compressible_pages(30)):
        assert codec.compress(page) == expected(page)


def test_binaries_compress_by_the_kernels_rules() -> None:
    codec = Lz4Codec()
    pages = binaries()
    assert len(pages) > 100
    for page in pages[::4]:
        assert codec.compress(page) == expected(page)


def test_patterns_compress_by_the_kernels_rules() -> None:
    codec = Lz4Codec()
    for page in patterns():
        assert codec.compress(page) == expected(page)


@pytest.mark.parametrize("acceleration", [2, 8, 100, 65537])
def test_accelerated_pages_compress_by_the_kernels_rules(acceleration: int) -> None:
    codec = Lz4Codec(acceleration)
    for page in binaries()[::20]:
        assert codec.compress(page) == expected(page, acceleration)


def test_lengths_of_random_pages_are_the_kernels() -> None:
    data = os.urandom(64 * PAGE)
    compressor = RunCompressor(Lz4Codec(), 64)
    compressor.compress(data, 0, 64)
    assert compressor.run.lengths() == [len(reference(page)) for page in pages_of(data)]


@given(
    alphabet=st.sampled_from([b"ab", b"abcdefgh", bytes(range(40)), bytes(range(256))]),
    seed=st.integers(0, 1 << 32),
    tail=st.binary(max_size=24),
    acceleration=st.sampled_from([1, 1, 1, 3, 17]),
)
def test_any_page_compresses_by_the_kernels_rules(alphabet: bytes, seed: int, tail: bytes, acceleration: int) -> None:
    chance = random.Random(seed)
    phrases = [bytes(chance.choices(alphabet, k=chance.randrange(1, 400))) for _ in range(8)]
    page = b"".join(chance.choice(phrases) for _ in range(PAGE))[: PAGE - 2 * len(tail)] + tail + tail
    codec = Lz4Codec(acceleration)
    compressed = codec.compress(page)
    assert compressed == expected(page, acceleration)
    assert compressed == page or codec.decompress(compressed) == page


def test_lengths_are_near_those_of_liblz4() -> None:
    pages = binaries()
    compressor = RunCompressor(Lz4Codec(), 1)
    for page in pages:
        compressor.compress(page, 0, 1)
        assert compressor.run.lengths()[0] == 0 or compressor.run.lengths()[0] - length_by_liblz4(page) in range(9)


@pytest.mark.parametrize("acceleration", [0, -1, 1 << 20])
def test_an_acceleration_out_of_range_is_the_nearest_one(acceleration: int) -> None:
    page = (b"the quick brown zspage %d " * 300)[:PAGE]
    nearest = Lz4Codec(min(max(acceleration, 1), 65537))
    assert Lz4Codec(acceleration).compress(page) == nearest.compress(page)


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
