"""A report of a mount, as `status --json` prints it, for tests of what shows one."""

from copy import deepcopy
from typing import Any

_DEVICE: dict[str, Any] = {
    "name": "zram0", "path": "/m/zram0", "mounted_at": None, "disksize": 1 << 30, "algorithm": "lz4",
    "algorithms": [{"priority": 0, "name": "lz4", "level": 1}], "ratio": 2.5, "overhead_bytes": 96,
    "mm_stat": {
        "orig_data_size": 10240, "compr_data_size": 4000, "mem_used_total": 4096, "mem_limit": 8192,
        "mem_used_max": 8192, "same_pages": 3, "pages_compacted": 4, "huge_pages": 2, "huge_pages_since": 5,
    },
    "mem_limit_stat": {"limit_bytes": 8192, "is_full": 1, "hits": 7},
    "bd_stat": {"bd_count": 0, "bd_reads": 0, "bd_writes": 0},
    "io_stat": {"failed_reads": 1, "failed_writes": 6, "notify_free": 0},
    "streams": {
        "policy": "auto", "percpu_pages": 10, "managed_pages": 30, "fallback_pages": 10, "managed_streams": 256,
        "percpu_streams": 2, "inflight": 4, "inflight_max": 9, "percpu_waits": 0, "percpu_pages_cpu0": 10,
        "percpu_pages_cpu1": 0,
    },
    "accel": {"profile": "ideal", "state": "online", "queue_depth": 256, "workers": 1, "late_completions": 2},
    "requests": {
        "read": {"ios": 100, "bytes": 409600, "time_ms": 1}, "write": {"ios": 50, "bytes": 204800, "time_ms": 2},
        "discard": {"ios": 0, "bytes": 0, "time_ms": 0}, "in_flight": 3, "busy_ms": 1500,
    },
    "latency": {
        "read": {"requests": 100, "total_us": 300, "p50_us": 2.0, "p99_us": 4.0, "max_us": 4.0,
                 "bins": {"2048": 90, "4096": 10}},
        "write": {"requests": 50, "total_us": 900, "p50_us": 9.0, "p99_us": 9.0, "max_us": 9.0, "bins": {"9216": 50}},
        "discard": {"requests": 0, "total_us": 0, "p50_us": None, "p99_us": None, "max_us": None, "bins": {}},
    },
}  # fmt: skip

_REPORT: dict[str, Any] = {
    "mountpoint": "/m", "owner": "root", "state": "live",
    "daemon": {
        "pid": 7, "version": "0.1.0", "rss_bytes": 1 << 25, "request_bytes": 0, "request_limit_bytes": 320 << 20,
        "metrics": "none",
        "transport": {"transport": "dev", "queues": 1, "requests_0": 150, "handed_over": 1, "in_flight": 3,
                      "unused_buffer_bytes": 0, "lock_waits": 0},
    },
    "devices": [_DEVICE],
}  # fmt: skip


def a_report() -> dict[str, Any]:
    """A report of one living mount with one device."""
    return deepcopy(_REPORT)


def a_dead_report() -> dict[str, Any]:
    """One whose daemon has ended."""
    return {"mountpoint": "/dead", "owner": "root", "state": "dead", "error": "it is dead", "devices": []}
