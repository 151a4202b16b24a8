import json
from pathlib import Path
from typing import Any

from zramfs.compare.trace import DepthOverTime, cut_mark, depth_over_time, mean_stages_us, read_trace


def request(*times_us: float, op: str = "write", is_async: bool = False, **streams: int) -> dict[str, Any]:
    moments = dict(zip(("arrival_us", "submit_us", "complete_us", "reply_us"), times_us, strict=True))
    return {"op": op, "bytes": 4096, "async": is_async, "streams": streams, **moments}


def test_trace_is_read_without_discards_and_counts_of_what_was_lost(tmp_path: Path) -> None:
    path = tmp_path / "trace"
    lines = [request(1, 2, 3, 4), request(1, 2, 3, 4, op="discard"), {"lost": 7}, request(2, 3, 4, 5, op="read")]
    path.write_text("".join(json.dumps(each) + "\n" for each in lines))
    assert read_trace(path) == [lines[0], lines[3]]


def test_stages_are_means_by_kind_of_request() -> None:
    requests = [
        request(0, 10, 10, 12),
        request(0, 20, 20, 26),
        request(0, 1, 101, 102, is_async=True),
        request(0, 5, 5, 6, op="read"),
    ]
    assert mean_stages_us(requests) == {
        "sync": {"submission": 15, "completion": 0, "answer": 4},
        "async": {"submission": 1, "completion": 100, "answer": 1},
        "read": {"submission": 5, "completion": 0, "answer": 1},
    }


def test_depth_counts_the_pages_of_requests_in_hand() -> None:
    requests = [
        {**request(0, 1_000_000, 3_500_000, 4_000_000), "bytes": 3 * 4096},
        {**request(1_000_000, 2_000_000, 3_500_000, 3_600_000), "bytes": 4097},
    ]
    assert depth_over_time(requests, 0, moments=5) == DepthOverTime([0, 1, 2, 3, 4], [3, 5, 5, 5, 0])


def test_depth_of_no_request_is_empty() -> None:
    assert depth_over_time([], 0) == DepthOverTime()


def test_requests_are_those_after_the_mark() -> None:
    before, after = request(1, 1, 1, 2, op="read"), request(9, 9, 9, 10)
    mark = {**request(5, 5, 5, 6, op="read"), "bytes": 12288}
    assert cut_mark([before, mark, after], 12288) == (5, [after])


def test_requests_without_a_mark_are_all_and_begin_with_the_first() -> None:
    requests = [request(7, 8, 8, 9), request(3, 4, 4, 5)]
    assert cut_mark(requests, 12288) == (3, requests)
    assert cut_mark([], 12288) == (0, [])
