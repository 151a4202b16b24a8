"""Whether managed streams pay: a result beside that of the same scenario on per-CPU streams alone."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from typing import Final

from zramfs.contracts import StreamPolicy
from zramfs.simulate.result import Result
from zramfs.simulate.scenario import Scenario

LEAST_CHANGE: Final = 0.05
"""Of throughput and CPU time: what is less is no difference. Nothing here is measured, so this is a judgement."""

LEAST_P99_CHANGE: Final = 0.10
"""Likewise of a 99th percentile: one bin of the histogram is 1/128, so this is many bins."""

_P99: Final = 99.0
_POLICY_KEYS: Final = ("policy", "streams.policy")


class Pays(Enum):
    """YES: something is better, nothing worse. DEPENDS: some is better, some worse. NO: only worse. EVEN: neither."""

    YES = "pays"
    DEPENDS = "depends"
    NO = "does not pay"
    EVEN = "no difference"


MARKS: Final = {Pays.YES: "+", Pays.DEPENDS: "±", Pays.NO: "−", Pays.EVEN: "="}  # noqa: RUF001 - a minus sign
"""As a cell of a map has them."""


@dataclass(frozen=True, slots=True)
class Change:
    """Of one figure, as a ratio to that of per-CPU streams. `is_gain` is None where it is too small to count."""

    name: str
    ratio: float
    is_gain: bool | None

    def __str__(self) -> str:
        percent = 100 * (self.ratio - 1)
        return f"{self.name} {percent:+.0f} %" if percent < 1000 else f"{self.name} {self.ratio:.0f} times"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What there is to say of one scenario."""

    pays: Pays
    changes: tuple[Change, ...]

    def __str__(self) -> str:
        counted = [str(change) for change in self.changes if change.is_gain is not None]
        return f"{self.pays.value}: {', '.join(counted)}" if counted else self.pays.value


def on_percpu_streams(scenario: Scenario) -> Scenario:
    """Return the same scenario with per-CPU streams alone; reads as well."""
    return replace(scenario, streams=replace(scenario.streams, policy=StreamPolicy.PERCPU, device_reads=False))


def with_managed_streams(scenario: Scenario) -> Scenario:
    """Return the same scenario with managed streams: its own policy, or `auto` where that has none."""
    if scenario.streams.policy is not StreamPolicy.PERCPU:
        return scenario
    return replace(scenario, streams=replace(scenario.streams, policy=StreamPolicy.AUTO))


def judge(result: Result, percpu: Result) -> Verdict:
    """Compare throughput, CPU time for a page, and the 99th percentiles of those who wait: reads, synchronous writes.

    That of asynchronous writes does not count, as nobody waits for one: their throughput does.
    """
    changes = tuple(_changes(result, percpu))
    gains = any(change.is_gain for change in changes)
    losses = any(change.is_gain is False for change in changes)
    pays = {(True, False): Pays.YES, (True, True): Pays.DEPENDS, (False, True): Pays.NO, (False, False): Pays.EVEN}
    return Verdict(pays[gains, losses], changes)


def _changes(result: Result, percpu: Result) -> list[Change]:
    figures: list[tuple[str, float, float, float, bool]] = [
        ("pages written/s", result.written_pages_per_s, percpu.written_pages_per_s, LEAST_CHANGE, True),
        ("pages read/s", result.read_pages_per_s, percpu.read_pages_per_s, LEAST_CHANGE, True),
        ("CPU s/GiB", result.cpu_seconds_per_gib, percpu.cpu_seconds_per_gib, LEAST_CHANGE, False),
    ]
    for key, name in (("sync_writes", "sync write p99"), ("reads", "read p99")):
        after, before = (each.latencies[key] for each in (result, percpu))
        if after.requests and before.requests:
            p99s = (after.percentiles_us[_P99], before.percentiles_us[_P99])
            figures.append((name, *p99s, LEAST_P99_CHANGE, False))
    return [_change(*figure) for figure in figures if figure[2]]


def _change(name: str, after: float, before: float, least: float, more_is_better: bool) -> Change:  # noqa: FBT001
    ratio = after / before
    is_small = 1 - least < ratio < 1 / (1 - least)
    return Change(name, ratio, None if is_small else (ratio > 1) == more_is_better)


def judge_all(results: Sequence[Result]) -> list[tuple[Result, Verdict]]:
    """Judge each result of a grid that has its like on per-CPU streams beside it."""
    baselines = {_others(each): each for each in results if each.scenario.streams.policy is StreamPolicy.PERCPU}
    return [
        (each, judge(each, baselines[_others(each)]))
        for each in results
        if each.scenario.streams.policy is not StreamPolicy.PERCPU and _others(each) in baselines
    ]


def _others(result: Result) -> tuple[tuple[str, str], ...]:
    """Return what is varied beside the policy."""
    return tuple((key, value) for key, value in result.scenario.varied if key not in _POLICY_KEYS)


def verdict_as_json(verdict: Verdict) -> Mapping[str, object]:
    """Return the verdict with the ratio of each figure to that of per-CPU streams."""
    return {"pays": verdict.pays.value, "ratios": {change.name: change.ratio for change in verdict.changes}}
