#!/usr/bin/env python3
"""Measures the simulation: a million requests on 64 CPUs with four devices, and how many events a second that is.

.venv/bin/python scripts/bench_simulate.py [REQUESTS]
"""

import resource
import statistics
import sys
from dataclasses import replace
from pathlib import Path
from typing import Final

from zramfs.accel.profile import load_profile
from zramfs.simulate import run
from zramfs.simulate.load_kinds import ClosedLoad, Operation
from zramfs.simulate.machines import load_machine
from zramfs.simulate.result import Result
from zramfs.simulate.scenario import Device, ManagedKind, Scenario, Streams

CPUS: Final = 64
DEVICES: Final = 4
REPEATS: Final = 3


def scenario(duration_us: float) -> Scenario:
    """Single pages, asynchronous, four in flight for each of 128 writers; 64 readers that think beside them."""
    machine = load_machine("ryzen-7950x", Path())
    machine = replace(machine, groups=(replace(machine.groups[0], count=CPUS),))
    return Scenario(
        name="bench",
        machine=machine,
        devices=tuple(Device(name=f"iaa{number}", profile=load_profile("iaa")) for number in range(DEVICES)),
        streams=Streams(managed=ManagedKind.NONBLOCKING),
        loads=(
            ClosedLoad(name="flood", tasks=2 * CPUS, depth=4, is_async=True),
            ClosedLoad(name="faults", tasks=CPUS, operation=Operation.READ, think_us=100.0),
        ),
        duration_us=duration_us,
    )


def requests_of(result: Result) -> int:
    """How many ended."""
    return sum(load.ended for load in result.loads)


def main(wanted: int) -> None:
    """Find the virtual time that so many requests take, and measure that."""
    trial_us = 10_000.0
    duration_us = trial_us * wanted / requests_of(run(scenario(trial_us)))
    results = [run(scenario(duration_us)) for _ in range(REPEATS)]
    result = sorted(results, key=lambda each: each.wall_s)[REPEATS // 2]
    rate = statistics.median(each.events / each.wall_s for each in results)
    print(
        f"{requests_of(result):,} requests, {CPUS} CPUs, {DEVICES} devices, {duration_us / 1e6:.3f} s of virtual time"
    )
    print(f"{result.wall_s:.2f} s, {result.events:,} events, {rate / 1e6:.1f} million events/s (median of {REPEATS})")
    print(f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MiB at most")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000)
