"""Latencies as `latency_stat` tells them: how many requests of an operation stayed below which time. Level 0.

The daemon counts in bins that are an eighth of their value wide at the most. A percentile is the upper edge of the bin
that has it, and therefore too large by an eighth at the most.
"""

from collections.abc import Mapping
from itertools import accumulate
from types import MappingProxyType
from typing import Final, NamedTuple, Self

OPERATIONS: Final = ("read", "write", "discard")
PERCENTILES: Final = {"p50": 50.0, "p90": 90.0, "p99": 99.0, "p999": 99.9, "max": 100.0}

_NS_PER_US: Final = 1000


class Latencies(NamedTuple):
    """Requests of one operation: {latency in ns that they stayed below: how many}, rising."""

    counts: Mapping[int, int] = MappingProxyType({})
    total_ns: int = 0
    """How long all of them took, added up."""

    @property
    def requests(self) -> int:
        """How many there were."""
        return sum(self.counts.values())

    def percentile_us(self, percent: float) -> float | None:
        """Return the time in µs that so many percent stayed below; None of no requests."""
        wanted = self.requests * percent / 100
        reached = zip(self.counts, accumulate(self.counts.values()), strict=True)
        return next((edge / _NS_PER_US for edge, count in reached if count >= wanted), None)

    def below(self, edge_ns: int) -> int:
        """Return how many stayed below a time; those of a bin that reaches beyond it did not."""
        return sum(count for edge, count in self.counts.items() if edge <= edge_ns)

    def since(self, before: Self) -> Self:
        """Return those that came after `before`; all, if the daemon has counted anew meanwhile."""
        if any(self.counts.get(edge, 0) < count for edge, count in before.counts.items()):
            return self
        later = {edge: count - before.counts.get(edge, 0) for edge, count in self.counts.items()}
        return type(self)(
            {edge: count for edge, count in later.items() if count}, max(self.total_ns - before.total_ns, 0)
        )

    def percentiles_us(self) -> dict[str, float | None]:
        """Return p50, p90, p99, p999 and max, in µs."""
        return {name: self.percentile_us(percent) for name, percent in PERCENTILES.items()}


def format_latencies(latencies: Mapping[str, Latencies]) -> dict[str, float | str]:
    """Return the keys and values of `latency_stat`; percentiles of operations that there were none of are 0."""
    told: dict[str, float | str] = {}
    for operation, each in latencies.items():
        told[f"{operation}_requests"] = each.requests
        told[f"{operation}_total_us"] = each.total_ns // _NS_PER_US
        told |= {f"{operation}_{name}_us": round(value or 0.0, 3) for name, value in each.percentiles_us().items()}
        told[f"{operation}_bins"] = " ".join(f"{edge}:{count}" for edge, count in each.counts.items())
    return told


def parse_latencies(told: Mapping[str, object]) -> dict[str, Latencies]:
    """Read them from the keys and values of `latency_stat`; ValueError or LookupError for what it does not say."""
    return {operation: _parse(told, operation) for operation in OPERATIONS}


def _parse(told: Mapping[str, object], operation: str) -> Latencies:
    pairs = (pair.partition(":") for pair in str(told[f"{operation}_bins"]).split())
    total_us = int(str(told[f"{operation}_total_us"]))
    return Latencies({int(edge): int(count) for edge, _, count in pairs}, total_us * _NS_PER_US)
