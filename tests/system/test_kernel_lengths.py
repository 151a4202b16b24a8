"""Each page, of many kinds, has the same length in the kernel's zram and by our codecs.

ZRAMFS_TEST_PAGES says how many pages of each kind (400 unless told otherwise), ZRAMFS_TEST_SEED which ones.
"""

import os
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from sample_pages import KINDS, pages_of, phrases_and_runs, programs, texts
from zram_disks import PAGE, KernelZram, hot_added

from zramfs.backends.registry import load_backend
from zramfs.codec.run import RunCompressor
from zramfs.contracts import AlgorithmParams

COUNT = int(os.environ.get("ZRAMFS_TEST_PAGES", "400"))
SEED = int(os.environ.get("ZRAMFS_TEST_SEED", "1"))
HUGE = 3625  # from this length on zram stores the page as it is


class Lengths:
    """A page's length by either; 0 if it is same-filled, a page's if it is stored as it is."""

    def __init__(self, kernel: KernelZram, requested: AlgorithmParams) -> None:
        self._kernel = kernel
        backend = load_backend(kernel.algorithm)
        params = backend.setup_params(requested, accelerator=None)
        self._compressor = RunCompressor(backend.create_context(params), 1)

    def in_kernel(self, page: bytes) -> int:
        """The device has one page only, which is overwritten: all its compressed data is the page's."""
        self._kernel.write(0, page)
        return self._kernel.numbers("mm_stat")[1]

    def by_our_codec(self, page: bytes) -> int:
        self._compressor.compress(page, 0, 1)
        [length] = self._compressor.run.lengths()
        return length if length < HUGE else PAGE


DICTIONARIES = {
    "programs": lambda: b"".join(programs(16, seed=1234)),
    "text": lambda: b"".join(texts(3, seed=1234))[:10_000],
    "phrases": lambda: phrases_and_runs(1234)[:500],
    "eight bytes": lambda: b"zspages ",
}
"""The kernel fails every write with a dictionary of less than 8 bytes, or of more than 64 KiB."""


@pytest.fixture(
    scope="module",
    params=["lz4", "lzo", "lzo-rle", "lz4 level=7", *(f"lz4 with {name}" for name in DICTIONARIES)],
)
def lengths(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lengths]:
    algorithm, _, rest = request.param.partition(" ")
    if not rest.startswith("with "):
        with hot_added(PAGE, algorithm, parameters=rest) as kernel:
            yield Lengths(kernel, AlgorithmParams(level=int(rest.removeprefix("level=")) if rest else None))
        return
    dictionary = DICTIONARIES[rest.removeprefix("with ")]()
    path = tmp_path_factory.mktemp("dictionary") / "of_pages"
    path.write_bytes(dictionary)
    with hot_added(PAGE, algorithm, parameters=f"dict={path}") as kernel:
        yield Lengths(kernel, AlgorithmParams(dictionary=dictionary))


@pytest.mark.timeout(120 + COUNT / 20)
@pytest.mark.parametrize("kind", KINDS)
def test_lengths_of_a_kind_are_the_kernels(lengths: Lengths, kind: str) -> None:
    compared = different = 0
    for page in pages_of(kind, COUNT, SEED):
        compared += 1
        different += lengths.in_kernel(page) != lengths.by_our_codec(page)
    print(f"{compared - different} of {compared} {kind} pages have the kernel's length")
    assert different == 0
    assert compared > COUNT // 2


def the_end_of_a_run(length: int, tail: int) -> bytes:
    """Zeros that end so many bytes before the page does, behind text that no zeros are in."""
    return bytes(range(1, 201)) + b"a" * (PAGE - 200 - length - tail) + bytes(length) + bytes(range(1, tail + 1))


ends_of_runs = st.builds(the_end_of_a_run, st.integers(1, 40), st.integers(0, 40))
runs = st.builds(
    lambda before, length: (bytes(range(256)) * 2)[:before] + bytes(length) + b"end" * PAGE,
    st.integers(1, 300),
    st.one_of(st.integers(1, 80), st.integers(2040, 2070)),
)
matches = st.builds(
    lambda distance, length, seed: (phrases_and_runs(seed)[:distance] * 2)[: distance + length] + bytes([seed % 256]),
    st.one_of(st.integers(1, 300), st.integers(2040, 2060)),
    st.one_of(st.integers(1, 60), st.integers(250, 300)),
    st.integers(0, 1 << 32),
)
pages = st.one_of(
    ends_of_runs,
    st.builds(phrases_and_runs, st.integers(0, 1 << 32)),
    st.lists(st.one_of(runs, matches, st.binary(max_size=300)), min_size=1, max_size=6).map(b"".join),
).map(lambda data: (data * (PAGE // len(data) + 1) if data else bytes(PAGE))[:PAGE])


@example(the_end_of_a_run(4, 17))
@example(the_end_of_a_run(20, 0))
@settings(max_examples=COUNT // 5, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(page=pages)
def test_length_of_any_page_is_the_kernels(lengths: Lengths, page: bytes) -> None:
    assert lengths.by_our_codec(page) == lengths.in_kernel(page)
