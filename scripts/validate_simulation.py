"""Holds `zramfs simulate` to what `zramfs compare` measures here, with calibrations taken between its rounds.

Each built-in workload, or those that are named, under three stream policies, on a device that two CPUs can emulate. A
round is one run of each policy, and a calibration as `zramfs simulate --calibrate --through` makes it, of lz4 alone;
what is simulated has the means of all rounds' costs, and tasks that begin on other CPUs with each seed. Prints a table:
measured, with its lowest and highest round, simulated, likewise of all seeds, and the difference.

Give it an otherwise idle machine for four to five minutes a workload. Needs root, as `compare` does. With `--keep
FOLDER` rounds are measured and kept there, and nothing is simulated; with `--again FOLDER` those are simulated, and
none is measured.
"""

import argparse
import json
import os
import statistics
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from load_costs import output_of, storm_us

from zramfs.compare.workload import SWAP_STORM
from zramfs.simulate.calibrate import FETCH_US, AlgorithmCosts, as_mounted, measure_algorithm, measure_switches
from zramfs.simulate.contention import Speeds, sample_speeds, speeds_of
from zramfs.simulate.mounted import MountedCosts, measure_mount
from zramfs.simulate.switches import measure_loop_us

WORKLOADS = ("async-flood", "sync-only", "mixed", SWAP_STORM)
ACCELERATOR = "mtk_hwz,page_ns=15000"
SETTINGS = "policy=percpu,managed,auto"
SIZE = "512M"
ROUNDS = 5
SPEEDS_S = 3.0
SEEDS = 40
"""Simulations of all rounds: the CPUs that tasks are on when it begins are drawn by the seed."""

RUNTIME_S = 5
"""As `compare` has it unless it is told otherwise."""

WARMUP_MS = 1000 * RUNTIME_S // 4
"""Likewise."""

CLASSES = {"sync": "sync_writes", "async": "async_writes"}
TRANSPORT = "dev"
"""The one that is modelled, whatever the kernel offers."""

COMPARED = [
    "--vary",
    SETTINGS,
    "--vary",
    f"transport={TRANSPORT}",
    "--accel",
    ACCELERATOR,
    "--rounds",
    "1",
    "--runtime",
    str(RUNTIME_S),
    "--size",
    SIZE,
]
RATE, MEDIAN = "requests/s", "p50 us"
BOUNDS = {RATE: 15, MEDIAN: 25}
STORM_READ, READ_AHEAD_PAGES = '\nread_size = "32K"\n', 8
"""What the storm reads at a time, in its scenario."""


class Round(NamedTuple):
    """A figure by key for each setting; what was measured of this machine, in µs; and what the storm's process takes.

    The latter for each of its reads, 0 where there is no storm. What fio takes is in the scenario. `windows` are those
    of `sample_speeds`.
    """

    figures: list[dict[str, float]]
    measured: dict[str, dict[str, float]]
    storm_read_us: float
    windows: list[list[float]]


class Row(NamedTuple):
    """A figure of one policy, in each round and with each seed."""

    policy: str
    kind: str
    what: str
    measured: list[float]
    simulated: list[float]

    @property
    def difference_percent(self) -> float:
        return 100 * (self.middle(self.simulated) / self.middle(self.measured) - 1)

    def middle(self, values: Sequence[float]) -> float:
        """Throughput is that of all rounds together; of the medians of latencies it is the median."""
        return statistics.mean(values) if self.what == RATE else statistics.median(values)

    def shown(self, values: Sequence[float]) -> str:
        return f"{self.middle(values):,.0f} ({min(values):,.0f}-{max(values):,.0f})"


def zramfs(*arguments: str) -> str:
    return output_of(sys.executable, "-m", "zramfs.cli.main", *arguments)


# ---- what is measured ------------------------------------------------------------------------------------------------


def measure(workload: str, folder: Path) -> Round:
    """Run every setting once, and measure the machine."""
    report = zramfs("compare", "--workload", workload, *COMPARED, "--json")
    figures = [{key: each["median"] for key, each in row["figures"].items()} for row in json.loads(report)["settings"]]
    with mounted(folder) as mountpoint:
        measured = calibrate(mountpoint)
    windows = sample_speeds(sorted(os.sched_getaffinity(0)), SPEEDS_S)
    return Round(figures, measured, storm_us() * READ_AHEAD_PAGES if workload == SWAP_STORM else 0.0, windows)


@contextmanager
def mounted(folder: Path) -> Iterator[Path]:
    """A fresh mount, with per-CPU streams."""
    mountpoint = folder / "mnt"
    mountpoint.mkdir(exist_ok=True)
    zramfs("mount", str(mountpoint), "--size", SIZE, "--stream-policy", "percpu", "--transport", TRANSPORT)
    try:
        yield mountpoint
    finally:
        zramfs("umount", str(mountpoint))


def calibrate(mountpoint: Path) -> dict[str, dict[str, float]]:
    """Measure lz4, wake-ups, and requests through a mount."""
    switches = measure_switches()._asdict() | {"loop": measure_loop_us()}
    own = measure_algorithm("lz4")
    return {"switches": switches, "own": own._asdict(), "mounted": measure_mount(mountpoint)._asdict()}


# ---- what is simulated -----------------------------------------------------------------------------------------------


def costs_of(rounds: Sequence[Round]) -> dict[str, float]:
    """Return the costs of the means of what was measured: each is a difference, which noise may make negative."""
    own, mounted_costs, switches = (
        {key: statistics.mean(each.measured[kind][key] for each in rounds) for key in rounds[0].measured[kind]}
        for kind in ("own", "mounted", "switches")
    )
    costs = as_mounted(AlgorithmCosts(**own), MountedCosts(**mounted_costs), switches["wake"])._asdict()
    return costs | {name: max(0.0, us) for name, us in switches.items()} | {"fetch": FETCH_US}


def simulate(
    scenario: Path, costs: Mapping[str, float], speeds: Speeds, storm_read_us: float
) -> list[list[dict[str, Any]]]:
    """Simulate what was compared, once for each seed: the machine has its mean costs, and the engines are threads."""
    lines = [f"warmup_ms = {WARMUP_MS}", f"duration_ms = {WARMUP_MS + 1000 * RUNTIME_S}", scenario.read_text()]
    lines += ["[costs]", *(f"{name}_us = {us:.3f}" for name, us in costs.items())]
    lines += ["[contention]", *(f"{name} = {value:.2f}" for name, value in speeds._asdict().items())]
    text = "\n".join(lines).replace("[[devices]]", "[[devices]]\nemulated = true")
    if storm_read_us:
        text = text.replace(STORM_READ, f"{STORM_READ}make_us = {storm_read_us:.2f}\n")
    simulated = scenario.with_suffix(".simulated.toml")
    simulated.write_text(text)
    return [_run_once(simulated, seed) for seed in range(1, SEEDS + 1)]


def _run_once(scenario: Path, seed: int) -> list[dict[str, Any]]:
    report = zramfs("simulate", str(scenario), "--vary", SETTINGS, "--seed", str(seed), "--json")
    results: list[dict[str, Any]] = json.loads(report)["results"]
    return results


def figures_of(result: Mapping[str, Any]) -> dict[str, float]:
    """Return what a simulation says, by compare's keys."""
    found = {"swap_iops": result["written_pages_per_s"]}
    for kind, name in CLASSES.items():
        latency = result["latencies"][name]
        found[f"{kind}_iops"] = latency["requests"] / result["measured_s"]
        found[f"{kind}_p50_us"] = latency["percentiles_us"]["p50"]
    return found


# ---- beside each other -----------------------------------------------------------------------------------------------


def rows(rounds: Sequence[Round], simulated: Sequence[Sequence[Mapping[str, Any]]]) -> Iterator[Row]:
    """Yield throughput and median of each kind of request, for each policy."""
    for number, results in enumerate(zip(*simulated, strict=True)):
        policy = results[0]["scenario"]["varied"]["policy"]
        found, computed = [each.figures[number] for each in rounds], [figures_of(each) for each in results]
        for kind in (*CLASSES, "swap"):
            for what, key in ((RATE, f"{kind}_iops"), (MEDIAN, f"{kind}_p50_us")):
                if key in found[0]:
                    yield Row(policy, kind, what, [each[key] for each in found], [each[key] for each in computed])


def show(workload: str, folder: Path) -> None:
    """Simulate what was measured, and print both."""
    rounds = [Round(*each) for each in json.loads((folder / f"{workload}.json").read_text())]
    costs = costs_of(rounds)
    speeds = speeds_of([windows for each in rounds for windows in each.windows])
    storm_read_us = statistics.mean(each.storm_read_us for each in rounds)
    print(f"{workload}: us {costs}, {speeds}", flush=True)
    for row in rows(rounds, simulate(folder / f"{workload}.toml", costs, speeds, storm_read_us)):
        mark = "" if abs(row.difference_percent) <= BOUNDS[row.what] else "**"
        print(
            f"| {workload} | {row.policy} | {row.kind} {row.what} |"
            f" {row.shown(row.measured)} | {row.shown(row.simulated)} | {mark}{row.difference_percent:+.0f} %{mark} |",
            flush=True,
        )


def keep(workload: str, folder: Path, count: int) -> None:
    """Measure so many rounds, and write them and the scenario of the comparison."""
    folder.mkdir(exist_ok=True)
    rounds = [measure(workload, folder) for _ in range(count)]
    (folder / f"{workload}.json").write_text(json.dumps(rounds))
    zramfs("compare", "--workload", workload, *COMPARED, "--scenario", str(folder / f"{workload}.toml"))


def main() -> None:
    """Validate the workloads that are named, or all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("workload", nargs="*", default=WORKLOADS)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--keep", type=Path, metavar="FOLDER")
    parser.add_argument("--again", type=Path, metavar="FOLDER")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="zramfs-validate-") as name:
        os.environ["TMPDIR"] = name  # where compare leaves scenarios of devices that it could not emulate
        for workload in options.workload:
            folder = options.again or options.keep or Path(name)
            if options.again is None:
                keep(workload, folder, options.rounds)
            if options.keep is None:
                show(workload, folder)


if __name__ == "__main__":
    main()
