"""Measures what a page takes more to be stored that another CPU has compressed: no cache of this one has it."""

import os
import random
import statistics
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from time import perf_counter_ns
from typing import Final

import trio

from zramfs.accel.driver import EmulatedAccelerator
from zramfs.accel.profile import load_profile
from zramfs.backends.registry import load_backend
from zramfs.block.disk import Disk
from zramfs.block.layer import BlockLayer
from zramfs.block.request import Outcome, Request
from zramfs.block.slots import Codecs, SlotTable
from zramfs.contracts import AlgorithmParams, StreamPolicy
from zramfs.measure.pages import compressible_pages
from zramfs.units import PAGE_SIZE
from zramfs.zcomp.zcomp import Zcomp

_RUN_PAGES: Final = 64
_DISK_PAGES: Final = 4096
_SOURCE_PAGES: Final = 2048
_RUNS: Final = 40
_REPEATS: Final = 9
_WAIT_S: Final = 0.0006
"""Longer than an engine takes for a run."""


def measure_fetch_us(name: str) -> float:
    """What a page takes more, the median, of turns with the engine on another CPU and on this one; 0 with one CPU."""
    cpus = sorted(os.sched_getaffinity(0))
    return trio.run(_fetch_us, name, cpus) if len(cpus) > 1 else 0.0


async def _fetch_us(name: str, cpus: Sequence[int]) -> float:
    """Likewise. A device is closed in an event loop, which nobody waits in here."""
    layer = BlockLayer()
    backend = load_backend(name)
    others = _threads()
    accelerator = EmulatedAccelerator(load_profile("mtk_hwz").with_setting("page_ns", "1"))
    zcomp = Zcomp(backend, policy=StreamPolicy.MANAGED, accelerator=accelerator)
    engines = _threads() - others
    params = backend.setup_params(AlgorithmParams(), accelerator=None)
    table = SlotTable(_DISK_PAGES, channel_count=layer.channel_count)
    disk = Disk("zram0", layer)
    disk.open(table, zcomp, [Codecs(backend.create_context(params)) for _ in range(layer.channel_count)])
    source = compressible_pages(_SOURCE_PAGES, seed=2)
    try:
        return statistics.median(_difference_us(disk, source, engines, cpus, each) for each in range(_REPEATS))
    finally:
        os.sched_setaffinity(0, cpus)
        disk.close()
        zcomp.close()
        table.close()
        backend.release_params(params)
        layer.close()


def _threads() -> set[int]:
    return {int(task.name) for task in Path("/proc/self/task").iterdir()}


def _difference_us(disk: Disk, source: bytes, engines: set[int], cpus: Sequence[int], number: int) -> float:
    """CPUs take turns, as those of a virtual machine are not equally fast at a time."""
    here, there = cpus[number % len(cpus)], cpus[(number + 1) % len(cpus)]
    os.sched_setaffinity(0, {here})
    took = {}
    for cpu in (there, here):
        for engine in engines:
            with suppress(ProcessLookupError):
                os.sched_setaffinity(engine, {cpu})
        took[cpu] = statistics.median(_storing_us(disk, source, number * _RUNS + each) for each in range(_RUNS))
    return (took[there] - took[here]) / _RUN_PAGES


def _storing_us(disk: Disk, source: bytes, seed: int) -> float:
    """How long it takes to store a run that its device is done with."""
    draw = random.Random(seed).randrange  # noqa: S311 - places of a measurement
    begin = draw(_SOURCE_PAGES // _RUN_PAGES) * _RUN_PAGES * PAGE_SIZE
    pages = memoryview(source)[begin : begin + _RUN_PAGES * PAGE_SIZE]
    place = draw(_DISK_PAGES // _RUN_PAGES) * _RUN_PAGES * PAGE_SIZE
    request = Request("write", place, pages, is_async=True)
    outcome = request.submit(disk)
    while outcome == Outcome.HAS_MORE:
        outcome = request.go_on()
    time.sleep(_WAIT_S)
    began_ns = perf_counter_ns()
    request.wait()
    return (perf_counter_ns() - began_ns) / 1000
