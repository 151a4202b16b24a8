"""Figures that several reports have, whatever they are of. Imports matplotlib, so it is imported for a report only."""

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from zramfs.reporting.colours import DEVICE, HOST, HOST_INSTEAD, setting_colours
from zramfs.reporting.drawing import (
    DASHES,
    drawing,
    height_of_bars_in,
    name_bars,
    show_latencies,
    stacked_bars,
    svg_of,
)

_LEGEND_CHARACTERS: Final = 120
_STREAMS: Final = {
    "managed": ("managed", DEVICE),
    "percpu": ("per-CPU", HOST),
    "fallback": ("fallback to per-CPU (queue full)", HOST_INSTEAD),
}


class Line(NamedTuple):
    """Of a setting: the share of its requests that took at least so many µs each."""

    name: str
    at_us: Sequence[float]
    shares: Sequence[float]


def latency_figure(panels: Mapping[str, Sequence[Line]], *, keys: str, label: str) -> str:
    """Draw a panel for each kind of request, a line in each for every setting; `keys` says what their names are.

    Both axes are logarithmic: tails are what matters.
    """
    with drawing(1, max(1, len(panels)), 4.2) as (figure, all_axes):
        for axes, (title, lines) in zip(all_axes, panels.items(), strict=False):
            for number, (line, colour) in enumerate(zip(lines, setting_colours(len(lines)), strict=True)):
                dashes = DASHES[number % len(DASHES)]
                axes.plot(line.at_us, line.shares, dashes, color=colour, linewidth=1.6, label=line.name)
            axes.set(title=title, xlabel=label)
            show_latencies(axes)
        all_axes[0].set_ylabel("share of requests that took at least as long")
        handles, labels = all_axes[0].get_legend_handles_labels()
        columns = max(1, min(len(labels), _LEGEND_CHARACTERS // (max(map(len, labels), default=0) + 6)))
        figure.legend(handles, labels, loc="outside lower center", ncols=columns, title=keys)
        return svg_of(figure)


def streams_figure(counts: Mapping[str, Sequence[float]], names: Sequence[str], *, keys: str) -> str:
    """Draw bars of the share of pages by the kind of stream that took them: `managed`, `percpu`, and `fallback`."""
    totals = [sum(of_setting) or 1 for of_setting in zip(*counts.values(), strict=True)]
    parts = [
        (label, colour, [100 * count / total for count, total in zip(counts[kind], totals, strict=True)])
        for kind, (label, colour) in _STREAMS.items()
    ]
    with drawing(1, 1, height_of_bars_in(len(names))) as (figure, panels):
        stacked_bars(panels[0], parts)
        panels[0].set(xlabel="% of pages", xlim=(0, 100))
        name_bars(panels, names, keys)
        figure.legend(loc="outside lower center", ncols=len(parts))
        return svg_of(figure)
