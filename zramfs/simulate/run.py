"""Runs a scenario, and makes a Result of what the engine counted."""

import heapq
from time import perf_counter

from zramfs.simulate.result import CPU_PURPOSES, Latency, LoadResult, LockWaits, PageCounts, Result
from zramfs.simulate.scenario import ClosedLoad, Scenario


def run(scenario: Scenario) -> Result:
    """Simulate closed loops of writes on per-CPU streams, each task on a CPU of its own, without thinking."""
    began_s = perf_counter()
    group = scenario.machine.groups[0]
    page_us = group.compress[scenario.algorithm].us + scenario.machine.costs.page.us
    loads = [load for load in scenario.loads if isinstance(load, ClosedLoad)]
    ends = [(load.pages * page_us, load.pages) for load in loads for _ in range(load.tasks)]
    heapq.heapify(ends)
    ended = pages = 0
    while ends[0][0] <= scenario.duration_us:
        now_us, size = ends[0]
        heapq.heapreplace(ends, (now_us + size * page_us, size))
        ended, pages = ended + 1, pages + size
    us = page_us * loads[0].pages
    latency = Latency(
        requests=ended, mean_us=us, mean_error_us=0.0, max_us=us, percentiles_us={50.0: us}, bins=((us, ended),)
    )
    return Result(
        scenario=scenario,
        is_partial=False,
        measured_s=scenario.duration_us / 1e6,
        wall_s=perf_counter() - began_s,
        events=ended,
        latencies={"sync_writes": latency},
        pages=PageCounts(percpu=pages, managed=0, polled=0, fallback=0, redone=0, read_software=0, read_device=0),
        lock_waits=LockWaits(count=0, mean_us=0.0, max_us=0.0),
        cpu_seconds=dict.fromkeys(CPU_PURPOSES, 0.0) | {"compress": pages * page_us / 1e6},
        devices=(),
        loads=(LoadResult(name=loads[0].name, submitted=ended, ended=ended, dropped=0),),
    )
