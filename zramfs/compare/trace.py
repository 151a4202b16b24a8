"""What the mount's trace of requests tells: where their time goes, and how many pages are in hand at a time."""

import json
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from itertools import accumulate
from pathlib import Path
from statistics import fmean
from typing import Any, Final

from zramfs.compare.workload import ASYNC, READ, SYNC
from zramfs.units import PAGE_SIZE

STAGES: Final = {
    "submission": ("arrival_us", "submit_us"),
    "completion": ("submit_us", "complete_us"),
    "answer": ("complete_us", "reply_us"),
}
"""Of a request, in order, each with the moments of the trace that it lies between."""

_MOMENTS: Final = 500
_US_PER_S: Final = 1e6

Request = dict[str, Any]


@dataclass(frozen=True, slots=True)
class DepthOverTime:
    """Pages of all requests between arrival and answer, at evenly spaced moments, in seconds since a beginning."""

    at_s: list[float] = field(default_factory=list)
    in_hand_pages: list[int] = field(default_factory=list)


def read_trace(path: Path) -> list[Request]:
    """Return the reads and writes of a trace that has ended, without those that its mount had no room for."""
    with path.open() as lines:
        return [record for line in lines if (record := json.loads(line)).get("op") in ("read", "write")]


def cut_mark(requests: list[Request], mark_bytes: int) -> tuple[float, list[Request]]:
    """Return when the first read of so many bytes arrived, in µs, and the requests after it; without one all."""
    for place, request in enumerate(requests):
        if request["op"] == "read" and request["bytes"] == mark_bytes:
            return request["arrival_us"], requests[place + 1 :]
    return min((request["arrival_us"] for request in requests), default=0.0), requests


def mean_stages_us(requests: Iterable[Request]) -> dict[str, dict[str, float]]:
    """Return the mean µs of each stage, by kind of request; means, because those add up to the mean of the whole."""
    found: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for request in requests:
        for stage, (begin, end) in STAGES.items():
            found[_kind(request)][stage].append(request[end] - request[begin])
    return {kind: {stage: fmean(times) for stage, times in stages.items()} for kind, stages in found.items()}


def _kind(request: Request) -> str:
    if request["op"] == "read":
        return READ
    return ASYNC if request["async"] else SYNC


def depth_over_time(requests: list[Request], began_us: float, moments: int = _MOMENTS) -> DepthOverTime:
    """Return how many pages were between arrival and answer, from `began_us` to the last answer."""
    if not requests:
        return DepthOverTime()
    ended_us = max(request["reply_us"] for request in requests)
    at_us = [began_us + (ended_us - began_us) * number / (moments - 1) for number in range(moments)]
    arrived, answered = _pages_by(requests, "arrival_us"), _pages_by(requests, "reply_us")
    return DepthOverTime(
        at_s=[(moment - began_us) / _US_PER_S for moment in at_us],
        in_hand_pages=[arrived(moment) - answered(moment) for moment in at_us],
    )


def _pages_by(requests: list[Request], moment: str) -> Callable[[float], int]:
    """Return a function of the time: the pages of all requests that had reached `moment` by then."""
    in_order = sorted((request[moment], -(-request["bytes"] // PAGE_SIZE)) for request in requests)
    times_us = [time_us for time_us, _ in in_order]
    totals = [0, *accumulate(pages for _, pages in in_order)]
    return lambda time_us: totals[bisect_right(times_us, time_us)]
