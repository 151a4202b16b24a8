"""The report: a page that needs nothing beside it. Imports matplotlib only when it is made."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from importlib import resources
from typing import Any, Final

from zramfs.accel.facts import facts_of
from zramfs.reporting.page import render_page
from zramfs.simulate.break_even import BreakEven, sentence_of
from zramfs.simulate.result import Result
from zramfs.simulate.scenario import NO_COST, Cost, Machine
from zramfs.simulate.table import cells_of, classes_of, headings_of
from zramfs.simulate.verdict import LEAST_CHANGE, LEAST_P99_CHANGE, judge_all

MOST_DRAWN: Final = 32
"""Settings in a plot: as many colours as there are. The table has all."""

_MOST_OVER_TIME: Final = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class Circumstances:
    """What a reader needs to get the same page again; `source` is the scenario's text."""

    command: str
    version: str
    when: str
    source: str


def render_report(results: Sequence[Result], grid: BreakEven | None, circumstances: Circumstances) -> str:
    """Return the page; there is at least one result."""
    scenario = results[0].scenario
    return render_page(
        resources.files("zramfs.simulate").joinpath("templates/report.html").read_text(),
        scenario=scenario,
        results=results,
        circumstances=circumstances,
        keys=[key for key, _ in scenario.varied],
        headings=[heading.replace("-\n", "").replace("\n", " ") for heading in headings_of(results)],
        rows=[
            ([value for _, value in each.scenario.varied] or [each.scenario.name], cells_of(each, classes_of(results)))
            for each in results
        ],
        verdicts=[(_setting(result), str(verdict)) for result, verdict in judge_all(results)],
        sentence=sentence_of(grid) if grid else "",
        least_change=LEAST_CHANGE,
        least_p99_change=LEAST_P99_CHANGE,
        most_drawn=MOST_DRAWN,
        plots=_plots(results[:MOST_DRAWN], grid),
        machines=[(each, list(_costs_of(each))) for each in _machines_of(results)],
        devices=facts_of(device.profile for each in results for device in each.scenario.devices),
    )


def _setting(result: Result) -> str:
    return ", ".join(f"{key}={value}" for key, value in result.scenario.varied) or result.scenario.name


def _plots(results: Sequence[Result], grid: BreakEven | None) -> dict[str, Any]:
    from zramfs.simulate import plots  # noqa: PLC0415 - imports matplotlib

    busy = [each for each in results if any(device.pages for device in each.devices)][:_MOST_OVER_TIME]
    return {
        "throughput": plots.throughput_plot(results),
        "latency": plots.latency_plot(results),
        "cpu": plots.cpu_plot(results),
        "streams": plots.streams_plot(results) if any(each.pages.written for each in results) else "",
        "depth": plots.depth_plot(busy) if busy else "",
        "break_even": plots.break_even_plot(grid) if grid and grid.cells else "",
        "marks": plots.legend_of_marks(),
    }


def _machines_of(results: Sequence[Result]) -> list[Machine]:
    """Return the machines that differ, each once."""
    machines: list[Machine] = []
    for result in results:
        if result.scenario.machine not in machines:
            machines.append(result.scenario.machine)
    return machines


def _costs_of(machine: Machine) -> Iterator[tuple[str, Cost]]:
    for group in machine.groups:
        for name, costs in (("compress", group.compress), ("decompress", group.decompress)):
            for algorithm, cost in costs.items():
                yield f"{group.count} {group.name}: {name} a page, {algorithm}", cost
    for field in fields(machine.costs):
        if (cost := getattr(machine.costs, field.name)) is not NO_COST:
            yield field.name, cost
