"""Keeps the machine's other CPUs busy while something is measured on some: they share caches and memory.

What they do is what a flood does there: pages are compressed that no cache of a CPU's own holds, and copied.
"""

import os
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from multiprocessing import get_context
from multiprocessing.connection import Connection
from typing import Final

from zramfs import kernel
from zramfs.backends.registry import load_backend
from zramfs.codec.run import RunCompressor
from zramfs.contracts import AlgorithmParams
from zramfs.measure.pages import compressible_pages
from zramfs.units import PAGE_SIZE

_MOST: Final = 64
_RUN_PAGES: Final = 32
_PAGES: Final = 2048
_BEGIN_S: Final = 10.0


@contextmanager
def busy_neighbours(cpus: Sequence[int]) -> Iterator[None]:
    """Let a process on each of these CPUs compress and copy pages; on the first 64 of them."""
    processes = get_context("fork")
    begun, tells = processes.Pipe(duplex=False)
    neighbours = [processes.Process(target=_work, args=(cpu, tells), daemon=True) for cpu in cpus[:_MOST]]
    try:
        for neighbour in neighbours:
            neighbour.start()
        for _ in neighbours:
            if begun.poll(_BEGIN_S):
                begun.recv_bytes()
        yield
    finally:
        for neighbour in neighbours:
            neighbour.kill()
            neighbour.join()


def belong_to_parent() -> None:
    """Let this process, which was forked, leave Ctrl-C to its parent, and end with that."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    kernel.end_with_parent(signal.SIGKILL)


def work_for_parent(cpu: int) -> None:
    """Likewise, and run on one CPU only."""
    belong_to_parent()
    os.sched_setaffinity(0, {cpu})


def _work(cpu: int, tells: Connection) -> None:
    work_for_parent(cpu)
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
