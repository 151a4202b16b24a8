"""Processes that work on CPUs while something is measured: most keep the others busy, as all share caches and memory.

They do there as a flood does: pages are compressed that no cache of a CPU's own holds, and copied.
"""

import os
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from multiprocessing import get_context
from multiprocessing.connection import Connection
from typing import Final

from zramfs import kernel
from zramfs.backends.registry import load_backend
from zramfs.codec.run import RunCompressor
from zramfs.contracts import AlgorithmParams
from zramfs.measure.pages import compressible_pages
from zramfs.units import PAGE_SIZE

MOST_NEIGHBOURS: Final = 64
_RUN_PAGES: Final = 32
_PAGES: Final = 2048
_BEGIN_S: Final = 10.0


def belong_to_parent() -> None:
    """Let this process, which was forked, leave Ctrl-C to its parent, and end with that."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    kernel.end_with_parent(signal.SIGKILL)


@contextmanager
def working_on(works: Mapping[int, Callable[[], None]]) -> Iterator[None]:
    """Let a process on each of these CPUs do its work; those that still do are killed at the end."""
    workers = [get_context("fork").Process(target=_begin_on, args=each, daemon=True) for each in works.items()]
    try:
        for worker in workers:
            worker.start()
        yield
    finally:
        for worker in workers:
            if worker.pid is not None:
                worker.kill()
                worker.join()


def _begin_on(cpu: int, work: Callable[[], None]) -> None:
    belong_to_parent()
    os.sched_setaffinity(0, {cpu})
    work()


@contextmanager
def busy_neighbours(cpus: Sequence[int]) -> Iterator[None]:
    """Let a process on each of these CPUs compress and copy pages; on the first 64 of them."""
    cpus = cpus[:MOST_NEIGHBOURS]
    begun, tells = get_context("fork").Pipe(duplex=False)
    with working_on(dict.fromkeys(cpus, partial(_keep_busy, tells))):
        for _ in cpus:
            if begun.poll(_BEGIN_S):
                begun.recv_bytes()
        yield


def _keep_busy(tells: Connection) -> None:
    backend = load_backend("lz4")
    compressor = RunCompressor(
        backend.create_context(backend.setup_params(AlgorithmParams(), accelerator=None)), _RUN_PAGES
    )
    source = compressible_pages(_PAGES, seed=3)
    target = bytearray(len(source))
    length = _RUN_PAGES * PAGE_SIZE
    tells.send_bytes(b"begun")
    while True:
        for place in range(0, len(source), length):
            compressor.compress(source, place, _RUN_PAGES)
            target[place : place + length] = source[place : place + length]
