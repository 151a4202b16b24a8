"""A synchronous 4K writer beside a flood of 1M writes: its latency, what it gets done, and what the flood does."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from cells import DISK_BYTES, KIB, MIB, VARIANTS, Cell, Content, Settings, fio_basics, parse_fio
from process import BenchError, Output

from zramfs.measure.fio import milliseconds


@dataclass(frozen=True, kw_only=True)
class FloodCell(Cell):
    """A run of both, and one of its figures; otherwise, or always, policy percpu."""

    figure_of: Literal["p99", "sync", "flood"]
    always_percpu: bool = False

    @property
    def content(self) -> Content:
        """Return fio's own data."""
        return "fio"

    def policy(self, target: str) -> str:
        """Return the condition: `auto` is that of all other cells."""
        return "percpu" if self.always_percpu or target in VARIANTS else "auto"

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
        """Return µs, thousands of requests a second, or 10^6 bytes a second."""
        del settings
        flood, sync = (job["write"] for job in parse_fio(output.stdout))
        if not sync["clat_ns"]["N"]:
            raise BenchError(f"{self.name}: the synchronous writer completed no request in its time")
        if self.figure_of == "p99":
            return float(sync["clat_ns"]["percentile"]["99.000000"]) / 1e3
        return float(sync["iops"]) / 1e3 if self.figure_of == "sync" else float(flood["bw_bytes"]) / 1e6


@dataclass(frozen=True, kw_only=True)
class ZerosFloodCell(FloodCell):
    """How far that latency could go down: in a flood that has only to be received; otherwise in the usual one, percpu.

    Zeros are neither compressed nor stored. They come at a rate that percpu reaches with data on two CPUs. No engine
    takes a CPU away in either.
    """

    rate_bytes_s: int

    def flood_options(self, target: str) -> list[str]:
        """Return what makes it zeros, for zramfs."""
        if target in VARIANTS:
            return []
        return ["--buffer_compress_percentage=0", "--zero_buffers", f"--rate={self.rate_bytes_s}"]
