"""The parameters of each algorithm: defaults as the kernel's, what is refused, and that they have an effect."""

import os
import zlib
from collections.abc import Callable

import pytest

from zramfs.backends.deflate import DEFLATE
from zramfs.backends.lz4 import LZ4
from zramfs.backends.lz4hc import LZ4HC
from zramfs.backends.lzo import LZO
from zramfs.backends.lzo_rle import LZO_RLE
from zramfs.backends.zstd import ZSTD
from zramfs.contracts import AlgorithmParams, Backend
from zramfs.errors import InvalidValue

PAGE = 4096


def compressed_bytes(backend: Backend, requested: AlgorithmParams, data: bytes) -> int:
    params = backend.setup_params(requested, accelerator=None)
    context = backend.create_context(params)
    blocks = [context.compress(data[at : at + PAGE]) for at in range(0, len(data), PAGE)]
    reader = backend.create_context(params)
    assert b"".join(block if len(block) == PAGE else reader.decompress(block) for block in blocks) == data
    return sum(map(len, blocks))


@pytest.mark.parametrize(
    ("backend", "defaults"),
    [
        (LZ4, AlgorithmParams(level=1)),
        (LZ4HC, AlgorithmParams(level=9)),
        (ZSTD, AlgorithmParams(level=3)),
        (DEFLATE, AlgorithmParams(level=-1, winbits=-11)),
        (LZO, AlgorithmParams()),
        (LZO_RLE, AlgorithmParams()),
    ],
    ids=lambda value: value.name if isinstance(value, Backend) else "",
)
def test_defaults_are_the_kernels(backend: Backend, defaults: AlgorithmParams) -> None:
    assert backend.setup_params(AlgorithmParams(), accelerator=None).algorithm == defaults


@pytest.mark.parametrize(
    ("backend", "requested", "complaint"),
    [
        (LZ4, AlgorithmParams(level=65538), "no level 65538"),
        (LZ4, AlgorithmParams(winbits=-11), "no deflate.winbits"),
        (LZ4, AlgorithmParams(dictionary=b"x"), "no dictionary"),
        (LZ4, AlgorithmParams(dictionary_path="/empty"), "no dictionary"),
        (LZ4HC, AlgorithmParams(level=0), "no level 0"),
        (LZ4HC, AlgorithmParams(level=17), "no level 17, but 1 to 16"),
        (LZ4HC, AlgorithmParams(winbits=11), "no deflate.winbits"),
        (LZ4HC, AlgorithmParams(dictionary=b"x"), "no dictionary"),
        (ZSTD, AlgorithmParams(level=23), "no level 23"),
        (ZSTD, AlgorithmParams(level=-200_000), "no level -200000"),
        (ZSTD, AlgorithmParams(winbits=-11), "no deflate.winbits"),
        (
            ZSTD,
            AlgorithmParams(dictionary=b"\x37\xa4\x30\xec" + bytes(20), dictionary_path="/d"),
            "/d: this is no zstd",
        ),
        (DEFLATE, AlgorithmParams(level=10), "no level 10"),
        (DEFLATE, AlgorithmParams(level=-2), "no level -2"),
        (DEFLATE, AlgorithmParams(winbits=8), "no winbits 8"),
        (DEFLATE, AlgorithmParams(winbits=-16), "no winbits -16"),
        (DEFLATE, AlgorithmParams(dictionary=b"x"), "no dictionary"),
    ],
)
def test_parameters_that_an_algorithm_cannot_take_are_refused(
    backend: Backend, requested: AlgorithmParams, complaint: str
) -> None:
    with pytest.raises(InvalidValue, match=complaint):
        backend.setup_params(requested, accelerator=None)


@pytest.mark.parametrize("backend", [LZO, LZO_RLE], ids=lambda backend: backend.name)
@pytest.mark.parametrize(
    "requested",
    [AlgorithmParams(level=-7), AlgorithmParams(winbits=5), AlgorithmParams(dictionary=b"x", dictionary_path="/d")],
    ids=["level", "winbits", "dict"],
)
def test_lzo_ignores_parameters_as_the_kernels_does(
    backend: Backend, requested: AlgorithmParams, compressible_pages: Callable[..., bytes]
) -> None:
    assert backend.setup_params(requested, accelerator=None).algorithm == AlgorithmParams()
    text = compressible_pages(4)
    assert compressed_bytes(backend, requested, text) == compressed_bytes(backend, AlgorithmParams(), text)


@pytest.mark.parametrize(
    ("backend", "levels"),
    [
        (LZ4HC, (1, 3, 9, 12)),
        (ZSTD, (-100, -1, 1, 3, 9, 19, 22)),
        (DEFLATE, (0, 1, 6, 9)),
    ],
    ids=lambda value: value.name if isinstance(value, Backend) else "",
)
def test_the_highest_level_compresses_better_than_the_lowest(
    backend: Backend, levels: tuple[int, ...], compressible_pages: Callable[..., bytes]
) -> None:
    text = compressible_pages(8)
    sizes = [compressed_bytes(backend, AlgorithmParams(level=level), text) for level in levels]
    assert sizes[-1] < sizes[0]


def test_lz4hc_compresses_better_than_lz4(compressible_pages: Callable[..., bytes]) -> None:
    text = compressible_pages(8)
    defaults = AlgorithmParams()
    assert compressed_bytes(LZ4HC, defaults, text) < compressed_bytes(LZ4, defaults, text)


def test_lz4hc_levels_beyond_liblz4s_are_its_best(compressible_pages: Callable[..., bytes]) -> None:
    sizes = {compressed_bytes(LZ4HC, AlgorithmParams(level=level), compressible_pages(4)) for level in (12, 16)}
    assert len(sizes) == 1


def test_a_dictionary_of_similar_text_makes_zstd_smaller(compressible_pages: Callable[..., bytes]) -> None:
    text = compressible_pages(8)
    dictionary = AlgorithmParams(dictionary=compressible_pages(2, seed=1), dictionary_path="/d")
    assert compressed_bytes(ZSTD, dictionary, text) < compressed_bytes(ZSTD, AlgorithmParams(), text)


def test_zstd_needs_the_dictionary_to_decompress(compressible_pages: Callable[..., bytes]) -> None:
    requested = AlgorithmParams(dictionary=compressible_pages(2), dictionary_path="/d")
    block = ZSTD.create_context(ZSTD.setup_params(requested, accelerator=None)).compress(compressible_pages(1))
    plain = ZSTD.create_context(ZSTD.setup_params(AlgorithmParams(), accelerator=None))
    with pytest.raises(ValueError, match="does not decompress"):
        plain.decompress(block)


@pytest.mark.parametrize("winbits", [-15, -11, -9, 9, 15])
def test_deflate_is_what_zlib_reads(winbits: int, compressible_pages: Callable[..., bytes]) -> None:
    page = compressible_pages(1)
    context = DEFLATE.create_context(DEFLATE.setup_params(AlgorithmParams(winbits=winbits), accelerator=None))
    block = context.compress(page)
    assert zlib.decompress(block, wbits=winbits) == page
    assert context.decompress(block) == page


def test_deflate_finds_repetitions_within_its_window_only() -> None:
    part = os.urandom(PAGE // 4)
    sizes = [compressed_bytes(DEFLATE, AlgorithmParams(winbits=winbits), part * 4) for winbits in (-9, -15)]
    assert sizes[0] > 2 * sizes[1]


@pytest.mark.parametrize("backend", [LZ4HC, ZSTD, DEFLATE, LZO, LZO_RLE], ids=lambda backend: backend.name)
def test_a_context_carries_nothing_from_page_to_page(
    backend: Backend, compressible_pages: Callable[..., bytes]
) -> None:
    params = backend.setup_params(AlgorithmParams(), accelerator=None)
    text = compressible_pages(30) + os.urandom(PAGE) + compressible_pages(2)
    pages = [text[at : at + PAGE] for at in range(0, len(text), PAGE)]
    context = backend.create_context(params)
    assert [context.compress(page) for page in pages] == [
        backend.create_context(params).compress(page) for page in pages
    ]
