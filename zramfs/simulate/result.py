"""What a simulation answers, as frozen values. Times are virtual, and in the unit of the field's name."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from zramfs.simulate.scenario import Scenario

PERCENTILES: Final = (50.0, 90.0, 99.0, 99.9, 99.99)
"""Those that are shown."""

REQUEST_CLASSES: Final = ("sync_writes", "async_writes", "reads")
"""Requests whose latencies are told apart, in the order of their numbers in the engine."""

CPU_PURPOSES: Final = (
    *("compress", "decompress", "page", "request", "wake", "submit", "poll", "completion", "redo"),
    "make",
    "emulate",
)
"""What CPUs spend time on, in the order of their numbers in the engine.

`submit` and `poll` are the driver's work for a device, `redo` the software's for pages that a device did not do. `make`
is the load's own time, and `emulate` that of threads that stand for hardware: zram's costs have neither.
"""

NOT_OURS: Final = ("make", "emulate")
"""Purposes that are no cost of zram."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Latency:
    """From the arrival of a request to its end, waiting for a CPU included; of those that ended while it was measured.

    `mean_error_us`: half the width of the mean's 95 % confidence interval, by batch means; 0 with too few requests.
    `bins` are (lower edge in µs, requests), each less than 1/64 wide; percentiles are upper edges of them.
    """

    requests: int
    mean_us: float
    mean_error_us: float
    max_us: float
    percentiles_us: Mapping[float, float]
    bins: tuple[tuple[float, int], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class PageCounts:
    """Pages, by the kind of stream that took them.

    `percpu`: of writes that prefer per-CPU streams. `managed`: taken by a device, `polled` of them with the caller's
    CPU waiting. `fallback`: by a per-CPU stream for want of a managed one. `redone`: of those of a device, again in
    software. `read_software` and `read_device`: of reads.
    """

    percpu: int
    managed: int
    polled: int
    fallback: int
    redone: int
    read_software: int
    read_device: int

    @property
    def written(self) -> int:
        """All pages of writes."""
        return self.percpu + self.managed + self.fallback

    @property
    def fallback_share(self) -> float:
        """Of the pages that prefer a managed stream; 0 if none does."""
        wanted = self.managed + self.fallback
        return self.fallback / wanted if wanted else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class LockWaits:
    """How often a task waited for the stream of its CPU, and how long."""

    count: int
    mean_us: float
    max_us: float


@dataclass(frozen=True, slots=True)
class Series:
    """A number over time: for each interval of `interval_s`, from time 0, its mean by time, and its highest value.

    At most 512 intervals, however long the simulation.
    """

    interval_s: float
    means: tuple[float, ...]
    maxima: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceResult:
    """What one device did. `busy_share`: of its engines' time. `refused`: how often there was no descriptor of it.

    `depth`: descriptors in use, one for each page.
    """

    name: str
    pages: int
    runs: int
    interrupts: int
    busy_share: float
    refused: int
    faults: Mapping[str, int]
    lost_runs: int
    depth: Series


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadResult:
    """What became of one load's requests: all of them, from beginning to end, not only those that were measured.

    `dropped`: arrivals of an open load that found 65,536 others waiting.
    """

    name: str
    submitted: int
    ended: int
    dropped: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """Everything that was measured, from `scenario.warmup_us` on, for `measured_s` of virtual time.

    `is_partial`: it was interrupted, and covers only what was simulated by then. `wall_s`: how long that took.
    """

    scenario: Scenario
    is_partial: bool
    measured_s: float
    wall_s: float
    events: int
    latencies: Mapping[str, Latency]
    pages: PageCounts
    lock_waits: LockWaits
    cpu_seconds: Mapping[str, float]
    devices: tuple[DeviceResult, ...]
    loads: tuple[LoadResult, ...]

    @property
    def written_pages_per_s(self) -> float:
        """Throughput of writes."""
        return self.pages.written / self.measured_s if self.measured_s else 0.0

    @property
    def read_pages_per_s(self) -> float:
        """Throughput of reads."""
        pages = self.pages.read_software + self.pages.read_device
        return pages / self.measured_s if self.measured_s else 0.0

    @property
    def cpu_seconds_per_gib(self) -> float:
        """CPU time of all kinds for each GiB written or read; 0 if there is none."""
        pages = self.pages.written + self.pages.read_software + self.pages.read_device
        spent_s = sum(seconds for purpose, seconds in self.cpu_seconds.items() if purpose not in NOT_OURS)
        return spent_s / (pages / (1 << 18)) if pages else 0.0

    @property
    def cpu_share(self) -> float:
        """Of the time of all CPUs."""
        available_s = self.measured_s * self.scenario.machine.cpus
        return sum(self.cpu_seconds.values()) / available_s if available_s else 0.0
