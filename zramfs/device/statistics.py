"""What a device tells of itself, under the kernel's names."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from zramfs.block.disk import Disk
from zramfs.block.request import OPERATIONS
from zramfs.device.settings import DeviceSettings
from zramfs.errors import NotSupported
from zramfs.kernel_stats import IoStat, MmStat
from zramfs.latencies import Latencies
from zramfs.units import PAGE_SIZE
from zramfs.zcomp.statistics import StreamStatistics

_NS_PER_MS: Final = 1_000_000

_LATENCIES: Final = {"read": "read", "write": "write", "discard": "punch"}
"""What `latency_stat` calls the operations of a disk."""

_LARGEST_ZSPAGE_PAGES: Final = 8
"""What the pool may have to grow by for the next page (ZS_MAX_PAGES_PER_ZSPAGE)."""


@dataclass(frozen=True, slots=True)
class LimitStat:
    """What mem_limit does: `hits` are pages that it kept out, whose writes failed."""

    limit_bytes: int
    used_bytes: int
    hits: int

    @property
    def is_full(self) -> bool:
        """Whether the next page may be one of them."""
        return bool(self.limit_bytes) and self.used_bytes + _LARGEST_ZSPAGE_PAGES * PAGE_SIZE > self.limit_bytes


@dataclass(frozen=True, slots=True)
class OperationCount:
    """Finished requests of one kind: how many, their sectors of 512 bytes, and the time from arrival to answer."""

    ios: int
    sectors: int
    time_ns: int

    @property
    def time_ms(self) -> int:
        """The time in whole milliseconds, as the kernel shows it."""
        return self.time_ns // _NS_PER_MS


@dataclass(frozen=True, slots=True)
class RequestCounts:
    """Block-layer statistics, as /sys/block/*/stat shows them (Documentation/block/stat.rst)."""

    read: OperationCount
    write: OperationCount
    discard: OperationCount
    flush: OperationCount
    in_flight: int
    busy_ms: int


class DeviceStatistics:
    """What a device has counted, and what it holds. All methods belong to the event loop.

    Whoever counts is not troubled by a `reset_…`: what was counted is remembered, and what comes after is shown.
    """

    def __init__(self, disk: Disk, settings: DeviceSettings) -> None:
        self._disk = disk
        self._settings = settings
        self.forget()

    def forget(self) -> None:
        """Begin with nothing, as the device does after a reset."""
        self._streams_before = StreamStatistics()
        self._times_before_ns: Mapping[str, int] = {}

    def forget_streams(self) -> None:
        """Begin with no stream's counts: those there are have gone."""
        self._streams_before = StreamStatistics()

    def mm_stat(self) -> MmStat:
        """Memory, in the kernel's terms; zeros on an uninitialised device, but for the limit."""
        limit_bytes = self._settings.mem_limit_pages * PAGE_SIZE
        table = self._disk.table
        if table is None:
            return MmStat(0, 0, 0, limit_bytes, 0, 0, 0, 0, 0)
        return MmStat(
            orig_data_size=table.stored_pages * PAGE_SIZE,
            compr_data_size=table.compressed_bytes,
            mem_used_total=table.used_pages * PAGE_SIZE,
            mem_limit=limit_bytes,
            mem_used_max=table.peak_pages * PAGE_SIZE,
            same_pages=table.same_pages,
            pages_compacted=table.compacted_pages,
            huge_pages=table.huge_pages,
            huge_pages_since=table.huge_pages_since,
        )

    def reset_mem_used_max(self) -> None:
        """Let the peak be what is used now."""
        if self._disk.is_open:
            self._disk.table.reset_peak()

    def io_stat(self) -> IoStat:
        """Failures, and pages freed by discards."""
        freed = self._disk.table.freed_notifications if self._disk.is_open else 0
        return IoStat(self._disk.counts.failed_reads, self._disk.counts.failed_writes, freed)

    def request_counts(self) -> RequestCounts:
        """Requests so far, by kind, and those in flight."""
        counts = self._disk.counts
        return RequestCounts(
            read=OperationCount(*counts.finished(OPERATIONS["read"])),
            write=OperationCount(*counts.finished(OPERATIONS["write"])),
            discard=OperationCount(*counts.finished(OPERATIONS["punch"])),
            flush=OperationCount(counts.flushes, 0, 0),
            in_flight=self._disk.in_flight,
            busy_ms=counts.busy_ms,
        )

    def latencies(self) -> dict[str, Latencies]:
        """How long requests took, by operation."""
        times_ns = self._total_times_ns()
        return {
            name: Latencies(
                self._disk.counts.latencies(OPERATIONS[operation]), times_ns[name] - self._times_before_ns.get(name, 0)
            )
            for name, operation in _LATENCIES.items()
        }

    def reset_latencies(self) -> None:
        """Let `latencies` begin anew."""
        self._disk.counts.reset_latencies()
        self._times_before_ns = self._total_times_ns()

    def _total_times_ns(self) -> dict[str, int]:
        """Return how long all requests took, by operation, since ever."""
        return {name: self._disk.counts.finished(OPERATIONS[operation])[2] for name, operation in _LATENCIES.items()}

    def limit_stat(self) -> LimitStat:
        """What mem_limit does; no hits on an uninitialised device."""
        memory = self.mm_stat()
        hits = self._disk.table.limit_hits if self._disk.is_open else 0
        return LimitStat(memory.mem_limit, memory.mem_used_total, hits)

    def reset_limit_hits(self) -> None:
        """Count them anew, and log the next one."""
        if self._disk.is_open:
            self._disk.table.reset_limit_hits()
            self._disk.table.rearm_limit()

    def streams(self) -> StreamStatistics:
        """Pages by kind of stream; zeros on an uninitialised device."""
        return self._disk.zcomp.statistics().since(self._streams_before) if self._disk.is_open else StreamStatistics()

    def reset_streams(self) -> None:
        """Let the counts of `streams` begin anew."""
        if self._disk.is_open:
            self._streams_before = self._disk.zcomp.statistics()

    def accelerator(self) -> Mapping[str, float]:
        """What the accelerator did since the device was initialised; empty without one."""
        return self._disk.zcomp.accelerator_statistics() if self._disk.is_open else {}

    def reset_accelerator(self) -> None:
        """Let the accelerator's counts begin anew; NotSupported if the streams are another package's."""
        if self._disk.is_open and not self._disk.zcomp.reset_accelerator_statistics():
            raise NotSupported(f"the streams of {self._disk.name} cannot count anew")

    def lock_waits(self) -> int:
        """How often a thread waited for a lock of the slots, the pool or the streams."""
        table, zcomp = self._disk.table, self._disk.zcomp
        return table.lock_waits + table.pool.lock_waits() + zcomp.lock_waits() if self._disk.is_open else 0
