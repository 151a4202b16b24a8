"""Drawings, as SVG to stand in a page. Imports matplotlib, so it is imported for a report only."""

import io
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final, cast

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator

_WIDTH_IN: Final = 10.5
_BAR_IN: Final = 0.42
_MARGIN_IN: Final = 1.0
_BLANKS: Final = re.compile(r"\s*\n\s*(?:<!--.*?-->\s*)?")
_PATH: Final = re.compile(r' d="[^"]*"')
_UNTURNED: Final = re.compile(r' x="[^"]*" y="[^"]*" transform="rotate\(-0 ([^ )]*) ([^ )]*)\)"')
_TOO_EXACT: Final = re.compile(r"(\d\.\d)\d+")
DASHES: Final = ("-", "--", ":", "-.")
"""Of lines, in turn, for a reader without colours."""

_FEW_TIMES: Final = 5
_MANY_TIMES: Final = 100
"""How far the ends of a logarithmic axis are apart: so near, powers of ten would leave it without numbers."""

SOFT: Final = "#4a5568"
INK: Final = "#1a202c"
_STYLE: Final[dict[str, Any]] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "zramfs",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#a0aec0",
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e2e8f0",
    "text.color": INK,
    "axes.labelcolor": SOFT,
    "xtick.color": SOFT,
    "ytick.color": INK,
    "axes.titlesize": 11,
    "axes.titlelocation": "left",
    "axes.titleweight": "bold",
    "legend.frameon": False,
}


@contextmanager
def drawing(
    lines: int, columns: int, height_in: float, *, width_in: float = _WIDTH_IN, share_axes: bool = False
) -> Iterator[tuple[Figure, list[Axes]]]:
    """Begin a figure of so many panels, line by line."""
    with mpl.rc_context(cast("Any", _STYLE)):  # its keys are literals to the type checker
        figure = Figure(figsize=(width_in, height_in), layout="constrained")
        grid = figure.subplots(lines, columns, squeeze=False, sharex=share_axes, sharey=share_axes)
        yield figure, list(grid.flat)


def svg_of(figure: Figure) -> str:
    """Return the drawing without the XML prologue, which has no place in a page, its places to a tenth of a point."""
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None})
    text = buffer.getvalue()
    text = _BLANKS.sub("\n", text[text.index("<svg") :])
    text = _UNTURNED.sub(lambda place: _TOO_EXACT.sub(r"\1", f' x="{place[1]}" y="{place[2]}"'), text)
    return _PATH.sub(lambda path: _TOO_EXACT.sub(r"\1", path[0]), text)


def show_latencies(axes: Axes) -> None:
    """Make both axes logarithmic, of µs and of shares, with numbers that can be read however near their ends are."""
    axes.set(xscale="log", yscale="log")
    axes.minorticks_off()
    least, most = axes.get_xlim()
    if most < _FEW_TIMES * least:
        axes.xaxis.set_major_locator(MaxNLocator(4))
    elif most < _MANY_TIMES * least:
        axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:g} %"))


def height_of_bars_in(count: int) -> float:
    """Return how high a panel of so many bars is, with its axis and a legend."""
    return _MARGIN_IN + _BAR_IN * max(2, count)


def stacked_bars(axes: Axes, parts: Sequence[tuple[str, str, list[float]]], hatched: str = "") -> None:
    """Draw a bar for each place of the parts (label, colour, a value for each bar), end to end."""
    left = [0.0] * len(parts[0][2])
    for label, colour, values in parts:
        hatch = "///" if label == hatched else ""
        axes.barh(
            range(len(values)),
            values,
            left=left,
            height=0.62,
            color=colour,
            label=label,
            hatch=hatch,
            edgecolor="white",
            linewidth=0,
        )
        left = [begin + value for begin, value in zip(left, values, strict=True)]


def name_bars(panels: Sequence[Axes], names: Sequence[str], keys: str) -> None:
    """Name the bars at the left panel, the first one on top; `keys` says what the names are."""
    for axes in panels:
        axes.set_yticks(range(len(names)), labels=[])
        axes.invert_yaxis()
        axes.grid(visible=False, axis="y")
        axes.tick_params(axis="y", length=0)
    panels[0].set_yticklabels(names)
    panels[0].set_ylabel(keys, color=SOFT)
