import os
import random
import time
import zlib
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zramfs.codec.lz4 import Lz4Codec
from zramfs.codec.run import CompressedRun, FunctionCodec, RunCompressor

PAGE = 4096
NEVER_NS = (1 << 63) - 1
NOISE = random.Random(2026).randbytes(1 * PAGE)  # the same each time: in other noise LZ4 finds a match now and then
SAME_FILLED = 0
FAILED = -1


def lengths(source: bytes, pages: int, offset: int = 0) -> list[int]:
    compressor = RunCompressor(Lz4Codec(), pages)
    compressor.compress(source, offset, pages)
    return compressor.run.lengths()


def fail(_data: bytes) -> bytes:
    raise ArithmeticError


@pytest.mark.parametrize("word", [bytes(8), b"\xff" * 8, b"ABCDEFGH", b"\0\0\0\0\0\0\0\1"])
def test_a_page_of_equal_words_is_same_filled(word: bytes) -> None:
    assert lengths(word * 512, 1) == [SAME_FILLED]


@pytest.mark.parametrize("position", [0, 7, 8, 2048, 2055, 4088, 4095])
@pytest.mark.parametrize("word", [bytes(8), b"ABCDEFGH"])
def test_one_other_byte_makes_a_page_not_same_filled(position: int, word: bytes) -> None:
    page = bytearray(word * 512)
    page[position] ^= 1
    assert lengths(bytes(page), 1)[0] > 0


@pytest.mark.parametrize("period", [3, 7, 16, 24])
def test_a_page_of_another_period_is_not_same_filled(period: int) -> None:
    page = (bytes(range(1, period + 1)) * PAGE)[:PAGE]
    assert lengths(page, 1)[0] > 0


@given(st.integers(0, 511), st.binary(min_size=8, max_size=8), st.binary(min_size=8, max_size=8))
def test_same_filled_means_that_all_words_are_equal(position: int, word: bytes, other: bytes) -> None:
    page = word * position + other + word * (511 - position)
    assert (lengths(page, 1) == [SAME_FILLED]) == (page == page[:8] * 512)


@pytest.mark.parametrize("offset", range(1, 17))
def test_a_run_may_begin_at_any_byte(offset: int, compressible_pages: Callable[..., bytes]) -> None:
    text = compressible_pages(1)
    source = bytes(offset) + b"ABCDEFGH" * 512 + text
    assert lengths(source, 2, offset) == [SAME_FILLED, len(Lz4Codec().compress(text))]


def test_a_run_holds_each_page_in_order(compressible_pages: Callable[..., bytes]) -> None:
    text = compressible_pages(1)
    compressor = RunCompressor(Lz4Codec(), 8)
    compressor.compress(text + bytes(PAGE) + NOISE, 0, 3)
    same, compressed = SAME_FILLED, len(Lz4Codec().compress(text))
    assert compressor.run.lengths() == [compressed, same, 4114]
    assert len(compressor.run) == 3


def test_a_run_that_is_released_is_empty() -> None:
    compressor = RunCompressor(Lz4Codec(), 8)
    compressor.compress(bytes(8 * PAGE), 0, 8)
    compressor.run.release()
    assert len(compressor.run) == 0
    assert compressor.run.lengths() == []


@pytest.mark.parametrize(("offset", "pages"), [(0, 0), (0, -1), (0, 3), (1, 2), (PAGE, 2), (0, 9), (1 << 40, 1)])
def test_a_run_beyond_the_source_or_its_capacity_is_refused(offset: int, pages: int) -> None:
    compressor = RunCompressor(Lz4Codec(), 8)
    with pytest.raises(ValueError, match="no run of"):
        compressor.compress(bytes(2 * PAGE), offset, pages)


def test_a_run_has_the_capacity_it_was_made_with() -> None:
    assert CompressedRun(17).capacity == 17


def test_a_function_codec_compresses_with_its_functions() -> None:
    codec = FunctionCodec(zlib.compress, zlib.decompress)
    page = (b"deflate me " * 400)[:PAGE]
    assert codec.compress(page) == zlib.compress(page)
    assert codec.decompress(zlib.compress(page)) == page


def test_a_function_codec_that_gains_nothing_gives_the_page() -> None:
    page = random.Random(0).randbytes(PAGE)
    assert FunctionCodec(lambda data: data * 2, bytes).compress(page) == page


@pytest.mark.parametrize(
    "function",
    [
        fail,
        lambda _data: None,
        lambda _data: bytearray(9),
        lambda _data: "text",
        lambda _data: b"",
        lambda: b"x",
    ],
    ids=["raises", "None", "bytearray", "str", "empty", "signature"],
)
def test_a_function_codec_that_misbehaves_fails_the_page(function: Callable[[bytes], bytes]) -> None:
    compressor = RunCompressor(FunctionCodec(function, bytes), 1)
    compressor.compress(os.urandom(PAGE), 0, 1)
    assert compressor.run.lengths() == [FAILED]


@pytest.mark.parametrize(
    "function", [fail, lambda _data: None, lambda _data: b"", lambda data: data[:-1], lambda _data: "text"]
)
def test_a_function_codec_that_gives_no_page_is_a_value_error(function: Callable[[bytes], bytes]) -> None:
    with pytest.raises(ValueError, match="does not decompress"):
        FunctionCodec(bytes, function).decompress(bytes(PAGE))


def test_a_function_codec_swallows_no_page_when_it_exits() -> None:
    def leave(_data: bytes) -> bytes:
        raise KeyboardInterrupt

    compressor = RunCompressor(FunctionCodec(leave, leave), 1)
    compressor.compress(os.urandom(PAGE), 0, 1)
    assert compressor.run.lengths() == [FAILED]


def test_a_failed_page_leaves_the_others_of_its_run_alone(compressible_pages: Callable[..., bytes]) -> None:
    text = compressible_pages(2)
    bad = text[:PAGE]
    codec = FunctionCodec(lambda page: fail(page) if page == bad else b"short", bytes)
    compressor = RunCompressor(codec, 3)
    compressor.compress(bytes(PAGE) + text, 0, 3)
    assert compressor.run.lengths() == [SAME_FILLED, FAILED, 5]


def test_compressing_a_same_filled_page_needs_no_codec() -> None:
    compressor = RunCompressor(FunctionCodec(fail, fail), 2)
    compressor.compress(b"12345678" * 1024, 0, 2)
    assert compressor.run.lengths() == [SAME_FILLED, SAME_FILLED]


def slowly(_page: bytes) -> bytes:
    time.sleep(0.001)
    return b"short"


@pytest.mark.parametrize(("enough_ns", "taken"), [(1, 2), (1_000_000, 2), (NEVER_NS, 7)])
def test_a_run_that_takes_long_enough_ends_early(enough_ns: int, taken: int) -> None:
    compressor = RunCompressor(FunctionCodec(slowly, bytes), 8)
    assert compressor.compress(os.urandom(8 * PAGE), PAGE, 7, enough_ns) == taken
    assert compressor.run.lengths() == [5] * taken
    assert compressor.page_ns >= 1_000_000


def test_a_run_of_one_page_is_done_whatever_it_takes() -> None:
    compressor = RunCompressor(FunctionCodec(slowly, bytes), 8)
    assert compressor.compress(os.urandom(PAGE), 0, 1, 1) == 1
    assert compressor.page_ns == 0


def test_what_a_page_takes_is_not_forgotten_after_an_easy_run() -> None:
    compressor = RunCompressor(FunctionCodec(slowly, bytes), 2)
    compressor.compress(os.urandom(2 * PAGE), 0, 2)
    before_ns = compressor.page_ns
    compressor.compress(bytes(2 * PAGE), 0, 2)
    assert before_ns * 7 // 8 <= compressor.page_ns < before_ns
