"""What a mount tells of itself, read from its files: what `status --json` prints, and `top` and `metrics` use."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from zramfs.cli.loops import loops_of
from zramfs.cli.mounted import MountedZramfs
from zramfs.foreign import printable
from zramfs.kernel_stats import IoStat, MmStat
from zramfs.latencies import OPERATIONS, Latencies, parse_latencies
from zramfs.mountinfo import read_mounts
from zramfs.units import SECTOR_SIZE

_ACCEL_SETTINGS: Final = ("profile", "queue_depth")
_BD_STAT: Final = ("bd_count", "bd_reads", "bd_writes")
_IO_STAT_FIELDS: Final = (0, 1, 3)  # the third number is a literal 0

_STAT_FIELDS: Final = {"read": (0, 2, 3), "write": (4, 6, 7), "discard": (11, 13, 14)}
"""Where the block layer's `stat` has requests, sectors and milliseconds of an operation."""

_IN_FLIGHT_FIELD: Final = 8
_BUSY_MS_FIELD: Final = 9

_NS_PER_US: Final = 1000

_SWAPS: Final = Path("/proc/swaps")


def read_status(mounted: MountedZramfs, *, in_full: bool = True) -> dict[str, Any]:
    """Return what `--json` prints: numbers in bytes, pages or counts, under the kernel's names.

    Without what only settings say and what loop devices do, unless `in_full`: that takes half of the files.
    """
    with mounted.read_at_once():
        return _read_all(mounted, in_full=in_full)


def _read_all(mounted: MountedZramfs, *, in_full: bool) -> dict[str, Any]:
    return {
        "mountpoint": str(mounted.mount.path),
        "daemon": {
            "pid": mounted.pid,
            "version": mounted.daemon_attribute("version"),
            "rss_bytes": int(mounted.daemon_attribute("rss_bytes")),
            "request_bytes": int(mounted.daemon_attribute("request_bytes")),
            "request_limit_bytes": int(mounted.daemon_attribute("request_limit_bytes")),
            "transport": key_values(mounted.daemon_attribute("transport")),
            "metrics": mounted.daemon_attribute("metrics"),
        },
        "devices": [_read_device(mounted, name, in_full=in_full) for name in mounted.device_names()],
    }


def _read_device(mounted: MountedZramfs, name: str, *, in_full: bool) -> dict[str, Any]:
    io_stat = mounted.attribute(name, "io_stat").split()
    algorithms = [_read_algorithm(line) for line in mounted.attribute(name, "algorithm_stat").splitlines()]
    memory = dict(zip(MmStat._fields, map(int, mounted.attribute(name, "mm_stat").split()), strict=True))
    return {
        "name": name,
        "path": str(mounted.mount.path / name),
        "mounted_at": _read_use(mounted, name) if in_full else None,
        "disksize": int(mounted.attribute(name, "disksize")),
        "algorithm": algorithms[0]["name"],
        "algorithms": algorithms,
        "ratio": ratio_of(memory),
        "overhead_bytes": memory["mem_used_total"] - memory["compr_data_size"],
        "mm_stat": memory,
        "mem_limit_stat": key_values(mounted.attribute(name, "mem_limit_stat")),
        "bd_stat": dict(zip(_BD_STAT, map(int, mounted.attribute(name, "bd_stat").split()), strict=True)),
        "io_stat": {key: int(io_stat[field]) for key, field in zip(IoStat._fields, _IO_STAT_FIELDS, strict=True)},
        "streams": {
            "policy": _chosen(mounted.attribute(name, "stream_policy")),
            **key_values(mounted.attribute(name, "stream_stat")),
        },
        "accel": _read_accelerator(mounted, name, in_full=in_full),
        "requests": _read_requests(mounted.attribute(name, "stat")),
        "latency": _read_latency(mounted.attribute(name, "latency_stat")),
    }


def ratio_of(memory: Mapping[str, int]) -> float | None:
    """Return data over compressed data, as one compares algorithms; None while nothing is compressed."""
    compressed_bytes = memory["compr_data_size"]
    return round(memory["orig_data_size"] / compressed_bytes, 3) if compressed_bytes else None


def latencies_of(device: Mapping[str, Any]) -> dict[str, Latencies]:
    """Return what a device of a report tells of its latencies."""
    return {operation: _latencies_told(device["latency"][operation]) for operation in OPERATIONS}


def _latencies_told(told: Mapping[str, Any]) -> Latencies:
    return Latencies({int(edge): count for edge, count in told["bins"].items()}, told["total_us"] * _NS_PER_US)


def _read_requests(stat: str) -> dict[str, Any]:
    """Read the block layer's `stat`: bytes, and how many are in flight now."""
    numbers = [int(number) for number in stat.split()]
    counts = {
        operation: {"ios": numbers[ios], "bytes": numbers[sectors] * SECTOR_SIZE, "time_ms": numbers[time_ms]}
        for operation, (ios, sectors, time_ms) in _STAT_FIELDS.items()
    }
    return {**counts, "in_flight": numbers[_IN_FLIGHT_FIELD], "busy_ms": numbers[_BUSY_MS_FIELD]}


def _read_latency(latency_stat: str) -> dict[str, Any]:
    latencies = parse_latencies(key_values(latency_stat))
    return {
        operation: {
            "requests": each.requests,
            "total_us": each.total_ns // _NS_PER_US,
            **_named_us(each.percentiles_us()),
            "bins": dict(each.counts),
        }
        for operation, each in latencies.items()
    }


def _named_us(percentiles: Mapping[str, float | None]) -> dict[str, float | None]:
    return {f"{name}_us": value for name, value in percentiles.items()}


def _read_use(mounted: MountedZramfs, name: str) -> str | None:
    """Return where a loop device over it is mounted, `[SWAP]`, or None; also None if that is not to be known."""
    try:
        numbers = {f"/dev/{path.name}" for path in loops_of(mounted, name)}
        swaps = {line.split()[0] for line in _SWAPS.read_text().splitlines()[1:]}
    except OSError:
        return None
    if numbers & swaps:
        return "[SWAP]"
    return next((printable(str(mount.point)) for mount in read_mounts() if mount.source in numbers), None)


def _read_algorithm(line: str) -> dict[str, float | str]:
    """Read a line of algorithm_stat; parameters have the names of algorithm_params, and the dictionary comes last."""
    words, _, dictionary_path = line.partition(" dict=")
    priority, name, *parameters = words.split()
    pairs = (parameter.partition("=") for parameter in parameters)
    algorithm = {"priority": int(priority), "name": name, **{key: _number_or_text(value) for key, _, value in pairs}}
    return algorithm | ({"dict": dictionary_path} if dictionary_path else {})


def _read_accelerator(mounted: MountedZramfs, name: str, *, in_full: bool) -> dict[str, float | str]:
    settings = [key for key in mounted.attribute_names(name, "accel") if key != "stat"]
    if not in_full:
        settings = [key for key in settings if key in _ACCEL_SETTINGS]
    return {
        **{key: _number_or_text(mounted.attribute(name, f"accel/{key}")) for key in settings},
        **key_values(mounted.attribute(name, "accel/stat")),
    }


def _chosen(choices: str) -> str:
    """Return the bracketed one of sysfs's choices."""
    return choices.partition("[")[2].partition("]")[0]


def key_values(lines: str) -> dict[str, float | str]:
    """Read a `key value` a line."""
    pairs = (line.partition(" ") for line in lines.splitlines())
    return {key: _number_or_text(value) for key, _, value in pairs}


def _number_or_text(text: str) -> float | str:
    if text.isdigit():
        return int(text)
    try:
        return float(text)
    except ValueError:
        return text
