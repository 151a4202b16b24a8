"""Latencies as fio counts them: how many requests took how long."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import accumulate
from typing import Self

_NS_PER_US = 1000


@dataclass(frozen=True, slots=True)
class Histogram:
    """Requests by latency in ns. fio's bins are at most 1/64 of their value wide."""

    counts: Mapping[int, int]

    @classmethod
    def merged(cls, histograms: Iterable[Self]) -> Self:
        """Return all requests of several histograms."""
        total: Counter[int] = Counter()
        for histogram in histograms:
            total.update(histogram.counts)
        return cls(dict(sorted(total.items())))

    @property
    def requests(self) -> int:
        """How many requests there were."""
        return sum(self.counts.values())

    def percentile_us(self, percent: float) -> float:
        """Return the latency, in µs, that `percent` of the requests did not pass; there must be requests."""
        wanted = self.requests * percent / 100
        in_order = sorted(self.counts)
        reached = accumulate(self.counts[latency] for latency in in_order)
        return next(latency for latency, count in zip(in_order, reached, strict=True) if count >= wanted) / _NS_PER_US

    def slower_than(self) -> tuple[list[float], list[float]]:
        """Return latencies in µs, rising, and for each the share of requests that took at least as long."""
        in_order = sorted(self.counts)
        before = [0, *accumulate(self.counts[latency] for latency in in_order)][:-1]
        total = self.requests
        return [latency / _NS_PER_US for latency in in_order], [1 - count / total for count in before]
