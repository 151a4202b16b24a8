"""What can be measured: kinds of cells, each a command and a figure read from its output; `catalogue` has the cells."""

import os
import re
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from process import BenchError, Output

from zramfs.errors import CommandFailed
from zramfs.measure.fio import BASICS, file_name, milliseconds, read_report

KIB = 1 << 10
MIB = 1 << 20
DISK_BYTES = 1 << 30

OURS = "zramfs"
BASE = "base"
"""The zramfs of another checkout."""
OTHERWISE = "otherwise"
BASE_OTHERWISE = "base otherwise"
"""These two under the condition that a cell compares with."""
VARIANTS = {OTHERWISE: OURS, BASE_OTHERWISE: BASE}

ALL_TARGETS = (OURS, BASE, "peer", "kernel")

Content = Literal["fio", "binaries"]
Direction = Literal["write", "read"]
Transport = Literal["dev", "uring"]
Unit = Literal["k IOPS", "MB/s", "MiB", "µs", "x"]


@dataclass(frozen=True)
class Settings:
    """What one run of a cell needs to know."""

    runtime_s: float
    binaries: Path
    binaries_bytes: int
    mount_commands: dict[str, list[str]]
    """The targets that are zramfs: how another mount of each is made; the mount point and its size follow."""

    @property
    def ramp_s(self) -> float:
        """Return the time before fio begins to count."""
        return self.runtime_s / 4


@dataclass(frozen=True, kw_only=True)
class Cell(ABC):
    """One row of the table."""

    name: str
    title: str
    direction: Direction
    unit: Unit
    floors: Mapping[str, float] = field(default_factory=dict)
    """What zramfs's figure over a target's should reach, by target; where less is better, what it should not pass."""
    floors_on: Mapping[Transport, Mapping[str, float]] = field(default_factory=dict)
    """The same where zramfs has this transport: these stand above the others."""
    targets: tuple[str, ...] = ALL_TARGETS
    less_is_better: bool = False
    constants: Mapping[str, float] = field(default_factory=dict)
    """Targets that need no run: their figures are known."""
    companions: tuple["Cell", ...] = ()
    """Cells that read other figures from the output of the same run."""

    @property
    def rows(self) -> tuple["Cell", ...]:
        """Return the cell and its companions: a row of the table each."""
        return (self, *self.companions)

    @property
    def caption(self) -> str:
        """Return what is measured, for people: the title without what a variant is."""
        return self.title.partition(", otherwise ")[0]

    @property
    @abstractmethod
    def content(self) -> Content | None:
        """Return which data the device holds before the cell; None if it leaves the device alone."""

    @property
    def obstacle(self) -> str | None:
        """Return why the cell cannot be measured here, or None."""
        return None

    def floor(self, target: str, transport: Transport) -> float | None:
        """Return what the ratio to a target should reach."""
        return self.floors_on.get(transport, {}).get(target, self.floors.get(target))

    def before(self, block_file: Path, target: str) -> None:
        """Set the target up for the cell's next run."""
        if VARIANTS.get(target, target) in {OURS, BASE}:
            set_stream_policy(block_file, self.policy(target))

    def policy(self, target: str) -> str:
        """Return the `stream_policy` of a zramfs for this cell."""
        del target
        return "auto"

    @abstractmethod
    def command(self, block_file: Path, settings: Settings, target: str) -> list[str]:
        """Return the command that runs the cell once."""

    @abstractmethod
    def figure(self, output: Output, settings: Settings) -> float:
        """Return the figure in `unit`, from what the command said."""


@dataclass(frozen=True, kw_only=True)
class FioCell(Cell):
    """A fio job over the whole device, for a fixed time; `pattern` is fio's word for it.

    At queue depth 1 the engine is psync (one system call a request); deeper, libaio.
    """

    pattern: str
    block_bytes: int
    depth: int

    @property
    def content(self) -> Content:
        """Return fio's own data, as `fill_command` writes it."""
        return "fio"

    @property
    def caption(self) -> str:
        """Return the title, with its depth in words."""
        words = "one at a time" if self.depth == 1 else f"{self.depth} in flight"
        return super().caption.replace(f" QD{self.depth}", f", {words}")

    @property
    def engine(self) -> list[str]:
        """Return fio's options for the engine."""
        if self.depth == 1:
            return ["--ioengine=psync"]
        return ["--ioengine=libaio", f"--iodepth={self.depth}"]

    def command(self, block_file: Path, settings: Settings, target: str) -> list[str]:
        """Return the fio command line."""
        del target
        return [
            *fio_basics(block_file),
            "--name=bench",
            *self.engine,
            f"--rw={self.pattern}",
            f"--bs={self.block_bytes}",
            "--norandommap",
            "--time_based",
            f"--runtime={milliseconds(settings.runtime_s)}",
            f"--ramp_time={milliseconds(settings.ramp_s)}",
        ]

    def figure(self, output: Output, settings: Settings) -> float:
        """Return thousands of requests, or 10^6 bytes, a second."""
        del settings
        job = parse_fio(output.stdout)[0][self.direction]
        if not job["total_ios"]:
            raise BenchError(f"{self.name}: fio completed no request in its time")
        return float(job["iops"]) / 1e3 if self.unit == "k IOPS" else float(job["bw_bytes"]) / 1e6


@dataclass(frozen=True, kw_only=True)
class CallersCell(FioCell):
    """Several callers of one file, each with one request at a time; otherwise a single one."""

    callers: int

    def command(self, block_file: Path, settings: Settings, target: str) -> list[str]:
        """Return the fio command line."""
        jobs = 1 if target in VARIANTS else self.callers
        return [*super().command(block_file, settings, target), f"--numjobs={jobs}", "--group_reporting"]


@dataclass(frozen=True, kw_only=True)
class PinnedCell(FioCell):
    """A caller that stays on one CPU, the last one: where its daemon runs is what counts then."""

    def command(self, block_file: Path, settings: Settings, target: str) -> list[str]:
        """Return the fio command line, behind taskset."""
        cpu = max(os.sched_getaffinity(0))
        return ["taskset", "--cpu-list", str(cpu), *super().command(block_file, settings, target)]


def set_stream_policy(block_file: Path, policy: str) -> None:
    """Write a zramfs device's `stream_policy`."""
    (block_file.parent / "sys/block" / block_file.name / "stream_policy").write_text(policy)


@dataclass(frozen=True, kw_only=True)
class DdCell(Cell):
    """One pass of dd over real binaries, in blocks of 1 MiB, O_DIRECT on the device's side."""

    @property
    def content(self) -> Content:
        """Return the binaries for reading; writing brings its own data, so any will do."""
        return "binaries" if self.direction == "read" else "fio"

    def command(self, block_file: Path, settings: Settings, target: str) -> list[str]:
        """Return the dd command line."""
        del target
        if self.direction == "write":
            return dd_write_command(block_file, settings)
        count = settings.binaries_bytes // MIB
        return ["dd", f"if={block_file}", "of=/dev/null", "bs=1M", f"count={count}", "iflag=direct"]

    def figure(self, output: Output, settings: Settings) -> float:
        """Return 10^6 bytes a second."""
        found = re.search(r"^(\d+) bytes .*copied, ([\d.e+-]+) s", output.stderr, re.MULTILINE)
        if found is None or int(found[1]) != settings.binaries_bytes:
            raise BenchError(f"{self.name}: dd did not copy {settings.binaries_bytes} bytes: {output.stderr!r}")
        return int(found[1]) / float(found[2]) / 1e6


def dd_write_command(block_file: Path, settings: Settings) -> list[str]:
    """Return the dd that writes the binaries to the device."""
    return ["dd", f"if={settings.binaries}", f"of={block_file}", "bs=1M", "oflag=direct", "conv=notrunc"]


def fill_command(block_file: Path) -> list[str]:
    """Return the fio job that writes every page of the device once, compressible as in the cells."""
    return [*fio_basics(block_file), "--name=fill", "--rw=write", f"--bs={MIB}", "--ioengine=libaio", "--iodepth=4"]


def fio_basics(block_file: Path, *, size_bytes: int = DISK_BYTES) -> list[str]:
    """Return what every fio job has in common; its name follows.

    fio makes each block of 512 bytes 60 % compressible on its own, and fills its buffers anew for every
    request: no page is same-filled, none is incompressible, no two are equal.
    """
    return [
        *BASICS,
        f"--filename={file_name(block_file)}",
        f"--size={size_bytes}",
        "--direct=1",
        "--buffer_compress_percentage=60",
        "--output-format=json",
    ]


def parse_fio(text: str) -> list[dict[str, Any]]:
    """Return the jobs of fio's JSON; BenchError if one failed."""
    try:
        jobs: list[dict[str, Any]] = read_report(text)["jobs"]
    except CommandFailed as error:
        raise BenchError(str(error)) from error
    return jobs
