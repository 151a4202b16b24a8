"""Measures what compressing a page takes on a CPU, in runs."""

import itertools
from time import perf_counter_ns
from typing import Final

from zramfs.backends.registry import load_backend
from zramfs.codec.run import RunCompressor
from zramfs.contracts import AlgorithmParams
from zramfs.units import PAGE_SIZE, BytesLike

_RUN_PAGES: Final = 32


def compressing_page_us(name: str, source: BytesLike, enough_ns: int) -> float:
    """What a page takes of a source that an algorithm compresses again and again, for so long."""
    backend = load_backend(name)
    params = backend.setup_params(AlgorithmParams(), accelerator=None)
    try:
        compressor = RunCompressor(backend.create_context(params), _RUN_PAGES)
        places = itertools.cycle(range(0, len(source), _RUN_PAGES * PAGE_SIZE))
        runs, took_ns, began_ns = 0, 0, perf_counter_ns()
        while took_ns < enough_ns:
            compressor.compress(source, next(places), _RUN_PAGES)
            runs += 1
            took_ns = perf_counter_ns() - began_ns
    finally:
        backend.release_params(params)
    return took_ns / runs / _RUN_PAGES / 1000
