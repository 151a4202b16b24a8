"""Holds `zramfs simulate` to what `zramfs compare` measures here, with a calibration taken just before.

Each built-in fio workload under three stream policies, on a device that two CPUs can emulate. Prints a table: measured,
simulated, and the difference. Give it an otherwise idle machine for two minutes. Needs root, as `compare` does.
"""

import json
import re
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

WORKLOADS = ("async-flood", "sync-only", "mixed")
ACCELERATOR = "mtk_hwz,page_ns=15000"
SETTINGS = "policy=percpu,managed,auto"
SIZE = "512M"
CLASSES = {"sync": "sync_writes", "async": "async_writes"}
PAGE_BYTES = 4096


def zramfs(*arguments: str) -> str:
    command = [sys.executable, "-m", "zramfs.cli.main", *arguments]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(command)}: exit code {done.returncode}")
    return done.stdout


def calibrate(folder: Path) -> Path:
    """Measure this machine, FUSE included, and return its table."""
    mountpoint, table = folder / "mnt", folder / "here.toml"
    mountpoint.mkdir(exist_ok=True)
    zramfs("mount", str(mountpoint), "--size", "64M", "--stream-policy", "percpu")
    try:
        zramfs("simulate", "--calibrate", str(table), "--through", str(mountpoint))
    finally:
        zramfs("umount", str(mountpoint))
    return table


def measure(workload: str, folder: Path) -> tuple[list[dict[str, Any]], Path]:
    """Run the comparison; its settings, and the scenario that it wrote."""
    scenario = folder / f"{workload}.toml"
    options = ["--vary", SETTINGS, "--accel", ACCELERATOR, "--rounds", "2", "--runtime", "3", "--size", SIZE]
    report = zramfs("compare", "--workload", workload, *options, "--scenario", str(scenario), "--json")
    return json.loads(report)["settings"], scenario


def fio_us(block: str) -> float:
    """What fio itself takes for a request of this size: filling its pages, above all. Its null engine does nothing."""
    options = [f"--bs={block}", "--rw=write", "--size=64M", "--buffer_compress_percentage=60", "--ioengine=null"]
    command = ["fio", "--name=null", "--thread", "--time_based", "--runtime=1", "--output-format=json", *options]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return 1e6 / float(json.loads(done.stdout[done.stdout.index("{") :])["jobs"][0]["write"]["iops"])


def simulate(scenario: Path, table: Path, makes_us: dict[str, float]) -> list[dict[str, Any]]:
    """Simulate what was compared, on the CPUs that were measured, with fio's own time for each request."""
    text = re.sub(r'table = "[^"]*"', f'table = "{table}"', scenario.read_text())
    for block, us in makes_us.items():
        text = text.replace(f'size = "{block}"', f'size = "{block}"\nmake_us = {us:.2f}')
    scenario.write_text(f"warmup_ms = 200\n{text}")
    return json.loads(zramfs("simulate", str(scenario), "--vary", SETTINGS, "--json"))["results"]


def rows(workload: str, measured: list[dict[str, Any]], simulated: list[dict[str, Any]]) -> Iterator[tuple[Any, ...]]:
    """(what, measured, simulated) of throughput and median of each kind of writer."""
    for setting, result in zip(measured, simulated, strict=True):
        figures = {key: each["median"] for key, each in setting["figures"].items()}
        policy = result["scenario"]["varied"]["policy"]
        for kind, name in CLASSES.items():
            latency = result["latencies"][name]
            if f"{kind}_iops" not in figures or not latency["requests"]:
                continue
            per_s = latency["requests"] / result["measured_s"]
            yield workload, policy, f"{kind} requests/s", figures[f"{kind}_iops"], per_s
            yield workload, policy, f"{kind} p50 us", figures[f"{kind}_p50_us"], latency["percentiles_us"]["p50"]


def calibration(folder: Path) -> tuple[Path, dict[str, float]]:
    """Measure this machine, and fio; a speed that drifts wants that just before each workload."""
    table = calibrate(folder)
    makes_us = {block: fio_us(block.lower()) for block in ("4K", "1M")}
    machine = tomllib.loads(table.read_text())
    us = {name: cost["us"] for name, cost in machine["costs"].items()}
    us |= {name: machine["groups"][0][name]["lz4"]["us"] for name in ("compress", "decompress")}
    print(f"us: {us}, fio's {makes_us}", flush=True)
    return table, makes_us


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="zramfs-validate-") as name:
        folder = Path(name)
        for workload in WORKLOADS:
            table, makes_us = calibration(folder)
            measured, scenario = measure(workload, folder)
            for what in rows(workload, measured, simulate(scenario, table, makes_us)):
                *names, seen, computed = what
                difference = 100 * (computed / seen - 1)
                print(f"| {' | '.join(names)} | {seen:,.0f} | {computed:,.0f} | {difference:+.0f} % |", flush=True)


if __name__ == "__main__":
    main()
