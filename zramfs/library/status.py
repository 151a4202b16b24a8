"""What a disk holds and has done, typed: the numbers of `zramfs status --json` under the same names."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self, TypeVar

from zramfs.kernel_stats import IoStat, MmStat

_Kind = TypeVar("_Kind")

Numbers = Mapping[str, float | str]
"""Figures by name, where the accelerator or the transport says which there are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DaemonStatus:
    """The daemon of a mount: its process and its memory, in bytes; `transport` is how requests arrive."""

    pid: int
    version: str
    rss_bytes: int
    request_bytes: int
    request_limit_bytes: int
    transport: Numbers


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamStat:
    """Which streams compressed how many pages; `inflight` are those that managed streams have in hand.

    `managed_error` says why there are no managed streams, where there should be.
    """

    policy: str
    percpu_pages: int
    managed_pages: int
    fallback_pages: int
    managed_streams: int
    percpu_streams: int
    inflight: int
    inflight_max: int
    percpu_waits: int
    managed_error: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class AlgorithmStatus:
    """An algorithm of a device: priority 0 compresses what is written, 1 to 3 recompress."""

    priority: int
    name: str
    parameters: Numbers


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceStatus:
    """A device; `disksize` is 0 before it has one. `accel` has the accelerator's settings and counters by name."""

    name: str
    disksize: int
    algorithm: str
    algorithms: tuple[AlgorithmStatus, ...]
    mm_stat: MmStat
    io_stat: IoStat
    streams: StreamStat
    accel: Numbers

    @property
    def ratio(self) -> float | None:
        """Data over compressed data; None while nothing is compressed. What the pool needs besides is not in it."""
        compressed_bytes = self.mm_stat.compr_data_size
        return self.mm_stat.orig_data_size / compressed_bytes if compressed_bytes else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """A mount: its daemon, and its devices in the order of their numbers."""

    daemon: DaemonStatus
    devices: tuple[DeviceStatus, ...]

    @classmethod
    def of(cls, report: Mapping[str, Any]) -> Self:
        """Read what `zramfs status --json` prints; figures that have no field here are left out."""
        return cls(
            daemon=_made(DaemonStatus, report["daemon"]), devices=tuple(_device(each) for each in report["devices"])
        )


def _device(report: Mapping[str, Any]) -> DeviceStatus:
    return _made(
        DeviceStatus,
        {
            **report,
            "algorithms": tuple(_algorithm(each) for each in report["algorithms"]),
            "mm_stat": _made(MmStat, report["mm_stat"]),
            "io_stat": _made(IoStat, report["io_stat"]),
            "streams": _made(StreamStat, report["streams"]),
        },
    )


def _algorithm(report: Mapping[str, Any]) -> AlgorithmStatus:
    parameters = {key: value for key, value in report.items() if key not in ("priority", "name")}
    return AlgorithmStatus(priority=report["priority"], name=report["name"], parameters=parameters)


def _made(kind: type[_Kind], report: Mapping[str, Any]) -> _Kind:
    return kind(**{name: report[name] for name in kind.__annotations__ if name in report})
