"""What is measured: the cells, each a command on a target's block file and a figure read from its output.

Floors are zramfs's figure over another target's: those the project promises (docs/performance.md).
"""

import json
import re
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from process import BenchError, Output

KIB = 1 << 10
MIB = 1 << 20
DISK_BYTES = 1 << 30

PEER_FLOORS = {"write": 2.0, "read": 1.3}
KERNEL_FLOOR = 1.0

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
    unit: Literal["k IOPS", "MB/s"]
    kernel_floor: float | None = None

    @property
    def peer_floor(self) -> float:
        """Return how many times the peer's figure zramfs promises."""
        return PEER_FLOORS[self.direction]

    @property
    @abstractmethod
    def content(self) -> Content:
        """Return which data the device holds before the cell."""

    @abstractmethod
    def command(self, block_file: Path, settings: Settings) -> list[str]:
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

    def command(self, block_file: Path, settings: Settings) -> list[str]:
        """Return the fio command line."""
        return [
            *fio_basics(block_file),
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
        job = parse_fio(output.stdout)[self.direction]
        if not job["total_ios"]:
            raise BenchError(f"{self.name}: fio completed no request in its time")
        return float(job["iops"]) / 1e3 if self.unit == "k IOPS" else float(job["bw_bytes"]) / 1e6


@dataclass(frozen=True, kw_only=True)
class DdCell(Cell):
    """One pass of dd over real binaries, in blocks of 1 MiB, O_DIRECT on the device's side."""

    @property
    def content(self) -> Content:
        """Return the binaries for reading; writing brings its own data, so any will do."""
        return "binaries" if self.direction == "read" else "fio"

    def command(self, block_file: Path, settings: Settings) -> list[str]:
        """Return the dd command line."""
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


def random_4k(direction: Direction, depth: int) -> FioCell:
    """Return a cell of small requests all over the device, counted in requests a second."""
    return FioCell(
        name=f"4k-rand{direction}-qd{depth}",
        title=f"4K random {direction} QD{depth}",
        direction=direction,
        unit="k IOPS",
        pattern=f"rand{direction}",
        block_bytes=4 * KIB,
        depth=depth,
    )


def sequential(size: str, direction: Direction, depth: int, *, kernel_floor: float | None = None) -> FioCell:
    """Return a cell of large requests one after the other, counted in bytes a second."""
    return FioCell(
        name=f"{size.lower()}-{direction}-qd{depth}",
        title=f"{size} {direction} QD{depth}",
        direction=direction,
        unit="MB/s",
        pattern=direction,
        block_bytes={"128K": 128 * KIB, "1M": MIB}[size],
        depth=depth,
        kernel_floor=kernel_floor,
    )


def binaries(direction: Direction) -> DdCell:
    """Return a cell of dd."""
    return DdCell(name=f"dd-{direction}", title=f"dd 1M {direction}, binaries", direction=direction, unit="MB/s")


CELLS: tuple[Cell, ...] = (
    random_4k("write", 1),
    random_4k("write", 32),
    random_4k("read", 1),
    random_4k("read", 32),
    sequential("128K", "write", 1),
    sequential("128K", "read", 1),
    sequential("1M", "write", 4, kernel_floor=KERNEL_FLOOR),
    sequential("1M", "read", 4, kernel_floor=KERNEL_FLOOR),
    binaries("write"),
    binaries("read"),
)


def fill_command(block_file: Path) -> list[str]:
    """Return the fio job that writes every page of the device once, compressible as in the cells."""
    return [*fio_basics(block_file), "--rw=write", f"--bs={MIB}", "--ioengine=libaio", "--iodepth=4"]


def fio_basics(block_file: Path) -> list[str]:
    """Return what every fio job has in common.

    fio makes each block of 512 bytes 60 % compressible on its own, and fills its buffers anew for every
    request: no page is same-filled, none is incompressible, no two are equal. Jobs are threads, because a
    job that is a process begins a session of its own, and outlives a fio that is killed.
    """
    return [
        "fio",
        "--name=bench",
        "--thread",
        f"--filename={str(block_file).replace(':', chr(92) + ':')}",
        f"--size={DISK_BYTES}",
        "--direct=1",
        "--buffer_compress_percentage=60",
        "--fallocate=none",
        "--allow_file_create=0",
        "--output-format=json",
    ]


def parse_fio(text: str) -> dict[str, dict[str, float]]:
    """Return the one job of fio's JSON, which warnings may precede."""
    try:
        job: dict[str, dict[str, float]] = json.loads(text[text.index("{") :])["jobs"][0]
    except (ValueError, LookupError) as error:
        raise BenchError(f"fio's output is not the JSON it should be: {text[:200]!r}") from error
    if job["error"]:
        raise BenchError(f"fio reports error {job['error']}")
    return job


def milliseconds(seconds: float) -> str:
    """Return `seconds` as fio writes a time."""
    return f"{round(seconds * 1e3)}ms"
