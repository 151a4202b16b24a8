"""The report's plots, as SVG to stand in its page. Imports matplotlib, so it is imported for a report only."""

from collections.abc import Mapping, Sequence
from math import ceil, log2
from typing import Final

from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.patches import Rectangle

from zramfs.reporting.colours import DEVICE, HOST, HOST_INSTEAD, OTHER, setting_colours
from zramfs.reporting.drawing import (
    DASHES,
    INK,
    SOFT,
    drawing,
    height_of_bars_in,
    name_bars,
    stacked_bars,
    svg_of,
)
from zramfs.reporting.figures import Line, latency_figure, streams_figure
from zramfs.simulate.break_even import DEPTH, ENGINES, PAGE_NS, BreakEven, Cell
from zramfs.simulate.result import NOT_OURS, REQUEST_CLASSES, Result
from zramfs.simulate.verdict import MARKS, Change, Pays

_SEPARATOR: Final = " · "
_CPU_PARTS: Final = {
    "compressing, decompressing, storing": (HOST, ("compress", "decompress", "page")),
    "again, for a device that failed": (HOST_INSTEAD, ("redo",)),
    "for the device: submission, polling, completion": (DEVICE, ("submit", "poll", "completion")),
    "requests and wake-ups": (OTHER, ("request", "wake")),
}
_BETTER: Final = LinearSegmentedColormap.from_list("better", [HOST, "#ffffff", DEVICE])
_MOST_TIMES: Final = 4.0
"""Better or worse: the colour of whatever is more."""

_PALE: Final = 0.62
"""Of the range of colours: text stays black on them."""


def throughput_plot(results: Sequence[Result]) -> str:
    """Bars of pages a second, written and read."""
    figures = {
        "written": [result.written_pages_per_s / 1e3 for result in results],
        "read": [result.read_pages_per_s / 1e3 for result in results],
    }
    shown = {name: values for name, values in figures.items() if any(values)}
    with drawing(1, max(1, len(shown)), height_of_bars_in(len(results))) as (figure, panels):
        for axes, (name, values) in zip(panels, shown.items(), strict=False):
            bars = axes.barh(range(len(values)), values, height=0.62, color=setting_colours(len(values)))
            axes.bar_label(bars, fmt="{:,.0f}", padding=3, fontsize=8)
            axes.set(title=name, xlabel="thousand pages a second")
            axes.margins(x=0.12)
        name_bars(panels, names_of(results), keys_of(results))
        return svg_of(figure)


def latency_plot(results: Sequence[Result]) -> str:
    """For each class of requests, the share that took at least as long."""
    classes = [name for name in REQUEST_CLASSES if any(result.latencies[name].requests for result in results)]
    panels = {
        name.replace("_", " "): [
            Line(setting, *_slower_than(result.latencies[name].bins))
            for setting, result in zip(names_of(results), results, strict=True)
        ]
        for name in classes
    }
    return latency_figure(panels, keys=keys_of(results), label="latency, µs")


def _slower_than(bins: Sequence[tuple[float, int]]) -> tuple[list[float], list[float]]:
    """Return the lower edges of bins, and the share of requests in them or above."""
    left = total = sum(count for _, count in bins)
    edges_us, shares = [], []
    for edge_us, count in bins:
        edges_us.append(max(edge_us, 1e-3))
        shares.append(left / total)
        left -= count
    return edges_us, shares


def cpu_plot(results: Sequence[Result]) -> str:
    """Bars of CPU time for each GiB, by what it went into."""
    parts = [
        (label, colour, [_seconds_per_gib(result, purposes) for result in results])
        for label, (colour, purposes) in _CPU_PARTS.items()
    ]
    with drawing(1, 1, height_of_bars_in(len(results)) + 0.25) as (figure, panels):
        stacked_bars(panels[0], parts)
        panels[0].set(xlabel="CPU seconds per GiB")
        name_bars(panels, names_of(results), keys_of(results))
        figure.legend(loc="outside lower center", ncols=2)
        return svg_of(figure)


def _seconds_per_gib(result: Result, purposes: Sequence[str]) -> float:
    total_s = sum(seconds for purpose, seconds in result.cpu_seconds.items() if purpose not in NOT_OURS)
    share = sum(result.cpu_seconds[purpose] for purpose in purposes) / total_s if total_s else 0.0
    return share * result.cpu_seconds_per_gib


def streams_plot(results: Sequence[Result]) -> str:
    """Bars of the share of written pages by the stream that took them."""
    counts = {kind: [getattr(each.pages, kind) for each in results] for kind in ("managed", "percpu", "fallback")}
    return streams_figure(counts, names_of(results), keys=keys_of(results))


def depth_plot(results: Sequence[Result]) -> str:
    """A panel for each setting, all with the same axes: the descriptors that each device has in use, over time."""
    columns = min(2, len(results))
    lines = ceil(len(results) / columns)
    with drawing(lines, columns, 1.5 * lines + 0.8, share_axes=True) as (figure, panels):
        for axes, result, name in zip(panels, results, names_of(results), strict=False):
            for device, dashes in zip(result.devices, DASHES * len(result.devices), strict=False):
                times_ms = [1000 * device.depth.interval_s * number for number in range(len(device.depth.means))]
                axes.plot(times_ms, device.depth.means, dashes, color=DEVICE, linewidth=0.9, label=device.name)
            axes.set_title(name, fontsize=9)
        panels[0].set(ylim=(0, None), xlim=(0, None))
        for axes in panels[len(results) :]:
            axes.set_axis_off()
        figure.supxlabel("ms of virtual time", fontsize=9, color=SOFT)
        figure.supylabel("pages in the queue", fontsize=9, color=SOFT)
        return svg_of(figure)


# ---- the heat map ----------------------------------------------------------------------------------------------------


def break_even_plot(grid: BreakEven, names: Sequence[str] | None = None) -> str:
    """A line of maps for each figure, one for each depth: page time by engines, the ratio to per-CPU streams in each.

    `names` are the figures that are shown, if not all.
    """
    all_names = list(dict.fromkeys(change.name for cell in grid.cells for change in cell.verdict.changes))
    shown = [name for name in all_names if names is None or name in names]
    depths = grid.axes[DEPTH]
    height_in = len(shown) * (0.26 * len(grid.axes[ENGINES]) + 0.75) + 0.3
    with drawing(max(1, len(shown)), len(depths), height_in) as (figure, panels):
        for line, name in enumerate(shown):
            for column, depth in enumerate(depths):
                axes = panels[line * len(depths) + column]
                _map(axes, grid, name, depth)
                axes.set_title(f"{name}, depth {depth}", fontsize=9)
                axes.set_yticks(range(len(grid.axes[ENGINES])), labels=map(str, grid.axes[ENGINES]))
        for axes in panels[:: len(depths)]:
            axes.set_ylabel("engines")
        figure.supxlabel("µs that an engine takes for a page", fontsize=9, color=SOFT)
        return svg_of(figure)


def _map(axes: Axes, grid: BreakEven, name: str, depth: int) -> None:
    pages = grid.axes[PAGE_NS]
    axes.grid(visible=False)
    axes.tick_params(length=0, labelsize=8)
    axes.set_xticks(range(len(pages)), labels=[f"{page_ns / 1000:g}" for page_ns in pages])
    axes.set(xlim=(-0.5, len(pages) - 0.5), ylim=(-0.5, len(grid.axes[ENGINES]) - 0.5))
    for row, engines in enumerate(grid.axes[ENGINES]):
        for column, page_ns in enumerate(pages):
            if cell := grid.cell(page_ns, engines, depth):
                _draw_cell(axes, column, row, cell, name)


def _draw_cell(axes: Axes, column: int, row: int, cell: Cell, name: str) -> None:
    change = next((each for each in cell.verdict.changes if each.name == name), None)
    if change is None:
        return
    shade = _shade(change)
    pays = cell.verdict.pays is Pays.YES
    margin = 0.06 if pays else 0.02
    axes.add_patch(
        Rectangle(
            (column - 0.5 + margin, row - 0.5 + margin),
            1 - 2 * margin,
            1 - 2 * margin,
            facecolor=_BETTER(shade),
            edgecolor=INK if pays else "white",
            linewidth=1,
            clip_on=False,
        )
    )
    is_dark = shade < 1 - _PALE - 0.15
    axes.text(
        column,
        row,
        f"{MARKS[cell.verdict.pays]}{_written(change.ratio)}",
        ha="center",
        va="center",
        fontsize=6.5,
        color="white" if is_dark else INK,
    )


def _written(ratio: float) -> str:
    return f"{ratio:.2g}" if 0.1 <= ratio < 100 else f"{ratio:.2f}" if ratio >= 0.01 else "<.01"


def _shade(change: Change) -> float:
    """Return where a ratio lies between four times worse (0) and four times better (1)."""
    better = change.ratio if change.name.startswith("pages") else 1 / max(change.ratio, 1e-9)
    return 0.5 + 0.5 * max(-1.0, min(1.0, log2(max(better, 1e-9)) / log2(_MOST_TIMES)))


# ---- names -----------------------------------------------------------------------------------------------------------


def names_of(results: Sequence[Result]) -> list[str]:
    """Return the values of what is varied in each; of a single one its name."""
    return [_SEPARATOR.join(value for _, value in each.scenario.varied) or each.scenario.name for each in results]


def keys_of(results: Sequence[Result]) -> str:
    """Return what is varied."""
    return _SEPARATOR.join(key for key, _ in results[0].scenario.varied)


def legend_of_marks() -> Mapping[str, str]:
    """Return what the marks in the cells mean."""
    return {mark: pays.value for pays, mark in MARKS.items()}
