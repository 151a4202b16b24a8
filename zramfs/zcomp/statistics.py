"""What `stream_stat` tells of a device's streams."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Self


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

    def since(self, before: Self) -> Self:
        """Return what came after `before`; the streams, and what the accelerator has in flight, are as they are now.

        A stream that is at work may have counted pages for one key, and not yet for the other: no count is below 0.
        """
        by_cpu = {
            cpu: max(pages - before.percpu_pages_by_cpu.get(cpu, 0), 0)
            for cpu, pages in self.percpu_pages_by_cpu.items()
        }
        return replace(
            self,
            percpu_pages=sum(by_cpu.values()),
            managed_pages=self.managed_pages - before.managed_pages,
            fallback_pages=self.fallback_pages - before.fallback_pages,
            percpu_waits=self.percpu_waits - before.percpu_waits,
            percpu_pages_by_cpu=by_cpu,
        )
