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
        (
            ZSTD,
            AlgorithmParams(dictionary=b"\x37\xa4\x30\xec" + bytes(20), dictionary_path="/d"),
            "/d: this is no zstd",
        ),
        (DEFLATE, AlgorithmParams(level=10), "no level 10"),
        (DEFLATE, AlgorithmParams(level=-2), "no level -2"),
        (DEFLATE, AlgorithmParams(winbits=8), "no winbits 8"),
        (DEFLATE, AlgorithmParams(winbits=-16), "no winbits -16"),
    ],
)
def test_parameters_that_an_algorithm_cannot_take_are_refused(
    backend: Backend, requested: AlgorithmParams, complaint: str
) -> None:
    with pytest.raises(InvalidValue, match=complaint):
        backend.setup_params(requested, accelerator=None)


@pytest.mark.parametrize(
    ("backend", "requested", "used"),
    [
        (LZ4, AlgorithmParams(level=65538), 65537),
        (LZ4, AlgorithmParams(level=0), 1),
        (LZ4, AlgorithmParams(level=-3), 1),
        (LZ4, AlgorithmParams(level=7, winbits=-11), 7),
        (LZ4HC, AlgorithmParams(level=0), 9),
        (LZ4HC, AlgorithmParams(level=-1), 9),
        (LZ4HC, AlgorithmParams(level=17), 16),
        (LZ4HC, AlgorithmParams(level=5, winbits=11), 5),
        (ZSTD, AlgorithmParams(level=23), 22),
        (ZSTD, AlgorithmParams(level=-200_000), -131_072),
        (ZSTD, AlgorithmParams(level=4, winbits=-11), 4),
        (DEFLATE, AlgorithmParams(level=4, dictionary=b"x", dictionary_path="/d"), 4),
    ],
)
def test_what_an_algorithm_has_not_is_ignored_as_by_the_kernels(
    backend: Backend, requested: AlgorithmParams, used: int, compressible_pages: Callable[..., bytes]
) -> None:
    algorithm = backend.setup_params(requested, accelerator=None).algorithm
    assert algorithm == AlgorithmParams(level=used, winbits=-11 if backend is DEFLATE else None)
    text = compressible_pages(2)
    assert compressed_bytes(backend, requested, text) == compressed_bytes(backend, AlgorithmParams(level=used), text)


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


WITH_DICTIONARIES = [LZ4, LZ4HC, ZSTD]


@pytest.mark.parametrize("backend", WITH_DICTIONARIES, ids=lambda backend: backend.name)
@pytest.mark.parametrize("pages", [2, 40], ids=["8 KiB", "160 KiB"])
def test_a_dictionary_of_similar_text_makes_pages_smaller(
    backend: Backend, pages: int, compressible_pages: Callable[..., bytes]
) -> None:
    text = compressible_pages(8)
    dictionary = AlgorithmParams(dictionary=compressible_pages(pages, seed=1), dictionary_path="/d")
    assert compressed_bytes(backend, dictionary, text) < compressed_bytes(backend, AlgorithmParams(), text)


@pytest.mark.parametrize("backend", WITH_DICTIONARIES, ids=lambda backend: backend.name)
@pytest.mark.parametrize("content", [b"x", b"zspage", bytes(range(13))])
def test_a_dictionary_may_be_short(backend: Backend, content: bytes, compressible_pages: Callable[..., bytes]) -> None:
    dictionary = AlgorithmParams(dictionary=content, dictionary_path="/d")
    assert compressed_bytes(backend, dictionary, compressible_pages(2) + os.urandom(PAGE)) > 0


@pytest.mark.parametrize("backend", WITH_DICTIONARIES, ids=lambda backend: backend.name)
def test_a_context_with_a_dictionary_carries_nothing_from_page_to_page(
    backend: Backend, compressible_pages: Callable[..., bytes]
) -> None:
    requested = AlgorithmParams(dictionary=compressible_pages(3, seed=9), dictionary_path="/d")
    params = backend.setup_params(requested, accelerator=None)
    text = compressible_pages(10) + os.urandom(PAGE) + compressible_pages(2)
    pages = [text[at : at + PAGE] for at in range(0, len(text), PAGE)]
    context = backend.create_context(params)
    assert [context.compress(page) for page in pages] == [
        backend.create_context(params).compress(page) for page in pages
    ]


def test_only_the_last_64_kib_of_a_dictionary_count_for_lz4(compressible_pages: Callable[..., bytes]) -> None:
    dictionary = compressible_pages(20, seed=1)
    for backend in (LZ4, LZ4HC):
        sizes = {
            compressed_bytes(backend, AlgorithmParams(dictionary=content, dictionary_path="/d"), compressible_pages(4))
            for content in (dictionary, dictionary[-(64 << 10) :])
        }
        assert len(sizes) == 1


@pytest.mark.parametrize("backend", WITH_DICTIONARIES, ids=lambda backend: backend.name)
def test_the_dictionary_is_needed_to_decompress(backend: Backend, compressible_pages: Callable[..., bytes]) -> None:
    requested = AlgorithmParams(dictionary=compressible_pages(2), dictionary_path="/d")
    block = backend.create_context(backend.setup_params(requested, accelerator=None)).compress(compressible_pages(1))
    plain = backend.create_context(backend.setup_params(AlgorithmParams(), accelerator=None))
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
