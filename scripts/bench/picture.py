"""The table as a picture: a bar for each ratio, on a logarithmic axis, with its rounds and its floor."""

from html import escape
from math import log10

from report import Ratio, Report, Row, written

WIDTH, ROW_HEIGHT, HEADER_HEIGHT, FOOTER_HEIGHT = 1120, 26, 74, 34
TITLE_X, FIGURE_X, NAME_X, AXIS_X, AXIS_WIDTH, VALUE_X = 16, 372, 388, 500, 430, 946
LEAST, MOST = 0.1, 100.0
COLOURS = {
    "base": "#b06a2c",
    "peer": "#3b6ea8",
    "kernel": "#8a5a9e",
    "nothing": "#7a7a7a",
    "otherwise": "#4f8f6b",
    "base otherwise": "#c79a6b",
    "data": "#555555",
}


def picture(report: Report, caption: str) -> str:
    """Return an SVG of all rows; `caption` says where they come from."""
    lines = [(row, name, ratio) for row in report.rows for name, ratio in row.ratios.items()]
    height = HEADER_HEIGHT + ROW_HEIGHT * len(lines) + FOOTER_HEIGHT
    size = f'viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="sans-serif">',
        f'<rect width="{WIDTH}" height="{height}" fill="white"/>',
        text(TITLE_X, 28, "zramfs, and its figure over another's", size=18),
        text(TITLE_X, 50, caption, colour="#555"),
        text(WIDTH - TITLE_X, 28, "bar: ratio of medians; line: rounds; red: floor", colour="#555", anchor="end"),
        *axis(height),
    ]
    above: Row | None = None
    for number, (row, name, ratio) in enumerate(lines):
        y = HEADER_HEIGHT + ROW_HEIGHT * number
        if row is not above:
            parts += title_of(row, y)
        parts += bar(ratio, name, y)
        above = row
    return "\n".join([*parts, "</svg>", ""])


def axis(height: int) -> list[str]:
    """Return the vertical lines, each with its ratio below; that of 1 is darker."""
    bottom = height - FOOTER_HEIGHT
    parts = []
    for ratio in (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100):
        x, colour = x_of(ratio), "#444" if ratio == 1 else "#ddd"
        parts.append(f'<path d="M{x:.1f} {HEADER_HEIGHT - 6}V{bottom}" stroke="{colour}"/>')
        parts.append(text(x, bottom + 18, f"{ratio:g}x", colour="#555", anchor="middle"))
    return parts


def title_of(row: Row, y: int) -> list[str]:
    """Return a cell's name and zramfs's own figure, below a line."""
    figure = f"{written(row.medians['zramfs'], row.cell.unit)} {row.cell.unit}"
    return [
        f'<path d="M{TITLE_X} {y}H{WIDTH - TITLE_X}" stroke="#eee"/>',
        text(TITLE_X, y + 18, row.cell.title),
        text(FIGURE_X, y + 18, figure, anchor="end"),
    ]


def bar(ratio: Ratio, name: str, y: int) -> list[str]:
    """Return a bar from 1 to the ratio of medians, a whisker for the rounds, and a tick for the floor."""
    begin, end = sorted((x_of(1), x_of(ratio.of_medians)))
    middle = y + ROW_HEIGHT / 2
    parts = [
        text(NAME_X, y + 18, name, colour=COLOURS[name]),
        f'<rect x="{begin:.1f}" y="{y + 6}" width="{end - begin:.1f}" height="14" fill="{COLOURS[name]}"/>',
        f'<path d="M{x_of(ratio.lowest):.1f} {middle}H{x_of(ratio.highest):.1f}" stroke="black"/>',
    ]
    verdict = ""
    if ratio.floor is not None:
        x = x_of(ratio.floor)
        parts.append(f'<path d="M{x:.1f} {y + 2}V{y + 24}" stroke="#d33" stroke-width="2"/>')
        bound = "at most" if ratio.less_is_better else "at least"
        verdict = f", {bound} {ratio.floor:g}: {'yes' if ratio.passes else 'no'}"
    parts.append(text(VALUE_X, y + 18, f"{ratio.of_medians:.2f}{verdict}"))
    return parts


def x_of(ratio: float) -> float:
    """Return where a ratio lies on the axis; what is beyond its ends, at the end."""
    within = min(max(ratio, LEAST), MOST)
    return AXIS_X + AXIS_WIDTH * log10(within / LEAST) / log10(MOST / LEAST)


def text(x: float, y: float, words: str, *, colour: str = "black", anchor: str = "start", size: int = 13) -> str:
    """Return a line of text."""
    return f'<text x="{x:.1f}" y="{y}" fill="{colour}" text-anchor="{anchor}" font-size="{size}">{escape(words)}</text>'
