"""`zramfs status`: what a mount holds, and how it came there."""

import json
from pathlib import Path
from typing import Any, Final

import click
from rich import box
from rich.console import Console
from rich.table import Table

from zramfs.cli.asking import ask_living
from zramfs.cli.mounted import MountedZramfs
from zramfs.cli.parameters import json_option, mountpoint_argument
from zramfs.errors import MountFailed
from zramfs.units import PAGE_SIZE, format_bytes

_MM_STAT: Final = (
    "orig_data_size",
    "compr_data_size",
    "mem_used_total",
    "mem_limit",
    "mem_used_max",
    "same_pages",
    "pages_compacted",
    "huge_pages",
    "huge_pages_since",
)
_IO_STAT: Final = ("failed_reads", "failed_writes", "notify_free")
_TEXT_COLUMNS: Final = ("alg", "parameters", "policy", "profile", "state")
_IO_STAT_FIELDS: Final = (0, 1, 3)  # the third number is a literal 0


@click.command(short_help="Show devices, memory, ratio, streams and the accelerator.")
@mountpoint_argument
@json_option
def status(mountpoint: Path, *, as_json: bool) -> None:
    """Show the devices of MOUNTPOINT: memory, ratio, streams and the accelerator."""
    mounted = MountedZramfs(mountpoint)
    report = ask_living(mounted.mount, lambda: read_status(mounted))
    if as_json:
        click.echo(json.dumps(report, indent=2))
        return
    try:
        _print_tables(mountpoint, report)
    except (LookupError, TypeError, ValueError) as error:
        raise MountFailed(f"what is mounted at {mountpoint} does not answer as a zramfs does") from error


def _print_tables(mountpoint: Path, report: dict[str, Any]) -> None:
    tables = [make_table(report) for make_table in _TABLES]
    console = Console(highlight=False, markup=False, emoji=False)
    daemon = report["daemon"]
    resident, held, limit = (format_bytes(daemon[f"{key}_bytes"]) for key in ("rss", "request", "request_limit"))
    console.print(f"{mountpoint}: zramfs {daemon['version']}, daemon {daemon['pid']} with {resident} resident")
    console.print(f"waiting writes hold {held}, at most {limit}")
    console.print(_describe_transport(daemon["transport"]))
    for table in tables:
        if table is not None:
            console.print(table)


def read_status(mounted: MountedZramfs) -> dict[str, Any]:
    """Return what `--json` prints: numbers in bytes, pages or counts, under the kernel's names."""
    return {
        "daemon": {
            "pid": mounted.pid,
            "version": mounted.daemon_attribute("version"),
            "rss_bytes": int(mounted.daemon_attribute("rss_bytes")),
            "request_bytes": int(mounted.daemon_attribute("request_bytes")),
            "request_limit_bytes": int(mounted.daemon_attribute("request_limit_bytes")),
            "transport": _key_values(mounted.daemon_attribute("transport")),
        },
        "devices": [_read_device(mounted, name) for name in mounted.device_names()],
    }


def _read_device(mounted: MountedZramfs, name: str) -> dict[str, Any]:
    io_stat = mounted.attribute(name, "io_stat").split()
    return {
        "name": name,
        "disksize": int(mounted.attribute(name, "disksize")),
        "algorithm": _chosen(mounted.attribute(name, "comp_algorithm")),
        "algorithms": [_read_algorithm(line) for line in mounted.attribute(name, "algorithm_stat").splitlines()],
        "mm_stat": dict(zip(_MM_STAT, map(int, mounted.attribute(name, "mm_stat").split()), strict=True)),
        "io_stat": {key: int(io_stat[field]) for key, field in zip(_IO_STAT, _IO_STAT_FIELDS, strict=True)},
        "streams": {
            "policy": _chosen(mounted.attribute(name, "stream_policy")),
            **_key_values(mounted.attribute(name, "stream_stat")),
        },
        "accel": _read_accelerator(mounted, name),
    }


def _read_algorithm(line: str) -> dict[str, float | str]:
    """Read a line of algorithm_stat; parameters have the names of algorithm_params, and the dictionary comes last."""
    words, _, dictionary_path = line.partition(" dict=")
    priority, name, *parameters = words.split()
    pairs = (parameter.partition("=") for parameter in parameters)
    algorithm = {"priority": int(priority), "name": name, **{key: _number_or_text(value) for key, _, value in pairs}}
    return algorithm | ({"dict": dictionary_path} if dictionary_path else {})


def _read_accelerator(mounted: MountedZramfs, name: str) -> dict[str, float | str]:
    settings = [key for key in mounted.attribute_names(name, "accel") if key != "stat"]
    return {
        **{key: _number_or_text(mounted.attribute(name, f"accel/{key}")) for key in settings},
        **_key_values(mounted.attribute(name, "accel/stat")),
    }


def _chosen(choices: str) -> str:
    """Return the bracketed one of sysfs's choices."""
    return choices.partition("[")[2].partition("]")[0]


def _key_values(lines: str) -> dict[str, float | str]:
    pairs = (line.partition(" ") for line in lines.splitlines())
    return {key: _number_or_text(value) for key, _, value in pairs}


def _number_or_text(text: str) -> float | str:
    if text.isdigit():
        return int(text)
    try:
        return float(text)
    except ValueError:
        return text


def _describe_transport(transport: dict[str, Any]) -> str:
    counts = ", ".join(f"{transport[f'requests_{queue}']:,}" for queue in range(transport["queues"]))
    waits = f"locks waited for: {transport['lock_waits']:,}"
    return f"requests by {transport['transport']}, each queue: {counts or '-'}; {waits}"


def _memory_table(report: dict[str, Any]) -> Table:
    columns = ("alg", "size", "data", "compr", "ratio", "used", "peak", "limit", "same", "huge")
    table = _table("device", *columns)
    for device in report["devices"]:
        memory = device["mm_stat"]
        compressed = memory["compr_data_size"]
        table.add_row(
            device["name"],
            device["algorithm"],
            format_bytes(device["disksize"]) if device["disksize"] else "none",
            format_bytes(memory["orig_data_size"]),
            format_bytes(compressed),
            f"{memory['orig_data_size'] / memory['mem_used_total']:.2f}" if memory["mem_used_total"] else "-",
            format_bytes(memory["mem_used_total"]),
            format_bytes(memory["mem_used_max"]),
            format_bytes(memory["mem_limit"]) if memory["mem_limit"] else "none",
            format_bytes(memory["same_pages"] * PAGE_SIZE),
            format_bytes(memory["huge_pages"] * PAGE_SIZE),
        )
    return table


def _algorithm_table(report: dict[str, Any]) -> Table:
    """What compresses: priority 0 each write, the others when pages are recompressed."""
    table = _table("algorithms", "priority", "alg", "parameters")
    for device in report["devices"]:
        for algorithm in device["algorithms"]:
            parameters = {key: value for key, value in algorithm.items() if key not in ("priority", "name")}
            described = " ".join(f"{key}={value}" for key, value in parameters.items()) or "none"
            table.add_row(device["name"], str(algorithm["priority"]), algorithm["name"], described)
    return table


def _stream_table(report: dict[str, Any]) -> Table:
    table = _table("pages by stream", "policy", "per-CPU", "managed", "fallback", "in flight", "most")
    for device in report["devices"]:
        streams = device["streams"]
        table.add_row(
            device["name"],
            streams["policy"],
            *(f"{streams[key]:,}" for key in ("percpu_pages", "managed_pages", "fallback_pages")),
            *(f"{streams[key]:,}" for key in ("inflight", "inflight_max")),
        )
        if "managed_error" in streams:
            table.caption = f"{device['name']} has no managed streams: {streams['managed_error']}"
    return table


def _accelerator_table(report: dict[str, Any]) -> Table:
    table = _table("accelerator", "profile", "state", "depth", "workers", "submitted", "polled", "queue full")
    for device in report["devices"]:
        accel = device["accel"]
        keys = ("queue_depth", "workers", "submitted_pages", "polled_pages", "queue_full")
        table.add_row(
            device["name"], str(accel["profile"]), accel.get("state", "-"), *(_count(accel.get(key)) for key in keys)
        )
    return table


def _emulation_table(report: dict[str, Any]) -> Table | None:
    """Latencies, and what went wrong; None while no device has time or faults to show."""
    table = _table("emulation, µs", "p50", "model", "p99", "model", "late", "by up to", "errors", "redone")
    for device in report["devices"]:
        accel = device["accel"]
        if accel.get("observed_p50_us") or accel.get("completion_errors"):
            latencies = ("observed_p50_us", "model_p50_us", "observed_p99_us", "model_p99_us")
            counts = ("late_completions", "late_max_us", "completion_errors", "software_redone")
            table.add_row(
                device["name"], *(f"{accel[key]:.1f}" for key in latencies), *(_count(accel[key]) for key in counts)
            )
    return table if table.row_count else None


def _count(value: int | None) -> str:
    return "-" if value is None else f"{value:,}"


def _table(first: str, *columns: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column(first, no_wrap=True)
    for column in columns:
        table.add_column(column, justify="left" if column in _TEXT_COLUMNS else "right", no_wrap=True)
    return table


_TABLES: Final = (_memory_table, _algorithm_table, _stream_table, _accelerator_table, _emulation_table)
