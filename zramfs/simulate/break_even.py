"""Break-even: for which times, engines and depths of its devices managed streams beat per-CPU ones under a load.

Per-CPU streams do not know the device, so one run of them stands beside a grid of devices.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any, Final

from zramfs.errors import InvalidValue
from zramfs.simulate.load_kinds import ClosedLoad, OpenLoad, ReclaimLoad, ReplayLoad
from zramfs.simulate.result import Result
from zramfs.simulate.run import run
from zramfs.simulate.scenario import Scenario
from zramfs.simulate.vary import MOST_SETTINGS, Variation
from zramfs.simulate.verdict import Pays, Verdict, judge, on_percpu_streams, verdict_as_json, with_managed_streams

PAGE_NS: Final = "page_ns"
ENGINES: Final = "engines"
DEPTH: Final = "queue_depth"
AXES: Final[Mapping[str, tuple[int, ...]]] = {
    PAGE_NS: (500, 1000, 2000, 4000, 8000, 16_000, 32_000, 64_000),
    ENGINES: (1, 2, 4, 8),
    DEPTH: (16, 64, 256),
}
"""Of every device, unless --vary has others: what an engine takes for a page, its engines, and its descriptors."""

_ENOUGH_EVENTS: Final = 60_000
"""Of the run on per-CPU streams: ten thousand requests or more, in some 20 ms."""

_PILOT_US: Final = 1000.0
_DRAINS: Final = 6
"""How often a full queue is worked off at least, in the time that is simulated."""

_THOUGHTS: Final = 50
"""How often a user thinks at least, in that time."""

_WARMUP: Final = 0.25
"""Of the time that is simulated, where it is not the scenario's own."""


@dataclass(frozen=True, slots=True)
class Cell:
    """A device of the grid, and whether it pays."""

    page_ns: int
    engines: int
    queue_depth: int
    verdict: Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakEven:
    """The grid: cells by queue depth, then engines, then page time. `is_partial`: it was interrupted."""

    scenario: Scenario
    percpu: Result
    axes: Mapping[str, tuple[int, ...]]
    cells: tuple[Cell, ...]
    is_partial: bool

    def cell(self, page_ns: int, engines: int, queue_depth: int) -> Cell | None:
        """Return one of the cells; None if the grid ended before it."""
        wanted = (page_ns, engines, queue_depth)
        return next((each for each in self.cells if (each.page_ns, each.engines, each.queue_depth) == wanted), None)


def axes_of(variations: Sequence[Variation]) -> Mapping[str, tuple[int, ...]]:
    """Return the grid's axes, with the user's values instead of ours; InvalidValue for another key, or no number."""
    axes = dict(AXES)
    for variation in variations:
        key = variation.key.removeprefix("devices.")
        if key not in axes:
            raise InvalidValue(f"--vary {variation.key}: with --break-even these vary: {', '.join(AXES)}")
        if not all(value.isascii() and value.isdigit() for value in variation.values):
            raise InvalidValue(f"--vary {variation.key}: with --break-even it takes whole numbers")
        axes[key] = tuple(sorted(int(value) for value in variation.values))
    if (count := len(axes[PAGE_NS]) * len(axes[ENGINES]) * len(axes[DEPTH])) > MOST_SETTINGS:
        raise InvalidValue(f"{count:,} settings are too many: {MOST_SETTINGS:,} can be simulated")
    return axes


def find_break_even(
    scenario: Scenario, axes: Mapping[str, tuple[int, ...]], *, on_progress: Callable[[float], None] | None = None
) -> BreakEven:
    """Simulate the grid. KeyboardInterrupt ends it early; `on_progress` is told what share of it is done.

    InvalidValue if the scenario has no device, or a value cannot be one of a device.
    """
    if not scenario.devices:
        raise InvalidValue(f"{scenario.name}: --break-even needs a device: add [[devices]]")
    managed = with_managed_streams(scenario)
    numbers = product(*(axes[key] for key in (DEPTH, ENGINES, PAGE_NS)))
    devices = [(cell, _with_device(managed, *cell)) for cell in numbers]
    steady_us = _steady_us(scenario)
    percpu = run(_lasting(on_percpu_streams(scenario), steady_us))
    cells: list[Cell] = []
    is_partial = percpu.is_partial
    for (depth, engines, page_ns), each in devices:
        if is_partial:
            break
        drain_us = _DRAINS * depth * (page_ns + _job_ns(each)) / 1000 / engines
        result = run(_lasting(each, max(steady_us, drain_us)))
        is_partial = result.is_partial
        if not is_partial:
            cells.append(Cell(page_ns, engines, depth, judge(result, percpu)))
        if on_progress is not None:
            on_progress(len(cells) / len(devices))
    return BreakEven(scenario=scenario, percpu=percpu, axes=axes, cells=tuple(cells), is_partial=is_partial)


def _with_device(scenario: Scenario, queue_depth: int, engines: int, page_ns: int) -> Scenario:
    """Give every device these numbers."""
    devices = []
    for device in scenario.devices:
        profile = device.profile
        for key, number in ((DEPTH, queue_depth), (ENGINES, engines), (PAGE_NS, page_ns)):
            profile = profile.with_setting(key, str(number))
        devices.append(replace(device, profile=profile))
    return replace(scenario, devices=tuple(devices))


def _job_ns(scenario: Scenario) -> int:
    return max(device.profile.number("job_ns") for device in scenario.devices)


# ---- how long is long enough -----------------------------------------------------------------------------------------


def _steady_us(scenario: Scenario) -> float:
    """Return how long per-CPU streams are simulated; all of it, if one part of it is not like another."""
    if not _is_steady(scenario):
        return scenario.duration_us
    pilot = run(replace(on_percpu_streams(scenario), duration_us=min(_PILOT_US, scenario.duration_us), warmup_us=0.0))
    events_per_us = max(pilot.events, 1) / min(_PILOT_US, scenario.duration_us)
    return max(_ENOUGH_EVENTS / events_per_us, *(_THOUGHTS * _pause_us(load) for load in scenario.loads))


def _is_steady(scenario: Scenario) -> bool:
    ends = any(isinstance(load, ReplayLoad) or load.after or getattr(load, "requests", 0) for load in scenario.loads)
    return not ends and not any(device.offline_us for device in scenario.devices)


def _pause_us(load: Any) -> float:
    """Return what a user pauses between requests, on the average."""
    match load:
        case ClosedLoad():
            return load.think_us
        case ReclaimLoad():
            return max(load.think_us, load.pause_us)
        case OpenLoad():
            return 1e6 * load.burst / load.rate_per_s
    return 0.0


def _lasting(scenario: Scenario, us: float) -> Scenario:
    """Return a scenario of at most its own duration."""
    if us >= scenario.duration_us:
        return scenario
    return replace(scenario, duration_us=us, warmup_us=_WARMUP * us)


# ---- in a sentence ---------------------------------------------------------------------------------------------------


def sentence_of(grid: BreakEven) -> str:
    """Say in one sentence where managed streams beat per-CPU ones."""
    if not grid.cells:
        return "The break-even is not known: it was interrupted before the first device."
    counts = {pays: sum(cell.verdict.pays is pays for cell in grid.cells) for pays in Pays}
    where = "; ".join(_by_depth(grid))
    said = f"Managed streams beat per-CPU ones for this load {where}" if where else f"{_nowhere(grid)}"
    rest = [f"{counts[pays]} {word}" for pays, word in _REST.items() if counts[pays]]
    of_all = f"; of the {len(grid.cells)} devices tried, {counts[Pays.YES]} pay"
    return f"{said}{of_all}{''.join(f', {each}' for each in rest)}{_traded(grid)}."


_REST: Final = {Pays.DEPENDS: "depend", Pays.NO: "do not pay", Pays.EVEN: "make no difference"}


def _nowhere(grid: BreakEven) -> str:
    return f"Managed streams beat per-CPU ones for this load with no device of {_span(grid)}"


def _span(grid: BreakEven) -> str:
    pages, engines, depths = (grid.axes[key] for key in (PAGE_NS, ENGINES, DEPTH))
    times = _us(pages[0]) if len(pages) == 1 else f"{pages[0] / 1000:g} to {_us(pages[-1])}"
    many = _engines(engines) if len(engines) == 1 else f"{engines[0]} to {engines[-1]} engines"
    deep = str(depths[0]) if len(depths) == 1 else f"{depths[0]} to {depths[-1]}"
    return f"{times} a page, {many} and {deep} descriptors"


def _by_depth(grid: BreakEven) -> Iterator[str]:
    """For each depth that pays at all, up to which page time; depths that are the same are told together."""
    said: dict[str, list[int]] = {}
    for depth in grid.axes[DEPTH]:
        if limits := _limits(grid, depth):
            said.setdefault(limits, []).append(depth)
    for limits, depths in said.items():
        listed = " or ".join(filter(None, (", ".join(map(str, depths[:-1])), str(depths[-1]))))
        yield f"at a depth of {listed} {limits}"


def _limits(grid: BreakEven, depth: int) -> str:
    """Say up to which page time each number of engines pays; numbers with the same limit together."""
    found: dict[tuple[int, int], list[int]] = {}
    for engines in grid.axes[ENGINES]:
        cells = [grid.cell(ns, engines, depth) for ns in grid.axes[PAGE_NS]]
        if paying := [cell.page_ns for cell in cells if cell and cell.verdict.pays is Pays.YES]:
            found.setdefault((paying[0], paying[-1]), []).append(engines)
    said = [f"{_range(grid, *limits)} with {_engines(engines)}" for limits, engines in found.items()]
    return ", ".join(said).replace(" µs", " µs a page", 1)


def _range(grid: BreakEven, least_ns: int, most_ns: int) -> str:
    begin = "" if least_ns == grid.axes[PAGE_NS][0] else f"{least_ns / 1000:g} to "
    return f"{begin or 'up to '}{_us(most_ns)}"


def _engines(numbers: Sequence[int]) -> str:
    listed = " or ".join(filter(None, (", ".join(map(str, numbers[:-1])), str(numbers[-1]))))
    return f"{listed} engine{'' if numbers == [1] else 's'}"


def _us(page_ns: int) -> str:
    return f"{page_ns / 1000:g} µs"


def _traded(grid: BreakEven) -> str:
    """Say what is gained and lost where it depends."""
    depending = [cell for cell in grid.cells if cell.verdict.pays is Pays.DEPENDS]
    if not depending:
        return ""
    gains, losses = (
        dict.fromkeys(change.name for cell in depending for change in cell.verdict.changes if change.is_gain is kind)
        for kind in (True, False)
    )
    return f" (where it depends, {' or '.join(gains)} is better and {' or '.join(losses)} worse)"


def break_even_as_json(grid: BreakEven) -> dict[str, Any]:
    """Return the sentence, and every cell with its ratios."""
    return {
        "sentence": sentence_of(grid),
        "is_partial": grid.is_partial,
        "percpu_written_pages_per_s": grid.percpu.written_pages_per_s,
        "percpu_cpu_seconds_per_gib": grid.percpu.cpu_seconds_per_gib,
        "axes": {key: list(values) for key, values in grid.axes.items()},
        "cells": [
            {
                "page_ns": cell.page_ns,
                "engines": cell.engines,
                "queue_depth": cell.queue_depth,
                **verdict_as_json(cell.verdict),
            }
            for cell in grid.cells
        ],
    }
