"""Shows results: as a table on a terminal, and as JSON."""

from collections.abc import Sequence
from dataclasses import asdict
from itertools import product
from typing import Any

from rich import box
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table

from zramfs.simulate.break_even import DEPTH, ENGINES, PAGE_NS, BreakEven, Cell, sentence_of
from zramfs.simulate.load_kinds import ReplayLoad
from zramfs.simulate.result import REQUEST_CLASSES, Latency, Result
from zramfs.simulate.scenario import Scenario
from zramfs.simulate.verdict import MARKS, judge_all

_SHORT = {"sync_writes": "sync write", "async_writes": "async write", "reads": "read"}
_SHOWN = (50.0, 99.0, 99.99)
_WIDEST = 1000


def print_results(results: Sequence[Result], console: Console) -> None:
    """Print a row for each setting, or everything about the one that there is."""
    if len(results) == 1:
        print_result(results[0], console)
        return
    table = _grid(results)
    for result in results:
        table.add_row(*(value for _, value in result.scenario.varied), *cells_of(result, classes_of(results)))
    _print_whole(table, console)
    for result, verdict in judge_all(results):
        values = ", ".join(f"{key}={value}" for key, value in result.scenario.varied)
        console.print(f"{values}: {verdict}", soft_wrap=True)


def print_break_even(grid: BreakEven, console: Console) -> None:
    """Print the sentence, and of each device whether it pays, with the ratio of pages written, or read, a second."""
    console.print(f"\n{sentence_of(grid)}", soft_wrap=True)
    if not grid.cells:
        return
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for heading in ("queue_depth", "engines", *(f"{page_ns / 1000:g}µs" for page_ns in grid.axes[PAGE_NS])):
        table.add_column(heading, justify="right")
    for depth, engines in product(grid.axes[DEPTH], grid.axes[ENGINES]):
        cells = [grid.cell(page_ns, engines, depth) for page_ns in grid.axes[PAGE_NS]]
        table.add_row(str(depth), str(engines), *(_cell(cell) for cell in cells))
    _print_whole(table, console)
    marks = ", ".join(f"{mark} {pays.value}" for pays, mark in MARKS.items())
    console.print(f"{marks}; beside it, how many times as many pages a second", soft_wrap=True)


def _cell(cell: Cell | None) -> str:
    return f"{MARKS[cell.verdict.pays]} {cell.verdict.changes[0].ratio:.2f}" if cell else "-"


def _print_whole(table: Table, console: Console) -> None:
    """Print a table as wide as it is: a terminal that is narrower wraps its lines, and cuts nothing off."""
    wide = console.options.update(max_width=_WIDEST)
    width = Measurement.get(console, wide, table).maximum
    Console(file=console.file, width=width, highlight=False).print(table)


def _grid(results: Sequence[Result]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for key, _ in results[0].scenario.varied:
        table.add_column(key)
    for heading in headings_of(results):
        table.add_column(heading, justify="right")
    return table


def headings_of(results: Sequence[Result]) -> list[str]:
    """Return the headings of a row's cells, in lines."""
    headings = ["written\npages/s", "read\npages/s"]
    for name in classes_of(results):
        headings += ["\n".join([*_SHORT[name].split(), f"p{percent:g}"]) for percent in _SHOWN]
    return [*headings, "CPU\ns/GiB", "CPU\nused", "man-\naged", "fall-\nback", "lock\nwaits"]


def classes_of(results: Sequence[Result]) -> list[str]:
    """Return the classes of requests that there are in any result."""
    return [name for name in REQUEST_CLASSES if any(result.latencies[name].requests for result in results)]


def cells_of(result: Result, classes: Sequence[str]) -> list[str]:
    """Return a result as a row has it, without what is varied."""
    pages = result.pages
    latencies = [_us(result.latencies[name], percent) for name in classes for percent in _SHOWN]
    managed = pages.managed / pages.written if pages.written else 0.0
    return [
        _count(result.written_pages_per_s) + ("*" if result.is_partial else ""),
        _count(result.read_pages_per_s),
        *latencies,
        f"{result.cpu_seconds_per_gib:.2f}",
        f"{result.cpu_share:.0%}",
        f"{managed:.0%}",
        f"{pages.fallback_share:.0%}",
        _count(result.lock_waits.count),
    ]


def _us(latency: Latency, percent: float) -> str:
    return _time(latency.percentiles_us[percent]) if latency.requests else "-"


def _count(number: float) -> str:
    """Three digits: 950, 9.39k, 12.3M."""
    return f"{number:.3g}" if number < 999.5 else f"{number / 1e3:.3g}k" if number < 999.5e3 else f"{number / 1e6:.3g}M"


def _time(us: float) -> str:
    """Three digits: 5.38µs, 61.6ms, 2.1s."""
    return f"{us:.3g}µs" if us < 999.5 else f"{us / 1e3:.3g}ms" if us < 999.5e3 else f"{us / 1e6:.3g}s"


def _short(us: float) -> str:
    return f"{us:,.1f}" if us < 1000 else f"{us:,.0f}"


def print_result(result: Result, console: Console) -> None:
    """Print everything about one scenario."""
    scenario = result.scenario
    console.print(f"{scenario.name}: {scenario.summary}" if scenario.summary else scenario.name, soft_wrap=True)
    console.print(f"{scenario.machine.cpus} CPUs ({scenario.machine.name}), {len(scenario.devices)} devices")
    _print_whole(_latencies(result), console)
    table = Table("", "", box=None, show_header=False, pad_edge=False)
    for name, value in _figures(result):
        table.add_row(name, value)
    console.print(table)


def _latencies(result: Result) -> Table:
    percentiles = [f"p{percent:g}" for percent in next(iter(result.latencies.values())).percentiles_us]
    table = Table("µs", box=box.SIMPLE_HEAD, pad_edge=False)
    for heading in ("requests", "mean", "± 95 %", *percentiles, "max"):
        table.add_column(heading, justify="right")
    for name, latency in result.latencies.items():
        if latency.requests:
            error = _short(latency.mean_error_us) if latency.mean_error_us else "-"
            figures = [_short(us) for us in (*latency.percentiles_us.values(), latency.max_us)]
            table.add_row(_SHORT[name], f"{latency.requests:,}", _short(latency.mean_us), error, *figures)
    return table


def _figures(result: Result) -> list[tuple[str, str]]:
    pages, waits = result.pages, result.lock_waits
    used = {name: seconds for name, seconds in result.cpu_seconds.items() if seconds}
    total_s = sum(used.values()) or 1.0
    return [
        ("throughput", f"{result.written_pages_per_s:,.0f} pages/s written, {result.read_pages_per_s:,.0f} read"),
        ("pages written", f"{pages.percpu:,} per-CPU, {pages.managed:,} managed, {pages.fallback:,} fallback"),
        *([("pages redone", f"{pages.redone:,} in software, of a device that failed")] if pages.redone else []),
        ("CPU time", f"{result.cpu_seconds_per_gib:.2f} s/GiB, {result.cpu_share:.0%} of all CPUs"),
        ("of which", ", ".join(f"{name} {seconds / total_s:.0%}" for name, seconds in used.items()) or "none"),
        ("lock waits", f"{waits.count:,}, mean {waits.mean_us:,.1f} µs, longest {waits.max_us:,.1f} µs"),
        *(
            (
                device.name,
                f"{device.busy_share:.0%} busy, {device.refused:,} times full, {device.lost_runs:,} runs lost",
            )
            for device in result.devices
        ),
        *((load.name, f"{load.dropped:,} arrivals dropped: 65,536 waited") for load in result.loads if load.dropped),
        ("simulated", f"{result.measured_s:g} s measured, {result.events:,} events in {result.wall_s:.2f} s"),
    ]


def as_json(result: Result) -> dict[str, Any]:
    """Everything that was measured, and the scenario with each number's basis; without the requests of recordings."""
    latencies = {
        name: {**asdict(latency), "percentiles_us": {f"p{key:g}": us for key, us in latency.percentiles_us.items()}}
        for name, latency in result.latencies.items()
    }
    return {
        "scenario": _scenario_as_json(result.scenario),
        "is_partial": result.is_partial,
        "measured_s": result.measured_s,
        "wall_s": result.wall_s,
        "events": result.events,
        "written_pages_per_s": result.written_pages_per_s,
        "read_pages_per_s": result.read_pages_per_s,
        "cpu_seconds_per_gib": result.cpu_seconds_per_gib,
        "cpu_share": result.cpu_share,
        "fallback_share": result.pages.fallback_share,
        "latencies": latencies,
        "pages": asdict(result.pages),
        "lock_waits": asdict(result.lock_waits),
        "cpu_seconds": dict(result.cpu_seconds),
        "devices": [asdict(device) for device in result.devices],
        "loads": [asdict(load) for load in result.loads],
    }


def _scenario_as_json(scenario: Scenario) -> dict[str, Any]:
    loads = [
        {field: getattr(load, field) for field in load.__slots__ if field != "trace"}
        | {"kind": type(load).__name__.removesuffix("Load").lower()}
        | ({"requests": len(load.trace), "skipped_lines": load.trace.skipped} if isinstance(load, ReplayLoad) else {})
        for load in scenario.loads
    ]
    return {
        "name": scenario.name,
        "summary": scenario.summary,
        "varied": dict(scenario.varied),
        "seed": scenario.seed,
        "duration_us": scenario.duration_us,
        "warmup_us": scenario.warmup_us,
        "algorithm": scenario.algorithm,
        "service": scenario.service,
        "jitter_percent": scenario.jitter_percent,
        "machine": asdict(scenario.machine),
        "scheduler": asdict(scenario.scheduler),
        "streams": asdict(scenario.streams),
        "devices": [asdict(device) for device in scenario.devices],
        "loads": loads,
    }
