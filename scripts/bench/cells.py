"""What is measured: the cells, each a command on a target's block file and a figure read from its output.

Floors are zramfs's figure over another target's: those the project promises (docs/performance.md).
"""

import json
import re
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from process import BenchError, Output

KIB = 1 << 10
MIB = 1 << 20
DISK_BYTES = 1 << 30

OURS = "zramfs"
OTHERWISE = "otherwise"
"""zramfs itself, under the condition that a cell compares with."""

ALL_TARGETS = (OURS, "peer", "kernel")

Content = Literal["fio", "binaries"]
Direction = Literal["write", "read"]


@dataclass(frozen=True)
class Settings:
    """What one run of a cell needs to know."""

    runtime_s: float
    binaries: Path
    binaries_bytes: int

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
    unit: Literal["k IOPS", "MB/s", "µs"]
    floors: dict[str, float] = field(default_factory=dict)
    """What zramfs's figure over a target's should reach, by target; where less is better, what it should not pass."""
    targets: tuple[str, ...] = ALL_TARGETS
    less_is_better: bool = False

    @property
    @abstractmethod
    def content(self) -> Content:
        """Return which data the device holds before the cell."""

    def before(self, block_file: Path, target: str) -> None:  # noqa: B027 - most need nothing
        """Set the target up for the cell's next run."""

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
class WritersCell(FioCell):
    """Several writers of one file, each with one request at a time; otherwise a single one."""

    writers: int

    def command(self, block_file: Path, settings: Settings, target: str) -> list[str]:
        """Return the fio command line."""
        jobs = 1 if target == OTHERWISE else self.writers
        return [*super().command(block_file, settings, target), f"--numjobs={jobs}", "--group_reporting"]


@dataclass(frozen=True, kw_only=True)
class FloodCell(Cell):
    """The 99th percentile of a synchronous 4K writer's latency beside a flood of 1M writes; otherwise policy percpu."""

    @property
    def content(self) -> Content:
        """Return fio's own data."""
        return "fio"

    def before(self, block_file: Path, target: str) -> None:
        """Choose the policy; `auto` is the default, and that of all other cells."""
        set_stream_policy(block_file, "percpu" if target == OTHERWISE else "auto")

    def command(self, block_file: Path, settings: Settings, target: str) -> list[str]:
        """Return the fio command line: two jobs, each on its half of the device."""
        half = DISK_BYTES // 2
        return [
            *fio_basics(block_file, size_bytes=half),
            "--time_based",
            f"--runtime={milliseconds(settings.runtime_s)}",
            f"--ramp_time={milliseconds(settings.ramp_s)}",
            *("--name=flood", "--rw=write", f"--bs={MIB}", "--ioengine=libaio", "--iodepth=8"),
            *self.flood_options(target),
            *("--name=sync", f"--offset={half}", "--rw=randwrite", f"--bs={4 * KIB}", "--ioengine=psync"),
            *("--sync=1", "--norandommap"),
        ]

    def flood_options(self, target: str) -> list[str]:
        """Return what else fio is told of the flood."""
        del target
        return []

    def figure(self, output: Output, settings: Settings) -> float:
        """Return µs."""
        del settings
        latency = parse_fio(output.stdout)[1]["write"]["clat_ns"]
        if not latency["N"]:
            raise BenchError(f"{self.name}: the synchronous writer completed no request in its time")
        return float(latency["percentile"]["99.000000"]) / 1e3


@dataclass(frozen=True, kw_only=True)
class ZerosFloodCell(FloodCell):
    """How far that latency could go down: in a flood that has only to be received; otherwise in the usual one, percpu.

    Zeros are neither compressed nor stored. They come at a rate that percpu reaches with data on two CPUs.
    """

    rate_bytes_s: int

    def before(self, block_file: Path, target: str) -> None:
        """Choose percpu for both: no engine takes a CPU away."""
        del target
        set_stream_policy(block_file, "percpu")

    def flood_options(self, target: str) -> list[str]:
        """Return what makes it zeros, for zramfs."""
        if target == OTHERWISE:
            return []
        return ["--buffer_compress_percentage=0", "--zero_buffers", f"--rate={self.rate_bytes_s}"]


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
            return [
                "dd",
                f"if={settings.binaries}",
                f"of={block_file}",
                "bs=1M",
                "oflag=direct",
                "conv=notrunc",
            ]
        count = settings.binaries_bytes // MIB
        return ["dd", f"if={block_file}", "of=/dev/null", "bs=1M", f"count={count}", "iflag=direct"]

    def figure(self, output: Output, settings: Settings) -> float:
        """Return 10^6 bytes a second."""
        found = re.search(r"^(\d+) bytes .*copied, ([\d.e+-]+) s", output.stderr, re.MULTILINE)
        if found is None or int(found[1]) != settings.binaries_bytes:
            raise BenchError(f"{self.name}: dd did not copy {settings.binaries_bytes} bytes: {output.stderr!r}")
        return int(found[1]) / float(found[2]) / 1e6


def random_4k(direction: Direction, depth: int, **floors: float) -> FioCell:
    """Return a cell of small requests all over the device, counted in requests a second."""
    return FioCell(
        name=f"4k-rand{direction}-qd{depth}",
        title=f"4K random {direction} QD{depth}",
        direction=direction,
        unit="k IOPS",
        pattern=f"rand{direction}",
        block_bytes=4 * KIB,
        depth=depth,
        floors=floors,
        targets=(*ALL_TARGETS, "nothing"),
    )


def sequential(size: str, direction: Direction, depth: int, **floors: float) -> FioCell:
    """Return a cell of large requests one after the other, counted in bytes a second."""
    return FioCell(
        name=f"{size.lower()}-{direction}-qd{depth}",
        title=f"{size} {direction} QD{depth}",
        direction=direction,
        unit="MB/s",
        pattern=direction,
        block_bytes={"128K": 128 * KIB, "1M": MIB}[size],
        depth=depth,
        floors=floors,
    )


def binaries(direction: Direction, **floors: float) -> DdCell:
    """Return a cell of dd."""
    title = f"dd 1M {direction}, binaries"
    return DdCell(name=f"dd-{direction}", title=title, direction=direction, unit="MB/s", floors=floors)


def writers_4k(writers: int, **floors: float) -> WritersCell:
    """Return a cell of several psync writers."""
    return WritersCell(
        name=f"4k-randwrite-{writers}-writers",
        title=f"4K random write, {writers} writers, otherwise 1",
        direction="write",
        unit="k IOPS",
        pattern="randwrite",
        block_bytes=4 * KIB,
        depth=1,
        writers=writers,
        floors=floors,
        targets=(OURS, OTHERWISE),
    )


def flood(**floors: float) -> FloodCell:
    """Return the cell of the synchronous writer beside a flood."""
    return FloodCell(
        name="4k-sync-in-flood-p99",
        title="4K sync p99 in a 1M flood, otherwise percpu",
        direction="write",
        unit="µs",
        floors=floors,
        targets=(OURS, OTHERWISE),
        less_is_better=True,
    )


def flood_of_zeros(rate_mib_s: int) -> ZerosFloodCell:
    """Return the cell of what receiving such a flood costs a synchronous writer, whatever is done with it."""
    return ZerosFloodCell(
        name="4k-sync-in-zeros-p99",
        title=f"the same in one of zeros, {rate_mib_s} MiB/s",
        direction="write",
        unit="µs",
        targets=(OURS, OTHERWISE),
        less_is_better=True,
        rate_bytes_s=rate_mib_s * MIB,
    )


CELLS: tuple[Cell, ...] = (
    random_4k("write", 1, peer=2.5),
    random_4k("write", 32, peer=4.0, nothing=0.7),
    random_4k("read", 1, peer=2.0),
    random_4k("read", 32, peer=2.5),
    sequential("128K", "write", 1, kernel=0.9),
    sequential("128K", "read", 1),
    sequential("1M", "write", 4, kernel=1.6),
    sequential("1M", "read", 4, kernel=1.3),
    binaries("write", kernel=1.2),
    binaries("read", kernel=1.1),
    writers_4k(4, otherwise=1.5),
    flood(otherwise=0.5),
    flood_of_zeros(1000),
)


def fill_command(block_file: Path) -> list[str]:
    """Return the fio job that writes every page of the device once, compressible as in the cells."""
    return [*fio_basics(block_file), "--name=fill", "--rw=write", f"--bs={MIB}", "--ioengine=libaio", "--iodepth=4"]


def fio_basics(block_file: Path, *, size_bytes: int = DISK_BYTES) -> list[str]:
    """Return what every fio job has in common; its name follows.

    fio makes each block of 512 bytes 60 % compressible on its own, and fills its buffers anew for every
    request: no page is same-filled, none is incompressible, no two are equal. Jobs are threads, because a
    job that is a process begins a session of its own, and outlives a fio that is killed.
    """
    return [
        "fio",
        "--thread",
        f"--filename={str(block_file).replace(':', chr(92) + ':')}",
        f"--size={size_bytes}",
        "--direct=1",
        "--buffer_compress_percentage=60",
        "--fallocate=none",
        "--allow_file_create=0",
        "--output-format=json",
    ]


def parse_fio(text: str) -> list[dict[str, Any]]:
    """Return the jobs of fio's JSON, which warnings may precede."""
    try:
        jobs: list[dict[str, Any]] = json.loads(text[text.index("{") :])["jobs"]
    except (ValueError, LookupError) as error:
        raise BenchError(f"fio's output is not the JSON it should be: {text[:200]!r}") from error
    if errors := [job["error"] for job in jobs if job["error"]]:
        raise BenchError(f"fio reports error {errors[0]}")
    return jobs


def milliseconds(seconds: float) -> str:
    """Return `seconds` as fio writes a time."""
    return f"{round(seconds * 1e3)}ms"
