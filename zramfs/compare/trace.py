"""What the mount's trace of requests tells: where their time goes, and how many are in hand at a time."""

import json
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean
from typing import Any, Final

from zramfs.compare.workload import ASYNC, READ, SYNC

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
    """Requests at evenly spaced moments, in seconds since the first one came: all, and those at the accelerator."""

    at_s: list[float] = field(default_factory=list)
    in_hand: list[int] = field(default_factory=list)
    at_accelerator: list[int] = field(default_factory=list)


def read_trace(path: Path) -> list[Request]:
    """Return the reads and writes of a trace that has ended, without those that its mount had no room for."""
    with path.open() as lines:
        return [record for line in lines if (record := json.loads(line)).get("op") in ("read", "write")]


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


def depth_over_time(requests: list[Request], moments: int = _MOMENTS) -> DepthOverTime:
    """Return how many requests were between arrival and answer, and of these with managed streams after submission."""
    if not requests:
        return DepthOverTime()
    began = min(request["arrival_us"] for request in requests)
    ended = max(request["reply_us"] for request in requests)
    at_us = [began + (ended - began) * number / (moments - 1) for number in range(moments)]
    managed = [request for request in requests if request["streams"].get("managed")]
    return DepthOverTime(
        at_s=[(moment - began) / _US_PER_S for moment in at_us],
        in_hand=_count_between(requests, "arrival_us", "reply_us", at_us),
        at_accelerator=_count_between(managed, "submit_us", "complete_us", at_us),
    )


def _count_between(requests: list[Request], begin: str, end: str, at_us: list[float]) -> list[int]:
    begins = sorted(request[begin] for request in requests)
    ends = sorted(request[end] for request in requests)
    return [bisect_right(begins, moment) - bisect_right(ends, moment) for moment in at_us]
