"""What devices did between two reports: what `top` shows."""

from collections.abc import Mapping
from typing import Any, Final

from zramfs.cli.report import latencies_of
from zramfs.latencies import OPERATIONS

Report = Mapping[str, Any]

_CPU_PREFIX: Final = "percpu_pages_cpu"


def rates_of(before: Report, after: Report, seconds: float) -> dict[str, Any]:
    """Return the rates of each device of `after` that was there before, a second; shares are from 0 to 1."""
    known = {device["name"]: device for device in before["devices"]}
    return {
        "mountpoint": after["mountpoint"],
        "seconds": round(seconds, 3),
        "transport": after["daemon"]["transport"]["transport"],
        "devices": [
            _rates_of_device(known[device["name"]], device, seconds)
            for device in after["devices"]
            if device["name"] in known
        ],
    }


def _rates_of_device(before: Report, after: Report, seconds: float) -> dict[str, Any]:
    streams = {kind: _difference(before, after, "streams", f"{kind}_pages") for kind in _KINDS}
    wanted_managed = streams["managed"] + streams["fallback"]
    cpus = [key for key in after["streams"] if key.startswith(_CPU_PREFIX)]
    return {
        "name": after["name"],
        "operations": _operations(before, after, seconds),
        "in_flight": after["requests"]["in_flight"],
        "queue_depth": after["streams"]["inflight"],
        "queue_depth_most": after["streams"]["inflight_max"],
        "pages_per_second": {kind: round(pages / seconds, 1) for kind, pages in streams.items()},
        "percpu_pages_per_second": {
            key.removeprefix(_CPU_PREFIX): round(_difference(before, after, "streams", key) / seconds, 1)
            for key in cpus
        },
        "fallback_share": round(streams["fallback"] / wanted_managed, 4) if wanted_managed else None,
        "late_completions": _difference(before, after, "accel", "late_completions"),
        "failed": {
            operation: _difference(before, after, "io_stat", f"failed_{operation}s") for operation in ("read", "write")
        },
        "limit_hits": _difference(before, after, "mem_limit_stat", "hits"),
        "ratio": after["ratio"],
        "mem_used_total": after["mm_stat"]["mem_used_total"],
        "orig_data_size": after["mm_stat"]["orig_data_size"],
    }


_KINDS: Final = ("percpu", "managed", "fallback")


def _operations(before: Report, after: Report, seconds: float) -> dict[str, Any]:
    earlier, later = latencies_of(before), latencies_of(after)
    return {
        operation: {
            "iops": round(_change(before["requests"][operation], after["requests"][operation], "ios") / seconds, 1),
            "bytes_per_second": round(
                _change(before["requests"][operation], after["requests"][operation], "bytes") / seconds
            ),
            **{f"{name}_us": us for name, us in later[operation].since(earlier[operation]).percentiles_us().items()},
        }
        for operation in OPERATIONS
    }


def _difference(before: Report, after: Report, part: str, key: str) -> int:
    return _change(before[part], after[part], key)


def _change(before: Report, after: Report, key: str) -> int:
    """Return by how much a count has grown; all of it, if it has begun anew meanwhile."""
    grown = int(after.get(key, 0)) - int(before.get(key, 0))
    return grown if grown >= 0 else int(after.get(key, 0))
