"""What `stream_stat` tells of a device's streams."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field


@dataclass(frozen=True, slots=True)
class StreamStatistics:
    """Pages written by the kind of stream that took them, and the streams there are.

    `percpu_waits` is how often a writer waited for the stream of its CPU; `percpu_pages_by_cpu` adds up to
    `percpu_pages`.
    """

    percpu_pages: int = 0
    managed_pages: int = 0
    fallback_pages: int = 0
    managed_streams: int = 0
    percpu_streams: int = 0
    inflight: int = 0
    inflight_max: int = 0
    percpu_waits: int = 0
    percpu_pages_by_cpu: Mapping[int, int] = field(default_factory=dict)

    def counters(self) -> dict[str, int]:
        """Return each count by its key in `stream_stat`: those of a CPU are called percpu_pages_cpuN."""
        counters = asdict(self)
        by_cpu = counters.pop("percpu_pages_by_cpu")
        return counters | {f"percpu_pages_cpu{cpu}": pages for cpu, pages in by_cpu.items()}
