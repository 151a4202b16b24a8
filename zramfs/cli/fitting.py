"""Tables of text that fit a terminal: one too wide becomes several lines a row, and no figure is cut."""

import sys
from collections.abc import Sequence
from typing import Final, NamedTuple

_UNLIMITED: Final = 1 << 16
_GAP: Final = 1


class Heading(NamedTuple):
    """What is above a column; text stands left, figures right."""

    title: str
    is_text: bool = False


def terminal_width() -> int:
    """Return the columns of the terminal that is written to; without one there is room for everything."""
    if not sys.stdout.isatty():
        return _UNLIMITED
    from shutil import get_terminal_size  # noqa: PLC0415 - with three libraries that compress files

    return get_terminal_size((_UNLIMITED, 0)).columns


def fitting_tables(headings: Sequence[Heading], rows: Sequence[Sequence[str]], width: int) -> list[str]:
    """Return lines of a table, or of several below each other, each beginning with the first column."""
    widths = _widths(headings, rows)
    lines: list[str] = []
    for places in _groups(widths[1:], width - widths[0] - _GAP):
        shown = [0, *(place + 1 for place in places)]
        lines += [_line(headings, shown, widths, row) for row in (_titles(headings), *rows)]
    return lines


def fitting_list(
    headings: Sequence[Heading], rows: Sequence[Sequence[str]], width: int, *, has_headings: bool = True
) -> list[str]:
    """Return lines of a table; if it is too wide, the first column has a line of its own, and the others follow it."""
    widths = _widths(headings if has_headings else [Heading("", each.is_text) for each in headings], rows)
    everywhere = range(len(headings))
    titles = [_titles(headings)] if has_headings else []
    if sum(widths) + _GAP * (len(widths) - 1) <= width:
        return [_line(headings, everywhere, widths, row) for row in (*titles, *rows)]
    groups = [[place + 1 for place in places] for places in _groups(widths[1:], width - 2)]
    lines = []
    for row in (*titles, *rows):
        lines.append(row[0])
        lines += [f"  {_line(headings, places, widths, row)}" for places in groups]
    return lines


def _titles(headings: Sequence[Heading]) -> list[str]:
    return [heading.title for heading in headings]


def _widths(headings: Sequence[Heading], rows: Sequence[Sequence[str]]) -> list[int]:
    return [
        max(cells_of(heading.title), *(cells_of(row[place]) for row in rows), 0)
        for place, heading in enumerate(headings)
    ]


def _groups(widths: Sequence[int], room: int) -> list[list[int]]:
    """Cut columns into as few groups as fit, in their order; one that fits nowhere has a group of its own."""
    groups: list[list[int]] = [[]]
    taken = 0
    for place, width in enumerate(widths):
        if groups[-1] and taken + width > room:
            groups.append([])
            taken = 0
        groups[-1].append(place)
        taken += width + _GAP
    return groups


def _line(headings: Sequence[Heading], places: Sequence[int], widths: Sequence[int], row: Sequence[str]) -> str:
    cells = []
    for place in places:
        blanks = " " * (widths[place] - cells_of(row[place]))
        cells.append(row[place] + blanks if headings[place].is_text else blanks + row[place])
    return (" " * _GAP).join(cells).rstrip()


def cells_of(text: str) -> int:
    """Return how many of a terminal's columns a text takes: letters of some scripts take two."""
    if text.isascii():
        return len(text)
    from rich.cells import cell_len  # noqa: PLC0415 - few tables have such letters

    return cell_len(text)
