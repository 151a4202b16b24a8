"""Measures what a page takes that comes in a flood: large direct writes, of several threads, that leave no CPU idle."""

import mmap
import os
import random
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from time import perf_counter_ns
from typing import Final

from zramfs.errors import InvalidValue
from zramfs.units import PAGE_SIZE

FLOOD_PAGES: Final = 256
"""Of a request: 1 MiB, as the workloads of `compare` have them."""

_LENGTH: Final = FLOOD_PAGES * PAGE_SIZE
_WRITERS_PER_CPU: Final = 2
_ENOUGH_NS: Final = 60_000_000


def flood_page_us(fd: int, memory: mmap.mmap, size_bytes: int) -> float:
    """CPU time of a page in µs, all of it that there is: callers' and daemon's, of the CPUs that this thread may use.

    It is that between the first request that ends and the last, while every writer has one under way.
    """
    cpus = len(os.sched_getaffinity(0))
    count = cpus * _WRITERS_PER_CPU
    ended_ns: list[int] = []
    ends_ns = perf_counter_ns() + _ENOUGH_NS
    begins = range(0, len(memory) - _LENGTH + 1, _LENGTH)
    with memoryview(memory) as source, ExitStack() as parts, ThreadPoolExecutor(count) as pool:
        each = [parts.enter_context(source[begin : begin + _LENGTH]) for begin in begins]
        shares = [each[number::count] or each for number in range(count)]
        writers = [
            pool.submit(_write, fd, share, number, size_bytes, ends_ns, ended_ns) for number, share in enumerate(shares)
        ]
        for writer in writers:
            writer.result()
    if len(ended_ns) < 2:
        raise InvalidValue(f"less than two writes of {_LENGTH >> 20} MiB ended within {_ENOUGH_NS // 1_000_000} ms")
    return (max(ended_ns) - min(ended_ns)) / 1000 / (len(ended_ns) - 1) * cpus / FLOOD_PAGES


def _write(fd: int, parts: Sequence[memoryview], seed: int, size_bytes: int, ends_ns: int, ended_ns: list[int]) -> None:
    draw = random.Random(seed).randrange  # noqa: S311 - places of a measurement
    number = 0
    while True:
        os.pwrite(fd, parts[number % len(parts)], draw(size_bytes // _LENGTH) * _LENGTH)
        now_ns = perf_counter_ns()
        if now_ns > ends_ns:
            return
        ended_ns.append(now_ns)
        number += 1
