"""The tables of one mount: what its devices hold, and how it came there."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from zramfs.cli.fitting import Heading, fitting_tables
from zramfs.units import PAGE_SIZE, format_bytes

_TEXT_COLUMNS: Final = ("alg", "parameters", "policy", "profile", "state", "kind")

_LEGEND: Final = "same: one value repeated; huge: stored raw; peak: most used"

Report = Mapping[str, Any]
Rows = list[list[str]]


def describe(report: Report, width: int) -> list[str]:
    """Return the lines of a report, in tables that fit."""
    daemon = report["daemon"]
    resident, held, limit = (format_bytes(daemon[f"{key}_bytes"]) for key in ("rss", "request", "request_limit"))
    lines = [
        f"{report['mountpoint']}: zramfs {daemon['version']}",
        f"daemon {daemon['pid']} with {resident} resident",
        f"waiting writes hold {held}, at most {limit}",
        *_describe_transport(daemon["transport"]),
        *([f"metrics at {daemon['metrics']}"] if daemon["metrics"] != "none" else []),
    ]
    for table in _TABLES:
        lines += _lines_of(*table(report["devices"]), width)
        if table is _memory_table:
            lines += [_LEGEND, *_describe_limits(report["devices"])]
    errors = [(each["name"], each["streams"].get("managed_error")) for each in report["devices"]]
    return [*lines, *(f"{name} has no managed streams: {error}" for name, error in errors if error)]


def _lines_of(first: str, titles: Sequence[str], rows: Rows, width: int) -> list[str]:
    if not rows:
        return []
    headings = [Heading(first, is_text=True), *(Heading(title, title in _TEXT_COLUMNS) for title in titles)]
    return ["", *fitting_tables(headings, rows, width)]


def _describe_transport(transport: Report) -> list[str]:
    counts = ", ".join(f"{transport[f'requests_{queue}']:,}" for queue in range(transport["queues"]))
    waits = f"locks waited for: {transport['lock_waits']:,}"
    return [f"requests by {transport['transport']}, each queue: {counts or '-'}", waits]


def _describe_limits(devices: Sequence[Report]) -> list[str]:
    """Say of each device that mem_limit kept pages out, and whether it still does."""
    lines = []
    for device in devices:
        stat = device["mem_limit_stat"]
        if stat["is_full"] or stat["hits"]:
            state = "full" if stat["is_full"] else "not full any more"
            lines.append(f"{device['name']}: mem_limit is {state}; pages kept out: {stat['hits']:,}")
    return lines


def _memory_table(devices: Sequence[Report]) -> tuple[str, Sequence[str], Rows]:
    titles = ("alg", "size", "data", "compr", "ratio", "used", "overhead", "peak", "limit", "same", "huge")
    return "device", titles, [_memory_row(device) for device in devices]


def _memory_row(device: Report) -> list[str]:
    memory = device["mm_stat"]
    limit = format_bytes(memory["mem_limit"]) if memory["mem_limit"] else "none"
    return [
        device["name"],
        device["algorithm"],
        format_bytes(device["disksize"]) if device["disksize"] else "none",
        format_bytes(memory["orig_data_size"]),
        format_bytes(memory["compr_data_size"]),
        "-" if device["ratio"] is None else f"{device['ratio']:.2f}",
        format_bytes(memory["mem_used_total"]),
        format_bytes(device["overhead_bytes"]),
        format_bytes(memory["mem_used_max"]),
        f"{limit} full" if device["mem_limit_stat"]["is_full"] else limit,
        format_bytes(memory["same_pages"] * PAGE_SIZE),
        format_bytes(memory["huge_pages"] * PAGE_SIZE),
    ]


def _request_table(devices: Sequence[Report]) -> tuple[str, Sequence[str], Rows]:
    """What was asked for, how long half and nearly all of it took, and what failed."""
    rows = []
    for device in devices:
        for operation, latency in device["latency"].items():
            times = [_microseconds(latency[key]) for key in ("p50_us", "p99_us", "max_us")]
            failed = device["io_stat"].get(f"failed_{operation}s", 0)
            if latency["requests"] or failed:
                rows.append([device["name"], operation, f"{latency['requests']:,}", *times, f"{failed:,}"])
    return "requests, µs", ("kind", "number", "p50", "p99", "max", "failed"), rows


def _microseconds(value: float | None) -> str:
    return "-" if value is None else f"{value:,.1f}"


def _algorithm_table(devices: Sequence[Report]) -> tuple[str, Sequence[str], Rows]:
    """What compresses: priority 0 each write, the others when pages are recompressed."""
    rows = []
    for device in devices:
        for algorithm in device["algorithms"]:
            parameters = {key: value for key, value in algorithm.items() if key not in ("priority", "name")}
            described = " ".join(f"{key}={value}" for key, value in parameters.items()) or "none"
            rows.append([device["name"], str(algorithm["priority"]), algorithm["name"], described])
    return "algorithms", ("priority", "alg", "parameters"), rows


def _stream_table(devices: Sequence[Report]) -> tuple[str, Sequence[str], Rows]:
    keys = ("percpu_pages", "managed_pages", "fallback_pages", "inflight", "inflight_max")
    rows = [
        [device["name"], device["streams"]["policy"], *(f"{device['streams'][key]:,}" for key in keys)]
        for device in devices
    ]
    return "pages by stream", ("policy", "per-CPU", "managed", "fallback", "in flight", "most"), rows


def _accelerator_table(devices: Sequence[Report]) -> tuple[str, Sequence[str], Rows]:
    keys = ("queue_depth", "workers", "submitted_pages", "polled_pages", "queue_full")
    rows = []
    for device in devices:
        accel = device["accel"]
        counts = (_count(accel.get(key)) for key in keys)
        rows.append([device["name"], str(accel["profile"]), str(accel.get("state", "-")), *counts])
    return "accelerator", ("profile", "state", "depth", "workers", "submitted", "polled", "queue full"), rows


def _emulation_table(devices: Sequence[Report]) -> tuple[str, Sequence[str], Rows]:
    """Latencies, and what went wrong; nothing while no device has time or faults to show."""
    latencies = ("observed_p50_us", "model_p50_us", "observed_p99_us", "model_p99_us")
    counts = ("late_completions", "late_max_us", "completion_errors", "software_redone")
    rows = [
        [device["name"], *(f"{accel[key]:.1f}" for key in latencies), *(_count(accel[key]) for key in counts)]
        for device in devices
        if (accel := device["accel"]).get("observed_p50_us") or accel.get("completion_errors")
    ]
    return "emulation, µs", ("p50", "model", "p99", "model", "late", "by up to", "errors", "redone"), rows


def _count(value: int | None) -> str:
    return "-" if value is None else f"{value:,}"


_TABLES: Final = (
    _memory_table,
    _request_table,
    _algorithm_table,
    _stream_table,
    _accelerator_table,
    _emulation_table,
)
