"""The results as a picture for people: how many times as fast zramfs is as the kernel's zram, and as its nearest peer.

python scripts/bench/picture.py RESULTS.json PICTURE.svg      draws it again from what `make bench` wrote
"""

import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from html import escape
from math import log10
from pathlib import Path
from typing import Any

WIDTH, BAR_HEIGHT, CELL_GAP, HEADER_HEIGHT, FOOTER_HEIGHT = 1120, 18, 10, 128, 72
TITLE_X, FIGURE_X, UNIT_X, THEIRS_X, AXIS_X, AXIS_WIDTH, RATIO_X = 20, 364, 372, 480, 510, 500, 1026
LEAST, MOST = 0.1, 50.0
TICKS = (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50)
GREY, BLACK = "#666", "#222"
TIMES = "\N{MULTIPLICATION SIGN}"


@dataclass(frozen=True)
class Rival:
    """Another's program, as people call it."""

    name: str
    colour: str


RIVALS = {
    "kernel": Rival("the kernel's zram with lz4", "#8a5a9e"),
    "peer": Rival("the nearest peer: nbdkit's memory disk with zstd, mounted by nbdfuse", "#3b6ea8"),
}
"""Those that are drawn, of all that was measured."""


@dataclass(frozen=True)
class Bar:
    """zramfs's figure over a rival's: of the medians, and in the rounds where it was lowest and highest."""

    rival: str
    figure: float
    ratio: float
    lowest: float
    highest: float


@dataclass(frozen=True)
class Group:
    """What was measured, zramfs's figure, and a bar for each rival."""

    title: str
    unit: str
    figure: float
    bars: list[Bar]


def picture(document: dict[str, Any]) -> str:
    """Return an SVG of the results in a document as `Report.as_json` writes it."""
    groups = list(groups_of(document))
    heights = [len(group.bars) * BAR_HEIGHT + CELL_GAP for group in groups]
    height = HEADER_HEIGHT + sum(heights) + FOOTER_HEIGHT
    size = f'viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="sans-serif">',
        f'<rect width="{WIDTH}" height="{height}" fill="white"/>',
        *heading(),
        *axis(height - FOOTER_HEIGHT),
    ]
    top = HEADER_HEIGHT
    for group, group_height in zip(groups, heights, strict=True):
        parts += drawn(group, top)
        top += group_height
    for number, line in enumerate(footnotes(document)):
        parts.append(text(TITLE_X, height - 26 + 16 * number, line, colour=GREY, size=12))
    return "\n".join([*parts, "</svg>", ""])


def groups_of(document: dict[str, Any]) -> Iterator[Group]:
    """Return the cells in which a rival was measured."""
    for cell in document["cells"]:
        bars = [
            Bar(name, cell["medians"][name], ratio["of_medians"], ratio["lowest"], ratio["highest"])
            for name in RIVALS
            if (ratio := cell["ratios"].get(name)) is not None
        ]
        if bars:
            yield Group(cell["caption"], cell["unit"], cell["medians"]["zramfs"], bars)


def heading() -> list[str]:
    """Return the title, what a bar says, and the rivals in their colours."""
    keys = []
    for number, rival in enumerate(RIVALS.values()):
        y = 66 + 20 * number
        keys += [
            f'<rect x="{TITLE_X}" y="{y - 11}" width="12" height="12" fill="{rival.colour}"/>',
            text(TITLE_X + 20, y, f"beside {rival.name}"),
        ]
    return [
        text(TITLE_X, 32, "How many times as fast is zramfs as the kernel's zram, and as its nearest peer?", size=20),
        *keys,
        text(FIGURE_X, HEADER_HEIGHT - 14, "zramfs", colour=GREY, anchor="end"),
        text(THEIRS_X, HEADER_HEIGHT - 14, "the other", colour=GREY, anchor="end"),
        text(x_of(1) - 10, HEADER_HEIGHT - 14, "← the other is faster", colour=GREY, anchor="end"),
        text(x_of(1) + 10, HEADER_HEIGHT - 14, "zramfs is faster →", colour=GREY),
    ]


def axis(bottom: float) -> list[str]:
    """Return the vertical lines, each with its ratio below; that of 1 is darker."""
    parts = []
    for ratio in TICKS:
        x, colour = x_of(ratio), BLACK if ratio == 1 else "#ddd"
        parts.append(f'<path d="M{x:.1f} {HEADER_HEIGHT - 6}V{bottom}" stroke="{colour}"/>')
        parts.append(text(x, bottom + 18, f"{ratio:g}{TIMES}", colour=GREY, anchor="middle", size=12))
    return parts


def drawn(group: Group, top: float) -> list[str]:
    """Return what was measured and zramfs's figure, below a line, and the bars."""
    middle = top + len(group.bars) * BAR_HEIGHT / 2 + 4
    parts = [
        f'<path d="M{TITLE_X} {top - CELL_GAP / 2}H{WIDTH - TITLE_X}" stroke="#eee"/>',
        text(TITLE_X, middle, group.title),
        text(FIGURE_X, middle, figure(group.figure), anchor="end"),
        text(UNIT_X, middle, group.unit, colour=GREY, size=12),
    ]
    for number, bar in enumerate(group.bars):
        parts += drawn_bar(bar, top + number * BAR_HEIGHT)
    return parts


def drawn_bar(bar: Bar, top: float) -> list[str]:
    """Return a bar from 1 to the ratio of medians, a line from the lowest to the highest round, and the numbers."""
    colour = RIVALS[bar.rival].colour
    begin, end = sorted((x_of(1), x_of(bar.ratio)))
    middle = top + BAR_HEIGHT / 2
    return [
        f'<rect x="{begin:.1f}" y="{top + 3}" width="{end - begin:.1f}" height="{BAR_HEIGHT - 6}" fill="{colour}"/>',
        f'<path d="M{x_of(bar.lowest):.1f} {middle}H{x_of(bar.highest):.1f}" stroke="{BLACK}"/>',
        text(THEIRS_X, middle + 4, figure(bar.figure), colour=colour, anchor="end"),
        text(RATIO_X, middle + 4, f"{bar.ratio:.2f}{TIMES}", colour=colour),
    ]


def footnotes(document: dict[str, Any]) -> list[str]:
    """Return how to read a bar; and where it was measured, with which version."""
    machine, versions = document["machine"], document["versions"]
    commit, dirty, _ = versions.get("commit", "").partition("-dirty")
    version = f"zramfs {versions['zramfs']}" + (f" ({commit}{', with changes' if dirty else ''})" if commit else "")
    rounds = document["settings"]["rounds"]
    return [
        f"Coloured: medians of {rounds} rounds in turn; black: lowest and highest round. The scale is logarithmic.",
        f"Measured on {machine['cpus']} CPUs ({machine['cpu']}), Linux {machine['kernel']}, {version}.",
    ]


def figure(value: float) -> str:
    """Return a figure with three digits, or all before the point."""
    return f"{value:.{2 if value < 10 else 1 if value < 100 else 0}f}"


def x_of(ratio: float) -> float:
    """Return where a ratio lies on the axis; what is beyond its ends, at the end."""
    within = min(max(ratio, LEAST), MOST)
    return AXIS_X + AXIS_WIDTH * log10(within / LEAST) / log10(MOST / LEAST)


def text(x: float, y: float, words: str, *, colour: str = BLACK, anchor: str = "start", size: int = 13) -> str:
    """Return a line of text."""
    return f'<text x="{x:.1f}" y="{y}" fill="{colour}" text-anchor="{anchor}" font-size="{size}">{escape(words)}</text>'


def main(arguments: list[str]) -> int:
    """Draw one file from another."""
    try:
        results, drawing = map(Path, arguments)
        drawing.write_text(picture(json.loads(results.read_text())))
    except (OSError, ValueError, LookupError) as error:
        print(f"picture: {arguments} are not the results of a bench and a file to draw: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
