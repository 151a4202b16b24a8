"""Measures whether CPUs go at two speeds: those of a virtual machine do, as others share their cores now and then."""

import statistics
from collections.abc import Sequence
from functools import partial
from itertools import pairwise
from multiprocessing import get_context
from multiprocessing.connection import Connection
from time import perf_counter_ns
from typing import Final, NamedTuple

from zramfs.measure.pages import compressible_pages
from zramfs.simulate.compressing import compressing_page_us
from zramfs.simulate.neighbours import MOST_NEIGHBOURS, working_on

_WINDOW_NS: Final = 20_000_000
_PAGES: Final = 2048
_EDGE: Final = 20
"""The fastest twentieth of all windows, and the slowest, are left out where the two speeds are told from each other."""

_PATIENCE_S: Final = 10.0

_LEAST_RATIO: Final = 1.15
"""Below that, a machine has one speed."""


class Speeds(NamedTuple):
    """How much longer something takes while others share a core, for which share of the time, and for how long."""

    slowdown_percent: float
    share_percent: float
    lasts_ms: float


ONE_SPEED: Final = Speeds(0.0, 50.0, 1000.0)


def sample_speeds(cpus: Sequence[int], duration_s: float) -> list[list[float]]:
    """Compress on all of these CPUs, on 64 at the most: the time of a page in µs, in windows of 20 ms, by CPU."""
    cpus = cpus[:MOST_NEIGHBOURS]
    pipes = [get_context("fork").Pipe(duplex=False) for _ in cpus]
    samplers = [partial(_sample, duration_s, tells) for _, tells in pipes]
    with working_on(dict(zip(cpus, samplers, strict=True))):
        for _, tells in pipes:
            tells.close()
        return [_windows_from(told, duration_s + _PATIENCE_S) for told, _ in pipes]


def _sample(duration_s: float, tells: Connection) -> None:
    source = compressible_pages(_PAGES, seed=3)
    ends_ns = perf_counter_ns() + int(duration_s * 1e9)
    windows = []
    while perf_counter_ns() < ends_ns:
        windows.append(compressing_page_us("lz4", source, _WINDOW_NS))
    tells.send(windows)


def _windows_from(told: Connection, patience_s: float) -> list[float]:
    """None of a sampler that has died, or does not get its CPU."""
    try:
        windows: list[float] = told.recv() if told.poll(patience_s) else []
    except EOFError:
        return []
    return windows


def speeds_of(windows: Sequence[Sequence[float]]) -> Speeds:
    """Tell the two speeds from each other, at the middle between the fastest windows and the slowest ones.

    Where none of the CPUs goes from one to the other, as where they are unequal by themselves, there is one speed.
    """
    ordered = sorted(us for each in windows for us in each)
    edge = len(ordered) // _EDGE
    if edge == 0 or ordered[-1 - edge] < _LEAST_RATIO * ordered[edge]:
        return ONE_SPEED
    limit = (ordered[edge] + ordered[-1 - edge]) / 2
    fast, slow = ([us for us in ordered if (us > limit) == is_slow] for is_slow in (False, True))
    begun = sum(before <= limit < us for each in windows for before, us in pairwise(each))
    if begun == 0:
        return ONE_SPEED
    return Speeds(
        slowdown_percent=100 * (statistics.mean(slow) / statistics.mean(fast) - 1),
        share_percent=min(99.9, 100 * len(slow) / len(ordered)),
        lasts_ms=len(slow) * _WINDOW_NS / 1e6 / begun,
    )
