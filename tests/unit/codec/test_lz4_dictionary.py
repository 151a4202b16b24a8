"""LZ4 with a dictionary, byte by byte against the kernel's rules in Python; liblz4 must read its pages.

That the rules are the kernel's, tests/system/test_kernel_lengths.py shows.
"""

import random
from itertools import islice
from pathlib import Path

import lz4.block
import pytest
from hypothesis import given
from hypothesis import strategies as st
from lz4_blocks import pages_of, sequence

from zramfs.codec.lz4 import Lz4Codec, Lz4Dictionary, Lz4DictionaryCodec

PAGE = 4096
FARTHEST = 65535


def reference(page: bytes, dictionary: bytes, acceleration: int = 1) -> bytes:  # noqa: C901 - one loop, as the original
    """Compress by the rules of the kernel's LZ4_compress_generic() with usingExtDict, after LZ4_loadDict()."""
    dictionary = dictionary[-65536:]
    text, begin = dictionary + page, len(dictionary)
    end, last_start, matches_end = begin + PAGE, begin + PAGE - 12, begin + PAGE - 5
    seen_at: dict[int, int] = {}

    def look_up(at: int) -> int | None:
        """Where the five bytes at `at` may have been before; they are noted as seen."""
        word = int.from_bytes(text[at : at + 8], "little") << 24 & (1 << 64) - 1
        hash_ = (word * 889523592379 & (1 << 64) - 1) >> 52
        before = seen_at.get(hash_)
        seen_at[hash_] = at
        return before

    def is_match(at: int, match: int | None) -> bool:
        return match is not None and at - match <= FARTHEST and text[at : at + 4] == text[match : match + 4]

    for at in range(0, begin - 7, 3):
        look_up(at)
    look_up(begin)
    block, unwritten, at = b"", begin, begin + 1
    while True:
        attempts, step, following = acceleration << 6, 1, at
        while True:
            at, following = following, following + step
            step, attempts = attempts >> 6, attempts + 1
            if following > last_start:
                return block + sequence(text[unwritten:])
            match = look_up(at)
            if is_match(at, match):
                break
        assert match is not None
        floor = 0 if match < begin else begin
        while at > unwritten and match > floor and text[at - 1] == text[match - 1]:
            at, match = at - 1, match - 1
        while True:
            stop = at + 4
            while stop < matches_end and text[stop] == text[stop - at + match]:
                stop += 1
            block += sequence(text[unwritten:at], at - match, stop - at)
            unwritten = at = stop
            if at > last_start:
                return block + sequence(text[unwritten:end])
            look_up(at - 2)
            found = look_up(at)
            if not is_match(at, found):
                break
            assert found is not None
            match = found
        at += 1


def expected(page: bytes, dictionary: bytes, acceleration: int = 1) -> bytes:
    compressed = reference(page, dictionary, acceleration)
    return compressed if len(compressed) < PAGE else page


def codec_with(dictionary: bytes, acceleration: int = 1) -> Lz4DictionaryCodec:
    return Lz4DictionaryCodec(Lz4Dictionary(dictionary), acceleration)


def program_pages(count: int) -> list[bytes]:
    files = sorted((path for path in Path("/usr/bin").iterdir() if path.is_file()), key=lambda path: path.name)
    return list(islice((page for path in files[::17] for page in islice(pages_of(path.read_bytes()), 20)), count))


@pytest.mark.parametrize("size", [7, 8, 100, 10_000, 65535, 65536, 70_000])
def test_programs_compress_by_the_kernels_rules(size: int) -> None:
    pages = program_pages(60)
    dictionary = b"".join(pages[:20])[:size]
    codec = codec_with(dictionary)
    for page in pages[20:]:
        assert codec.compress(page) == expected(page, dictionary)


@pytest.mark.parametrize("acceleration", [2, 8, 65537])
def test_accelerated_pages_compress_by_the_kernels_rules(acceleration: int) -> None:
    pages = program_pages(40)
    dictionary = b"".join(pages[:16])
    codec = codec_with(dictionary, acceleration)
    for page in pages[16:]:
        assert codec.compress(page) == expected(page, dictionary, acceleration)


@given(
    alphabet=st.sampled_from([b"ab", b"abcdefgh", bytes(range(40)), bytes(range(256))]),
    seed=st.integers(0, 1 << 32),
    size=st.one_of(st.integers(1, 300), st.integers(61_000, 70_000)),
    tail=st.binary(max_size=24),
    acceleration=st.sampled_from([1, 1, 1, 3, 17]),
)
def test_any_page_compresses_by_the_kernels_rules(
    alphabet: bytes, seed: int, size: int, tail: bytes, acceleration: int
) -> None:
    chance = random.Random(seed)
    phrases = [bytes(chance.choices(alphabet, k=chance.randrange(1, 400))) for _ in range(8)]
    text = b"".join(chance.choice(phrases) for _ in range(size // 20 + PAGE))
    dictionary = (text * 30)[:size]
    page = text[: PAGE - 2 * len(tail)] + tail + tail
    page = (page * PAGE)[:PAGE]
    codec = codec_with(dictionary, acceleration)
    compressed = codec.compress(page)
    assert compressed == expected(page, dictionary, acceleration)
    assert compressed == page or codec.decompress(compressed) == page


def test_a_match_goes_on_from_the_dictionary_into_the_page() -> None:
    words = random.Random(1).randbytes(100)
    page = (words * 50)[:PAGE]
    compressed = codec_with(words).compress(page)
    assert compressed == expected(page, words)
    assert len(compressed) < 30


def test_liblz4_decompresses_what_the_codec_compresses() -> None:
    pages = program_pages(60)
    dictionary = b"".join(pages[:16])
    codec = codec_with(dictionary)
    for page in pages[16:]:
        compressed = codec.compress(page)
        if compressed != page:
            assert lz4.block.decompress(compressed, uncompressed_size=PAGE, dict=dictionary) == page


def test_a_dictionary_makes_alike_pages_smaller_and_is_needed_to_read_them() -> None:
    page = random.Random(2).randbytes(2000) + bytes(2096)
    compressed = codec_with(page).compress(page)
    assert len(compressed) < len(Lz4Codec().compress(page)) // 10
    with pytest.raises(ValueError, match="does not decompress"):
        Lz4Codec().decompress(compressed)


def test_a_context_carries_nothing_from_page_to_page() -> None:
    pages = program_pages(40)
    dictionary = b"".join(pages[:16])
    codec = codec_with(dictionary)
    assert [codec.compress(page) for page in pages] == [codec_with(dictionary).compress(page) for page in pages]
