"""What a device tells of itself beside mm_stat and io_stat, under the kernel's names."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from zramfs.block.disk import Disk
from zramfs.block.request import OPERATIONS
from zramfs.latencies import Latencies
from zramfs.units import PAGE_SIZE

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


def request_counts(disk: Disk) -> RequestCounts:
    """Return what a disk has counted so far."""
    return RequestCounts(
        read=OperationCount(*disk.finished(OPERATIONS["read"])),
        write=OperationCount(*disk.finished(OPERATIONS["write"])),
        discard=OperationCount(*disk.finished(OPERATIONS["punch"])),
        flush=OperationCount(disk.flushes, 0, 0),
        in_flight=disk.in_flight,
        busy_ms=disk.busy_ms,
    )


def latencies(disk: Disk, before_ns: Mapping[str, int]) -> dict[str, Latencies]:
    """Return how long its requests took, by operation, since that was counted anew, and `total_times_ns` told these."""
    times_ns = total_times_ns(disk)
    return {
        name: Latencies(disk.latencies(OPERATIONS[operation]), times_ns[name] - before_ns.get(name, 0))
        for name, operation in _LATENCIES.items()
    }


def total_times_ns(disk: Disk) -> dict[str, int]:
    """Return how long all its requests took, by operation, since ever."""
    return {name: disk.finished(OPERATIONS[operation])[2] for name, operation in _LATENCIES.items()}
