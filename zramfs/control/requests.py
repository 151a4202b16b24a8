"""What became of the requests of a device: io_stat, debug_stat, the block layer's stat, and how long they took."""

from zramfs.contracts import Attribute, ControlTree
from zramfs.control.modes import READ_ONLY, READ_WRITE
from zramfs.control.values import key_value_lines, require_zero
from zramfs.device.device import ZramDevice
from zramfs.device.statistics import OperationCount
from zramfs.latencies import format_latencies


class RequestAttributes:
    """Counts of requests."""

    def __init__(self, device: ZramDevice) -> None:
        self._device = device

    def tree(self) -> ControlTree:
        """Return the family's files."""
        return {
            "io_stat": Attribute(mode=READ_ONLY, show=self.show_io_stat),
            "debug_stat": Attribute(mode=READ_ONLY, show=lambda: f"version: 1\n{0} {0:8d}\n"),
            "stat": Attribute(mode=READ_ONLY, show=self.show_stat),
            "latency_stat": Attribute(mode=READ_WRITE, show=self.show_latency_stat, store=self.store_latency_stat),
        }

    def show_io_stat(self) -> str:
        """io_stat_show: the third number is a literal 0."""
        stat = self._device.statistics.io_stat()
        return f"{stat.failed_reads:8d} {stat.failed_writes:8d} 0 {stat.notify_free:8d}\n"

    def show_stat(self) -> str:
        """part_stat_show: 17 numbers of the block layer (Documentation/block/stat.rst); zramfs merges nothing."""
        counts = self._device.statistics.request_counts()
        total_ms = sum(each.time_ms for each in (counts.read, counts.write, counts.discard, counts.flush))
        numbers = [
            *_count_fields(counts.read),
            *_count_fields(counts.write),
            *(counts.in_flight, counts.busy_ms, total_ms),
            *_count_fields(counts.discard),
            *(counts.flush.ios, counts.flush.time_ms),
        ]
        return " ".join(f"{number:8d}" for number in numbers) + "\n"

    def show_latency_stat(self) -> str:
        """Ours: requests by operation and latency, from arrival to answer."""
        return key_value_lines(format_latencies(self._device.statistics.latencies()))

    async def store_latency_stat(self, text: str) -> None:
        """Ours: 0 counts them anew."""
        require_zero(text)
        self._device.statistics.reset_latencies()


def _count_fields(count: OperationCount) -> tuple[int, int, int, int]:
    return count.ios, 0, count.sectors, count.time_ms
