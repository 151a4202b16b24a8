"""The codec byte by byte against the kernel's rules in Python, against liblzo2, and, under sanitizers, any bytes.

That the rules are the kernel's, tests/system/test_kernel_comparison.py shows. liblzo2 finds other matches and knows no
runs of zeros, but reads what lzo writes, and writes streams with all kinds of instructions.
"""

import ctypes
import os
import random
import subprocess
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import zramfs.codec
from zramfs.codec.lzo import LzoCodec
from zramfs.codec.run import RunCompressor

PAGE = 4096
SEARCH_END = PAGE - 20
LONGEST_RUN = 2051

LIBLZO2 = ctypes.CDLL("liblzo2.so.2")
WORKING_MEMORY = ctypes.create_string_buffer(1 << 20)

EXPANDING = b"".join(bytes(4) + os.urandom(3) + bytes([last]) for last in range(1, 256)) + os.urandom(PAGE - 8 * 255)
"""Each of its runs of zeros takes as much as the zeros do, and so do the literals behind it, and their count."""

both_kinds = pytest.mark.parametrize("zero_runs", [False, True], ids=["lzo", "lzo-rle"])


def compressed_by_liblzo2(page: bytes, function: str) -> bytes:
    room, length = ctypes.create_string_buffer(5000), ctypes.c_size_t()
    assert getattr(LIBLZO2, function)(page, ctypes.c_size_t(PAGE), room, ctypes.byref(length), WORKING_MEMORY) == 0
    return room.raw[: length.value]


def decompressed_by_liblzo2(stream: bytes) -> bytes | None:
    room, length = ctypes.create_string_buffer(PAGE), ctypes.c_size_t(PAGE)
    failed = LIBLZO2.lzo1x_decompress_safe(stream, ctypes.c_size_t(len(stream)), room, ctypes.byref(length), None)
    return None if failed or length.value != PAGE else room.raw


class Stream:
    """A stream by the description of the format; the first instruction counts four literals or more."""

    def __init__(self, beginning: bytes) -> None:
        self.bytes = bytearray(beginning)
        self.counts_literals_at = -1

    def _instruction(self, code: int, length: int, most: int) -> None:
        """The length in the instruction if it has the bits, else 0 there and the rest behind it."""
        if length <= most:
            self.bytes.append(code | length)
        else:
            zeros, last = divmod(length - most - 1, 255)
            self.bytes += bytes([code]) + bytes(zeros) + bytes([last + 1])

    def literals(self, literals: bytes) -> None:
        if len(literals) > 3:
            self._instruction(0, len(literals) - 3, 15)
        elif literals:
            self.bytes[self.counts_literals_at] |= len(literals)
        self.bytes += literals

    def match(self, distance: int, length: int) -> None:
        if length <= 8 and distance <= 2048:
            self.bytes += bytes([(length - 1) << 5 | (distance - 1) % 8 << 2, (distance - 1) // 8])
        else:
            self._instruction(32, length - 2, 31)
            self.bytes += ((distance - 1) << 2).to_bytes(2, "little")
        self.counts_literals_at = len(self.bytes) - 2

    def zero_run(self, length: int) -> None:
        self.bytes += bytes([0b11000 | (length - 4) % 8, 0xFC, 0xFF, (length - 4) // 8])
        self.counts_literals_at = len(self.bytes) - 3

    def end(self) -> bytes:
        return bytes(self.bytes) + b"\x11\0\0"


def match_end(page: bytes, at: int, match: int) -> int:
    """Where a match ends: eight bytes at a time, until those are compared that reach the end of the search."""
    distance, end = at - match, at + 4
    while True:
        for _ in range(8):
            if page[end] != page[end - distance]:
                return end
            end += 1
        if end >= SEARCH_END:
            return end


def reference(page: bytes, *, zero_runs: bool) -> bytes:
    """Compress by the kernel's rules."""
    stream = Stream(b"\x11\x01" if zero_runs else b"")
    seen_at: dict[int, int] = {}
    unwritten, at = 0, 5
    while at < SEARCH_END:
        four = page[at : at + 4]
        if zero_runs and four == bytes(4):
            stream.literals(page[unwritten:at])
            unwritten = at + 4
            while unwritten < min(SEARCH_END, at + LONGEST_RUN) and page[unwritten] == 0:
                unwritten += 1
            stream.zero_run(unwritten - at)
            at = unwritten
            continue
        hash_ = (int.from_bytes(four, "little") * 0x1824429D & 0xFFFFFFFF) >> 19
        match, seen_at[hash_] = seen_at.get(hash_, 0), at
        if page[match : match + 4] != four:
            at += 1 + (at - unwritten) // 32
            continue
        stream.literals(page[unwritten:at])
        unwritten = match_end(page, at, match)
        stream.match(at - match, unwritten - at)
        at = unwritten
    stream.literals(page[unwritten:])
    return stream.end()


def expected(page: bytes, *, zero_runs: bool) -> bytes:
    stream = reference(page, zero_runs=zero_runs)
    return stream if len(stream) < PAGE else page


def pages_of(data: bytes) -> Iterator[bytes]:
    for offset in range(0, len(data) - PAGE + 1, PAGE):
        yield data[offset : offset + PAGE]


def binaries() -> list[bytes]:
    files = sorted((path for path in Path("/usr/bin").iterdir() if path.is_file()), key=lambda path: path.name)
    return [page for path in files[::25] for page in islice(pages_of(path.read_bytes()), 40)]


def patterns() -> list[bytes]:
    repeated = [(os.urandom(period) * PAGE)[:PAGE] for period in (1, 2, 3, 7, 9, 16, 100, 1000, 2048, 2049, 4000)]
    half_random = [os.urandom(length) + bytes(PAGE - length) for length in range(0, PAGE + 1, 97)]
    lengths = [*range(1, 30), 255, 270, 271, 272, LONGEST_RUN - 1, LONGEST_RUN, LONGEST_RUN + 1, LONGEST_RUN + 5]
    runs = [(os.urandom(50) + bytes(length)) * PAGE for length in lengths]
    near_the_end = [os.urandom(PAGE - 60) + bytes(length) + os.urandom(60 - length) for length in range(1, 60)]
    return repeated + half_random + [run[:PAGE] for run in runs] + near_the_end + [EXPANDING]


def made_page(alphabet: bytes, seed: int, longest_phrase: int, longest_run: int, tail: bytes) -> bytes:
    """Phrases that come again, with runs of zeros between them."""
    chance = random.Random(seed)
    phrases = [bytes(chance.choices(alphabet, k=chance.randrange(1, longest_phrase))) for _ in range(8)]
    page = b""
    while len(page) < PAGE:
        page += chance.choice(phrases) + bytes(chance.randrange(longest_run + 1))
    return page[: PAGE - 2 * len(tail)] + tail + tail


made_pages = st.builds(
    made_page,
    st.sampled_from([b"ab", b"\0a", b"abcdefgh", bytes(range(40)), bytes(range(256))]),
    st.integers(0, 1 << 32),
    st.sampled_from([3, 8, 40, 400, 3000]),
    st.sampled_from([0, 0, 3, 5, 20, 300, 4000]),
    st.binary(max_size=24),
)


@both_kinds
def test_text_compresses_by_the_kernels_rules(*, zero_runs: bool, compressible_pages: Callable[..., bytes]) -> None:
    codec = LzoCodec(zero_runs=zero_runs)
    for page in pages_of(compressible_pages(30)):
        assert codec.compress(page) == expected(page, zero_runs=zero_runs)


@both_kinds
def test_binaries_compress_by_the_kernels_rules(*, zero_runs: bool) -> None:
    codec = LzoCodec(zero_runs=zero_runs)
    pages = binaries()
    assert len(pages) > 100
    for page in pages[::4]:
        assert codec.compress(page) == expected(page, zero_runs=zero_runs)


@both_kinds
def test_patterns_compress_by_the_kernels_rules_and_come_back(*, zero_runs: bool) -> None:
    codec = LzoCodec(zero_runs=zero_runs)
    for page in patterns():
        compressed = codec.compress(page)
        assert compressed == expected(page, zero_runs=zero_runs)
        assert compressed == page or codec.decompress(compressed) == page


@both_kinds
@given(page=made_pages)
def test_any_page_compresses_by_the_kernels_rules_and_comes_back(*, zero_runs: bool, page: bytes) -> None:
    codec = LzoCodec(zero_runs=zero_runs)
    compressed = codec.compress(page)
    assert compressed == expected(page, zero_runs=zero_runs)
    assert compressed == page or codec.decompress(compressed) == page


@both_kinds
def test_a_page_that_does_not_become_shorter_has_a_pages_length(*, zero_runs: bool) -> None:
    data = os.urandom(8 * PAGE) + EXPANDING
    compressor = RunCompressor(LzoCodec(zero_runs=zero_runs), 9)
    compressor.compress(data, 0, 9)
    assert compressor.run.lengths()[:8] == [PAGE] * 8
    assert (compressor.run.lengths()[8] == PAGE) == zero_runs


def test_liblzo2_decompresses_what_lzo_compresses(compressible_pages: Callable[..., bytes]) -> None:
    codec = LzoCodec()
    for page in [*pages_of(compressible_pages(20)), *binaries()[::4], *patterns()]:
        compressed = codec.compress(page)
        assert compressed == page or decompressed_by_liblzo2(compressed) == page


@pytest.mark.parametrize("function", ["lzo1x_1_compress", "lzo1x_1_15_compress", "lzo1x_999_compress"])
@both_kinds
def test_the_codec_decompresses_what_liblzo2_compresses(
    *, zero_runs: bool, function: str, compressible_pages: Callable[..., bytes]
) -> None:
    codec = LzoCodec(zero_runs=zero_runs)
    for page in [*pages_of(compressible_pages(5)), *binaries()[::20], *patterns()]:
        assert codec.decompress(compressed_by_liblzo2(page, function)) == page


def test_either_kind_decompresses_the_other(compressible_pages: Callable[..., bytes]) -> None:
    page = compressible_pages(1)[:2000] + bytes(PAGE - 2000)
    lzo, lzo_rle = LzoCodec(), LzoCodec(zero_runs=True)
    assert len(lzo_rle.compress(page)) < len(lzo.compress(page))
    assert lzo.decompress(lzo_rle.compress(page)) == lzo_rle.decompress(lzo.compress(page)) == page


@both_kinds
def test_a_context_carries_nothing_from_page_to_page(*, zero_runs: bool) -> None:
    codec = LzoCodec(zero_runs=zero_runs)
    pages = binaries()[:50]
    assert [codec.compress(page) for page in pages] == [LzoCodec(zero_runs=zero_runs).compress(page) for page in pages]


@given(page=made_pages, cut=st.integers(0, PAGE), flips=st.lists(st.tuples(st.integers(0, PAGE), st.integers(1, 255))))
def test_what_a_damaged_stream_gives_is_what_liblzo2_reads(page: bytes, cut: int, flips: list[tuple[int, int]]) -> None:
    stream = bytearray(reference(page, zero_runs=False))
    stream = stream[: len(stream) if cut % 2 else cut]
    for position, bits in flips:
        if stream:
            stream[position % len(stream)] ^= bits
    try:
        decompressed = LzoCodec().decompress(bytes(stream))
    except ValueError:
        return
    if stream[0] != 17:  # liblzo2 knows no versions
        assert decompressed == decompressed_by_liblzo2(bytes(stream))


def test_a_run_may_have_any_length_that_the_page_has_room_for() -> None:
    page = LzoCodec().decompress(b"\x11\x01\x15abcd" + b"\x18\xfc\xff\xff" + b"\x1c\xfc\xff\xff" + b"\x11\0\0")
    assert page == b"abcd" + bytes(PAGE - 4)


@pytest.mark.parametrize(
    "junk",
    [
        b"",
        b"\0",
        bytes(100),
        bytes(100_000),
        b"\xff" * 4096,
        b"\x11\0\0",
        b"\x11\x02\x15abcd" + b"\x18\xfc\xff\xff" + b"\x1c\xfc\xff\xff" + b"\x11\0\0",
        b"\x15abcd" + b"\x18\xfc\xff\xff" + b"\x1c\xfc\xff\xff" + b"\x11\0\0",
        b"\x11\x01\x15abcd" + b"\x18\xfc\xff\xff" + b"\x1d\xfc\xff\xff" + b"\x11\0\0",
        b"\x11\x01\x15abcd" + b"\x18\xfc\xff\xff" + b"\x1b\xfc\xff\xff" + b"\x11\0\0",
        b"\x11\x01\x15abcd" + b"\x18\xfc\xff\xff" + b"\x1c\xfc\xff",
        b"\x11\x01\x15abcd" + b"\x18\xfc\xff\xff" + b"\x1c\xfc\xff\xff" + b"\x11\0",
        b"\x11\x01\x15abcd" + b"\x18\xfc\xff\xff" + b"\x1c\xfc\xff\xff" + b"\x11\0\0\0",
        b"\x15abcd" + b"\x20" + bytes(15) + b"\xff\x14\0" + b"\x11\0\0",
        b"\x15abc",
    ],
    ids=[
        "nothing",
        "an instruction without its length",
        "a length without end",
        "a length of more than a page",
        "a match before the page",
        "no page",
        "an unknown version",
        "a run without a version",
        "a run beyond the page",
        "a page that lacks a byte",
        "a run without its end",
        "no end",
        "something behind the end",
        "a match from before the page",
        "literals that are not there",
    ],
)
def test_what_gives_no_page_is_a_value_error(junk: bytes) -> None:
    with pytest.raises(ValueError, match="does not decompress"):
        LzoCodec(zero_runs=True).decompress(junk)


@pytest.mark.parametrize("length", [0, PAGE - 1, PAGE + 1])
def test_compress_takes_whole_pages_only(length: int) -> None:
    with pytest.raises(ValueError, match="a page has 4096 bytes"):
        LzoCodec().compress(bytes(length))


def test_fuzzing_under_sanitizers_finds_nothing(tmp_path: Path) -> None:
    sources = Path(zramfs.codec.__file__).parent
    program = tmp_path / "lzo_fuzz"
    files = [Path(__file__).with_name("lzo_fuzz.c"), *sorted(sources.glob("lzo_*_page.c"))]
    flags = ["-O1", "-g", "-Wall", "-Wextra", "-Werror", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
    environment = {name: value for name, value in os.environ.items() if name not in {"LD_PRELOAD", "ASAN_OPTIONS"}}
    built = subprocess.run(
        ["gcc", *flags, f"-I{sources}", "-o", program, *files],
        env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if "cannot find" in built.stderr:
        pytest.skip("gcc has no sanitizers here")
    assert built.returncode == 0, built.stderr
    rounds, seed = os.environ.get("ZRAMFS_FUZZ_ROUNDS", "2000"), os.environ.get("ZRAMFS_FUZZ_SEED", "1")
    done = subprocess.run([program, rounds, seed], env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    streams, pages = (int(word) for word in done.stdout.split() if word.isdigit())
    assert streams == 16 * int(rounds)
    assert pages > streams // 10
