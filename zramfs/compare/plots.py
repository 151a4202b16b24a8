"""The report's plots, as SVG to stand in its page. Imports matplotlib, so it is imported for a report only."""

from collections.abc import Sequence
from math import ceil
from typing import Final

from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from zramfs.compare.figures import CPU_KINDS
from zramfs.compare.observation import Observation
from zramfs.compare.rounds import Row
from zramfs.compare.trace import STAGES
from zramfs.compare.workload import KINDS
from zramfs.reporting.colours import DEVICE, HOST, IN_HAND, OTHER, REPLY, setting_colours
from zramfs.reporting.drawing import SOFT, drawing, height_of_bars_in, name_bars, stacked_bars, svg_of
from zramfs.reporting.figures import Line, latency_figure, streams_figure

_SEPARATOR: Final = " · "


def throughput_plot(rows: Sequence[Row]) -> str:
    """Bars of the median MB/s for each kind of request, a dot for each round."""
    kinds = [kind for kind in KINDS if any(f"{kind}_mb_s" in row.spreads for row in rows)]
    with drawing(1, len(kinds), height_of_bars_in(len(rows))) as (figure, panels):
        for kind, axes in zip(kinds, panels, strict=True):
            _bars_of_rounds(axes, rows, f"{kind}_mb_s")
            axes.set(title=kind, xlabel="MB/s", xlim=(0, None))
        name_bars(panels, [_short_name(row) for row in rows], _keys(rows))
        return svg_of(figure)


def latency_plot(rows: Sequence[Row]) -> str:
    """For each kind of request, the share that took at least as long."""
    panels = {
        kind: [_latency_line(row, kind) for row in rows] for kind in KINDS if any(row.latencies(kind) for row in rows)
    }
    return latency_figure(panels, keys=_keys(rows), label="completion latency, µs")


_CPU_PARTS: Final = {
    "serving": ("serving requests", HOST),
    "other": ("other threads", OTHER),
    "device": ("the device's own work (emulation; hardware would not need it)", DEVICE),
}
_STAGE_COLOURS: Final = {"submission": HOST, "completion": DEVICE, "answer": REPLY}


def cpu_plot(rows: Sequence[Row]) -> str:
    """Bars of CPU time per GiB, that of the device's own work hatched: emulation."""
    parts = [
        (label, colour, [_median(row, f"cpu_{kind}_s_per_gib") for row in rows])
        for kind, (label, colour) in zip(CPU_KINDS, _CPU_PARTS.values(), strict=True)
    ]
    with drawing(1, 1, height_of_bars_in(len(rows))) as (figure, panels):
        stacked_bars(panels[0], parts, hatched=_CPU_PARTS["device"][0])
        panels[0].set(xlabel="CPU seconds per GiB")
        name_bars(panels, [_short_name(row) for row in rows], _keys(rows))
        figure.legend(loc="outside lower center", ncols=3)
        return svg_of(figure)


def streams_plot(rows: Sequence[Row]) -> str:
    """Bars of the share of pages by the stream that took them."""
    counts = {kind: [_median(row, f"{kind}_pages") for row in rows] for kind in ("managed", "percpu", "fallback")}
    return streams_figure(counts, [_short_name(row) for row in rows], keys=_keys(rows))


def depth_plot(rows: Sequence[Row], observations: Sequence[Observation]) -> str:
    """One panel a setting that was observed, all with the same axes: pages in hand, and those in the device's queue."""
    columns = min(2, len(observations))
    lines = ceil(len(observations) / columns)
    with drawing(lines, columns, 1.5 * lines + 1.0, share_axes=True) as (figure, panels):
        for axes, row, observation in zip(panels, rows, observations, strict=False):
            depth, queue = observation.depth, observation.queue
            _area(axes, depth.at_s, depth.in_hand_pages, label="in hand")
            axes.plot(queue.at_s, queue.pages, color=DEVICE, linewidth=0.9, label="in the accelerator's queue")
            axes.set_title(row.setting.name, fontsize=9)
        panels[0].set(ylim=(0, None), xlim=(0, None))  # all panels share these
        panels[0].yaxis.set_major_locator(MaxNLocator(integer=True))
        for axes in panels[len(observations) :]:
            axes.set_axis_off()
        figure.supxlabel("seconds", fontsize=9, color=SOFT)
        figure.supylabel("pages", fontsize=9, color=SOFT)
        figure.legend(*panels[0].get_legend_handles_labels(), loc="outside upper right", ncols=2)
        return svg_of(figure)


def stages_plot(rows: Sequence[Row], observations: Sequence[Observation]) -> str:
    """Bars of the mean µs that requests spend in each stage, a panel for each kind."""
    observed = rows[: len(observations)]
    kinds = [kind for kind in KINDS if any(kind in each.stages_us for each in observations)]
    with drawing(1, len(kinds), height_of_bars_in(len(observed))) as (figure, panels):
        for kind, axes in zip(kinds, panels, strict=True):
            of_kind = [each.stages_us.get(kind, {}) for each in observations]
            parts = [(name, _STAGE_COLOURS[name], [each.get(name, 0.0) for each in of_kind]) for name in STAGES]
            stacked_bars(axes, parts)
            axes.set(title=kind, xlabel="mean µs a request")
        name_bars(panels, [_short_name(row) for row in observed], _keys(observed))
        figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=len(STAGES))
        return svg_of(figure)


def _area(axes: Axes, at_s: Sequence[float], pages: Sequence[int], label: str) -> None:
    """Fill what is below a line, as a polygon of no more corners than it needs; there may be no line."""
    if at_s:
        axes.fill([at_s[0], *at_s, at_s[-1]], [0, *pages, 0], color=IN_HAND, linewidth=0, label=label)


def _median(row: Row, key: str) -> float:
    spread = row.spreads.get(key)
    return spread.median if spread else 0.0


def _short_name(row: Row) -> str:
    """Return the values alone; `_keys` tells once what they are."""
    return _SEPARATOR.join(value for _, value in row.setting.values)


def _keys(rows: Sequence[Row]) -> str:
    return _SEPARATOR.join(key for key, _ in rows[0].setting.values)


def _bars_of_rounds(axes: Axes, rows: Sequence[Row], key: str) -> None:
    places = range(len(rows))
    axes.barh(places, [_median(row, key) for row in rows], height=0.62, color=setting_colours(len(rows)), alpha=0.85)
    for place, row in enumerate(rows):
        values = [value for run in row.runs if (value := run.figures.get(key)) is not None]
        axes.plot(values, [place] * len(values), "o", color="#1a202c", markersize=3.5, markerfacecolor="white")


def _latency_line(row: Row, kind: str) -> Line:
    histogram = row.latencies(kind)
    return Line(_short_name(row), *(histogram.slower_than() if histogram else ([], [])))
