from typing import Any

from zramfs.library.status import Status

REPORT: dict[str, Any] = {
    "daemon": {
        "pid": 1,
        "version": "0",
        "rss_bytes": 2,
        "request_bytes": 3,
        "request_limit_bytes": 4,
        "transport": {"transport": "dev"},
    },
    "devices": [
        {
            "name": "zram0",
            "disksize": 8192,
            "algorithm": "lz4",
            "algorithms": [{"priority": 0, "name": "lz4", "level": 1}],
            "mm_stat": {
                "orig_data_size": 8192,
                "compr_data_size": 2048,
                "mem_used_total": 4096,
                "mem_limit": 0,
                "mem_used_max": 4096,
                "same_pages": 0,
                "pages_compacted": 0,
                "huge_pages": 0,
                "huge_pages_since": 0,
            },
            "io_stat": {"failed_reads": 0, "failed_writes": 1, "notify_free": 0},
            "streams": {
                "policy": "auto",
                "percpu_pages": 2,
                "managed_pages": 0,
                "fallback_pages": 0,
                "managed_streams": 1,
                "percpu_streams": 2,
                "inflight": 0,
                "inflight_max": 0,
                "percpu_waits": 0,
                "a_counter_to_come": 7,
            },
            "accel": {"profile": "ideal"},
        }
    ],
}


def test_status_has_the_names_of_the_report() -> None:
    status = Status.of(REPORT)
    device = status.devices[0]
    assert status.daemon.transport["transport"] == "dev"
    assert device.algorithms[0].parameters == {"level": 1}
    assert device.io_stat.failed_writes == 1
    assert (device.streams.percpu_pages, device.streams.managed_error) == (2, "")


def test_ratio_is_data_over_compressed_data() -> None:
    assert Status.of(REPORT).devices[0].ratio == 4.0


def test_ratio_is_none_while_nothing_is_compressed() -> None:
    device = REPORT["devices"][0]
    empty = REPORT | {"devices": [device | {"mm_stat": device["mm_stat"] | {"compr_data_size": 0}}]}
    assert Status.of(empty).devices[0].ratio is None
