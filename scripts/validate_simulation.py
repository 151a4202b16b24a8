"""Holds `zramfs simulate` to what `zramfs compare` measures here, with calibrations taken between its rounds.

Each built-in workload, or those that are named, under three stream policies, on a device that two CPUs can emulate. A
round is one run of each policy, and a calibration as `zramfs simulate --calibrate --through` makes it, of lz4 alone;
what is simulated has the medians of all rounds' costs, and tasks that begin on other CPUs with each seed. Prints a
table: measured, with its lowest and highest round, simulated, likewise of all seeds, and the difference of the medians.
Give it an otherwise idle machine for about two minutes a workload. Needs root, as `compare` does. With `--keep FOLDER`
the rounds are kept there; with `--again FOLDER` those are simulated, and none is measured.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from zramfs.simulate.calibrate import as_mounted, measure_algorithm
from zramfs.simulate.mounted import measure_mount
from zramfs.simulate.switches import measure_loop_us, measure_wake_us

WORKLOADS = ("async-flood", "sync-only", "mixed")
ACCELERATOR = "mtk_hwz,page_ns=15000"
SETTINGS = "policy=percpu,managed,auto"
SIZE = "512M"
ROUNDS = 5
SEEDS = 9
"""Simulations of a round: the CPUs that tasks are on when it begins are drawn by the seed."""

RUNTIME = "1"
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
    RUNTIME,
    "--size",
    SIZE,
]
BOUNDS = {"requests/s": 15, "p50 us": 25}


class Round(NamedTuple):
    """A figure by key for each setting; µs of this machine by table and name; µs that fio takes by size of request."""

    figures: list[dict[str, float]]
    costs: dict[str, float]
    makes: dict[str, float]


def zramfs(*arguments: str) -> str:
    command = [sys.executable, "-m", "zramfs.cli.main", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(command)}: exit code {done.returncode}: {done.stderr.strip()}")
    return done.stdout


def measure(workload: str, folder: Path) -> Round:
    """Run every setting once, and measure the machine."""
    report = zramfs("compare", "--workload", workload, *COMPARED, "--json")
    figures = [{key: each["median"] for key, each in row["figures"].items()} for row in json.loads(report)["settings"]]
    makes = {block: fio_us(block.lower()) for block in ("4K", "1M")}
    return Round(figures, calibrate(folder), makes)


def calibrate(folder: Path) -> dict[str, float]:
    """Measure lz4, wake-ups, and requests through a mount, in that order."""
    mountpoint = folder / "mnt"
    mountpoint.mkdir(exist_ok=True)
    own, wake_us = measure_algorithm("lz4"), measure_wake_us()
    zramfs("mount", str(mountpoint), "--size", SIZE, "--stream-policy", "percpu", "--transport", TRANSPORT)
    try:
        mounted = measure_mount(mountpoint)
    finally:
        zramfs("umount", str(mountpoint))
    costs = as_mounted(own, mounted, wake_us)._asdict() | {"wake": wake_us, "loop": measure_loop_us()}
    return {name: us for name, us in costs.items() if name != "slowdown"}


def fio_us(block: str) -> float:
    """What fio itself takes for a request of this size: filling its pages, above all. Its null engine does nothing."""
    options = [f"--bs={block}", "--rw=write", "--size=64M", "--buffer_compress_percentage=60", "--ioengine=null"]
    command = ["fio", "--name=null", "--thread", "--time_based", "--runtime=300ms", "--output-format=json", *options]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return 1e6 / float(json.loads(done.stdout[done.stdout.index("{") :])["jobs"][0]["write"]["iops"])


def medians(rounds: Sequence[dict[str, float]]) -> dict[str, float]:
    return {key: statistics.median(each[key] for each in rounds) for key in rounds[0]}


def simulate(scenario: Path, costs: dict[str, float], makes: dict[str, float]) -> list[list[dict[str, Any]]]:
    """Simulate what was compared, once for each seed.

    The machine has its median costs, fio its own time, and the engines are threads.
    """
    lines = ["warmup_ms = 250", "duration_ms = 1250", scenario.read_text()]
    lines += ["[costs]", *(f"{name}_us = {us:.3f}" for name, us in costs.items())]
    text = "\n".join(lines).replace("[[devices]]", "[[devices]]\nemulated = true")
    for block, us in makes.items():
        text = text.replace(f'size = "{block}"', f'size = "{block}"\nmake_us = {us:.2f}')
    simulated = scenario.with_suffix(".simulated.toml")
    simulated.write_text(text)
    return [_run_once(simulated, seed) for seed in range(1, SEEDS + 1)]


def _run_once(scenario: Path, seed: int) -> list[dict[str, Any]]:
    report = zramfs("simulate", str(scenario), "--vary", SETTINGS, "--seed", str(seed), "--json")
    results: list[dict[str, Any]] = json.loads(report)["results"]
    return results


def rows(rounds: Sequence[Round], simulated: Sequence[Sequence[dict[str, Any]]]) -> Iterator[tuple[Any, ...]]:
    """(policy, class, what, measured in each round, simulated with each seed) of throughput and median."""
    for number, results in enumerate(zip(*simulated, strict=True)):
        policy = results[0]["scenario"]["varied"]["policy"]
        for kind, name in CLASSES.items():
            found = [each.figures[number] for each in rounds]
            if f"{kind}_iops" not in found[0] or not results[0]["latencies"][name]["requests"]:
                continue
            rates = [each["latencies"][name]["requests"] / each["measured_s"] for each in results]
            p50s = [each["latencies"][name]["percentiles_us"]["p50"] for each in results]
            yield policy, kind, "requests/s", [each[f"{kind}_iops"] for each in found], rates
            yield policy, kind, "p50 us", [each[f"{kind}_p50_us"] for each in found], p50s


def validate(workload: str, folder: Path, *, again: bool) -> None:
    """Measure, unless that has been done, and compare with what is simulated."""
    scenario, kept = folder / f"{workload}.toml", folder / f"{workload}.json"
    if not again:
        kept.write_text(json.dumps([measure(workload, folder) for _ in range(ROUNDS)]))
        zramfs("compare", "--workload", workload, *COMPARED, "--scenario", str(scenario))
    rounds = [Round(*each) for each in json.loads(kept.read_text())]
    costs, makes = medians([each.costs for each in rounds]), medians([each.makes for each in rounds])
    print(f"{workload}: us {costs}, fio's {makes}", flush=True)
    for policy, kind, what, measured, computed in rows(rounds, simulate(scenario, costs, makes)):
        difference = 100 * (statistics.median(computed) / statistics.median(measured) - 1)
        verdict = "" if abs(difference) <= BOUNDS[what] else "**"
        print(
            f"| {workload} | {policy} | {kind} {what} | {shown(measured)} | {shown(computed)} |"
            f" {verdict}{difference:+.0f} %{verdict} |",
            flush=True,
        )


def shown(values: Sequence[float]) -> str:
    return f"{statistics.median(values):,.0f} ({min(values):,.0f}-{max(values):,.0f})"


def main() -> None:
    """Validate the workloads that are named, or all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("workload", nargs="*", default=WORKLOADS)
    parser.add_argument("--keep", type=Path, metavar="FOLDER")
    parser.add_argument("--again", type=Path, metavar="FOLDER")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="zramfs-validate-") as name:
        os.environ["TMPDIR"] = name  # where compare leaves scenarios of devices that it could not emulate
        for workload in options.workload:
            folder = options.again or options.keep or Path(name)
            folder.mkdir(exist_ok=True)
            validate(workload, folder, again=options.again is not None)


if __name__ == "__main__":
    main()
