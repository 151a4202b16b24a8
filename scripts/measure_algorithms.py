#!/usr/bin/env python3
"""Measures every algorithm on pages of the programs in /usr/bin: ratio, and µs a page both ways, on one thread.

.venv/bin/python scripts/measure_algorithms.py [FOLDER]    prints the table of docs/algorithms.md
"""

import statistics
import sys
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from itertools import islice
from pathlib import Path
from time import perf_counter_ns
from typing import Final

import lz4.block

from zramfs.backends.registry import backend_names, load_backend
from zramfs.block.disk import Disk
from zramfs.block.layer import BlockLayer
from zramfs.block.request import Outcome, Request
from zramfs.block.slots import Codecs, SlotTable
from zramfs.codec.run import FunctionCodec, PageCodec, RunCompressor
from zramfs.contracts import AlgorithmParams, Backend, BackendParams
from zramfs.units import PAGE_SIZE
from zramfs.zcomp.zcomp import Zcomp

_PAGES: Final = 8192
_PAGES_OF_A_FILE: Final = 64
_RUN_PAGES: Final = 32
_REPEATS: Final = 5
_DICTIONARY_PAGES: Final = 16

_VARIANTS: Final = {
    "lz4": [AlgorithmParams(level=8)],
    "lz4hc": [AlgorithmParams(level=3), AlgorithmParams(level=12)],
    "zstd": [AlgorithmParams(level=-1), AlgorithmParams(level=1), AlgorithmParams(level=9), AlgorithmParams(level=19)],
    "deflate": [AlgorithmParams(level=1), AlgorithmParams(level=9, winbits=-15)],
}


def main(folder: Path) -> None:
    pages = list(islice(distinct_pages(folder), _PAGES + _DICTIONARY_PAGES))
    dictionary, source = b"".join(pages[:_DICTIONARY_PAGES]), b"".join(pages[_DICTIONARY_PAGES:])
    print(f"{len(source) // PAGE_SIZE} pages of {folder}, medians of {_REPEATS} rounds\n")
    print("| algorithm | parameters | ratio | compress, µs | decompress, µs |")
    print("|---|---|---|---|---|")
    for name in backend_names():
        variants = [AlgorithmParams(), *_VARIANTS.get(name, [])]
        if name == "zstd":
            variants.append(AlgorithmParams(dictionary=dictionary, dictionary_path="64 KiB"))
        for requested in variants:
            backend = load_backend(name)
            params = backend.setup_params(requested, accelerator=None)
            report(name, describe(params.algorithm), partial(backend.create_context, params), source)
    for name, make_codec in python_codecs():
        report(name, "through Python", make_codec, source)


def distinct_pages(folder: Path) -> Iterator[bytes]:
    """Pages from all over the folder, the first ones of each file, without those that zram stores as one word."""
    for path in sorted(folder.iterdir()):
        if not path.is_file() or path.is_symlink():
            continue
        with path.open("rb") as file:
            for page in islice(iter(partial(file.read, PAGE_SIZE), b""), _PAGES_OF_A_FILE):
                if len(page) == PAGE_SIZE and page != page[:8] * (PAGE_SIZE // 8):
                    yield page


def python_codecs() -> Iterator[tuple[str, Callable[[], PageCodec]]]:
    """What the well-known Python modules would do in the place of our compiled codecs."""
    compress = partial(lz4.block.compress, mode="high_compression", compression=9, store_size=False)
    yield "lz4hc", partial(FunctionCodec, compress, partial(lz4.block.decompress, uncompressed_size=PAGE_SIZE))

    def deflate(page: bytes) -> bytes:
        compressor = zlib.compressobj(wbits=-11)
        return compressor.compress(page) + compressor.flush()

    yield "deflate", partial(FunctionCodec, deflate, partial(zlib.decompress, wbits=-11))


def describe(params: AlgorithmParams) -> str:
    named = {"level": params.level, "winbits": params.winbits, "dict": params.dictionary_path or None}
    return " ".join(f"{name}={value}" for name, value in named.items() if value is not None) or "none"


class Given(Backend):
    """An algorithm whose contexts somebody else makes."""

    name = "given"

    def __init__(self, make_codec: Callable[[], PageCodec]) -> None:
        self.make_codec = make_codec

    def create_context(self, params: BackendParams) -> PageCodec:
        """Make one."""
        del params
        return self.make_codec()


@contextmanager
def disk_with(make_codec: Callable[[], PageCodec], page_count: int) -> Iterator[Disk]:
    """Open a disk that compresses so."""
    layer = BlockLayer()
    disk = Disk("zram0", layer)
    zcomp = Zcomp(Given(make_codec))
    table = SlotTable(page_count, channel_count=layer.channel_count)
    disk.open(table, zcomp, [Codecs(make_codec()) for _ in range(layer.channel_count)])
    yield disk
    disk.close()
    zcomp.close()
    table.close()


def perform(disk: Disk, request: Request) -> None:
    outcome = request.submit(disk)
    while outcome == Outcome.HAS_MORE:
        outcome = request.go_on()
    request.result()


def report(name: str, parameters: str, make_codec: Callable[[], PageCodec], source: bytes) -> None:
    count = len(source) // PAGE_SIZE
    compressor = RunCompressor(make_codec(), _RUN_PAGES)
    runs = range(0, count - _RUN_PAGES + 1, _RUN_PAGES)
    out = bytearray(_RUN_PAGES * PAGE_SIZE)
    compress_us, decompress_us = [], []
    with disk_with(make_codec, count) as disk:
        perform(disk, Request("write", 0, source[: len(runs) * _RUN_PAGES * PAGE_SIZE]))
        for _ in range(_REPEATS):
            start_ns = perf_counter_ns()
            for page in runs:
                compressor.compress(source, page * PAGE_SIZE, _RUN_PAGES)
            compress_us.append((perf_counter_ns() - start_ns) / len(runs) / _RUN_PAGES / 1000)
            start_ns = perf_counter_ns()
            for page in runs:
                perform(disk, Request("read", page * PAGE_SIZE, out))
            decompress_us.append((perf_counter_ns() - start_ns) / len(runs) / _RUN_PAGES / 1000)
        ratio = disk.table.stored_pages * PAGE_SIZE / disk.table.compressed_bytes
    figures = f"{ratio:.2f} | {statistics.median(compress_us):.1f} | {statistics.median(decompress_us):.1f}"
    print(f"| {name} | {parameters} | {figures} |", flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "/usr/bin"))
