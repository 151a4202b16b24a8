"""Reports of mounts as metrics of Prometheus: names, units and labels of docs/metrics.md."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
)
from prometheus_client.registry import Collector, CollectorRegistry

from zramfs.cli.report import latencies_of
from zramfs.units import PAGE_SIZE

Report = Mapping[str, Any]
Family = CounterMetricFamily | GaugeMetricFamily | HistogramMetricFamily | InfoMetricFamily

_OF_MOUNT: Final = ("mountpoint",)
_OF_DEVICE: Final = ("mountpoint", "device")

_BUCKETS_NS: Final = tuple(1 << power for power in range(10, 31))
"""1 µs to 1.1 s, each twice the one before: edges of the daemon's bins, so that each count is exact."""

_NS_PER_S: Final = 1e9
_MS_PER_S: Final = 1e3
_US_PER_S: Final = 1e6

_Sample = tuple[Sequence[str], float]


def _gauge(name: str, text: str, value: Callable[[Report], float]) -> tuple[type, str, str, Any, tuple[str, ...]]:
    return GaugeMetricFamily, name, text, lambda device: [((), value(device))], ()


def _counter(name: str, text: str, value: Callable[[Report], float]) -> tuple[type, str, str, Any, tuple[str, ...]]:
    return CounterMetricFamily, name, text, lambda device: [((), value(device))], ()


def _memory(key: str, unit: int = 1) -> Callable[[Report], float]:
    return lambda device: device["mm_stat"][key] * unit


def _accel(key: str, unit: float = 1) -> Callable[[Report], float]:
    return lambda device: device["accel"].get(key, 0) / unit


def _by_operation(key: str) -> Callable[[Report], list[_Sample]]:
    operations = ("read", "write", "discard")
    return lambda device: [((operation,), device["requests"][operation][key]) for operation in operations]


def _failures(device: Report) -> list[_Sample]:
    return [((operation,), device["io_stat"][f"failed_{operation}s"]) for operation in ("read", "write")]


def _stream_pages(device: Report) -> list[_Sample]:
    return [((kind,), device["streams"][f"{kind}_pages"]) for kind in ("percpu", "managed", "fallback")]


def _pages_by_cpu(device: Report) -> list[_Sample]:
    prefix = "percpu_pages_cpu"
    streams = device["streams"].items()
    return [((key.removeprefix(prefix),), pages) for key, pages in streams if key.startswith(prefix)]


_DEVICE_METRICS: Final = (
    _gauge("zramfs_size_bytes", "Size of the block file; 0 while it has none.", lambda d: d["disksize"]),
    _gauge("zramfs_data_bytes", "Data that is stored, uncompressed.", _memory("orig_data_size")),
    _gauge("zramfs_compressed_bytes", "Data that is stored, compressed.", _memory("compr_data_size")),
    _gauge("zramfs_memory_used_bytes", "Memory of the pool, its overhead included.", _memory("mem_used_total")),
    _gauge("zramfs_memory_used_peak_bytes", "Most memory since mem_used_max was reset.", _memory("mem_used_max")),
    _gauge("zramfs_memory_limit_bytes", "mem_limit; 0 for none.", _memory("mem_limit")),
    _gauge("zramfs_memory_limit_full", "1 while the next page may not fit.", lambda d: d["mem_limit_stat"]["is_full"]),
    _counter("zramfs_memory_limit_hits", "Pages that mem_limit kept out.", lambda d: d["mem_limit_stat"]["hits"]),
    _gauge("zramfs_same_bytes", "Data in pages filled with one value.", _memory("same_pages", PAGE_SIZE)),
    _gauge("zramfs_huge_bytes", "Data in pages stored raw.", _memory("huge_pages", PAGE_SIZE)),
    _counter("zramfs_huge_pages_stored", "Pages that were stored raw.", _memory("huge_pages_since")),
    _counter("zramfs_compacted_pages", "Pages of memory freed by compaction.", _memory("pages_compacted")),
    (CounterMetricFamily, "zramfs_requests", "Requests that have finished.", _by_operation("ios"), ("operation",)),
    (CounterMetricFamily, "zramfs_request_bytes", "Bytes of them.", _by_operation("bytes"), ("operation",)),
    (CounterMetricFamily, "zramfs_failed_requests", "Requests that failed.", _failures, ("operation",)),
    _gauge("zramfs_requests_in_flight", "Requests that have no answer yet.", lambda d: d["requests"]["in_flight"]),
    _counter("zramfs_busy_seconds", "Time with a request in flight.", lambda d: d["requests"]["busy_ms"] / _MS_PER_S),
    (CounterMetricFamily, "zramfs_stream_pages", "Pages written by kind of stream.", _stream_pages, ("stream",)),
    (CounterMetricFamily, "zramfs_percpu_pages", "Pages by the per-CPU stream of a CPU.", _pages_by_cpu, ("cpu",)),
    _counter("zramfs_percpu_waits", "Waits for a per-CPU stream.", lambda d: d["streams"]["percpu_waits"]),
    _gauge("zramfs_accelerator_in_flight_pages", "Descriptors in use.", lambda d: d["streams"]["inflight"]),
    _gauge("zramfs_accelerator_queue_depth", "Descriptors of the queue.", _accel("queue_depth")),
    _counter("zramfs_accelerator_submitted_pages", "Pages given to engines.", _accel("submitted_pages")),
    _counter("zramfs_accelerator_polled_pages", "Pages complete at submission.", _accel("polled_pages")),
    _counter("zramfs_accelerator_queue_full", "Times that the queue was full.", _accel("queue_full")),
    _counter("zramfs_accelerator_late_completions", "Runs later than the model.", _accel("late_completions")),
    _gauge("zramfs_accelerator_latest_seconds", "The most that one was late.", _accel("late_max_us", _US_PER_S)),
    _counter("zramfs_accelerator_errors", "Descriptors that failed.", _accel("completion_errors")),
    _counter("zramfs_accelerator_redone_pages", "Pages redone in software.", _accel("software_redone")),
    _gauge("zramfs_backing_pages", "Pages in the backing device.", lambda d: d["bd_stat"]["bd_count"]),
    _counter("zramfs_backing_read_pages", "Pages read from there.", lambda d: d["bd_stat"]["bd_reads"]),
    _counter("zramfs_backing_written_pages", "Pages written there.", lambda d: d["bd_stat"]["bd_writes"]),
)
"""Kind, name (a counter's without `_total`), help, samples of a device, and their labels beside those of devices."""

_DAEMON_METRICS: Final = (
    ("zramfs_daemon_resident_bytes", "Resident memory of the daemon.", "rss_bytes"),
    ("zramfs_daemon_waiting_write_bytes", "Memory of writes that end later.", "request_bytes"),
    ("zramfs_daemon_waiting_write_limit_bytes", "The most of it.", "request_limit_bytes"),
)


class ReportCollector(Collector):
    """Asks `read` for reports of mounts (`overview`) at each scrape; whatever it raises fails the scrape."""

    def __init__(self, read: Callable[[], Sequence[Report]]) -> None:
        self._read = read

    def collect(self) -> Iterator[Family]:
        """Return all families, those of dead mounts with `zramfs_up` alone."""
        reports = self._read()
        living = [report for report in reports if report["state"] == "live"]
        up = GaugeMetricFamily("zramfs_up", "1 if the daemon answers.", labels=_OF_MOUNT)
        for report in reports:
            up.add_metric([report["mountpoint"]], report["state"] == "live")
        yield up
        yield from _of_daemons(living)
        yield from _of_devices(living)
        yield _durations(living)

    def describe(self) -> Iterable[Family]:
        """Say nothing beforehand: registering would ask."""
        return ()


def registry_of(read: Callable[[], Sequence[Report]]) -> CollectorRegistry:
    """Return a registry with these metrics alone."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(ReportCollector(read))
    return registry


def _of_daemons(reports: Sequence[Report]) -> Iterator[Family]:
    info = InfoMetricFamily("zramfs_daemon", "Version and transport of the daemon.", labels=_OF_MOUNT)
    received = CounterMetricFamily(
        "zramfs_transport_requests", "Requests of block files by queue.", labels=(*_OF_MOUNT, "queue")
    )
    waits = CounterMetricFamily("zramfs_lock_waits", "Waits for locks of slots, pools and streams.", labels=_OF_MOUNT)
    for report in reports:
        daemon, transport, where = report["daemon"], report["daemon"]["transport"], report["mountpoint"]
        info.add_metric([where], {"version": daemon["version"], "transport": transport["transport"]})
        waits.add_metric([where], transport["lock_waits"])
        for queue in range(transport["queues"]):
            received.add_metric([where, str(queue)], transport[f"requests_{queue}"])
    yield from (info, received, waits)
    for name, text, key in _DAEMON_METRICS:
        gauge = GaugeMetricFamily(name, text, labels=_OF_MOUNT)
        for report in reports:
            gauge.add_metric([report["mountpoint"]], report["daemon"][key])
        yield gauge


def _of_devices(reports: Sequence[Report]) -> Iterator[Family]:
    for kind, name, text, samples, labels in _DEVICE_METRICS:
        family: CounterMetricFamily | GaugeMetricFamily = kind(name, text, labels=(*_OF_DEVICE, *labels))
        for report, device in _pairs(reports):
            for values, value in samples(device):
                family.add_metric([report["mountpoint"], device["name"], *values], value)
        yield family


def _durations(reports: Sequence[Report]) -> HistogramMetricFamily:
    family = HistogramMetricFamily(
        "zramfs_request_duration_seconds", "From arrival to answer.", labels=(*_OF_DEVICE, "operation")
    )
    for report, device in _pairs(reports):
        for operation, each in latencies_of(device).items():
            buckets = [(repr(edge / _NS_PER_S), float(each.below(edge))) for edge in _BUCKETS_NS]
            labels = [report["mountpoint"], device["name"], operation]
            family.add_metric(labels, [*buckets, ("+Inf", float(each.requests))], each.total_ns / _NS_PER_S)
    return family


def _pairs(reports: Sequence[Report]) -> Iterator[tuple[Report, Report]]:
    return ((report, device) for report in reports for device in report["devices"])
