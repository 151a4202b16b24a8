"""The comparison as text: one table where the terminal is wide enough, otherwise its groups of columns in several.

Below it stands what may be concluded of each setting.
"""

from dataclasses import asdict
from itertools import groupby
from typing import Any, Final

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from zramfs.accel.facts import profile_as_json
from zramfs.compare.figures import Figure, shown_figures
from zramfs.compare.rounds import Comparison, Row
from zramfs.compare.verdict import MOST_LATE_PERCENT, MOST_MEDIAN_RATIO, judge

_UNLIMITED: Final = 10_000


def print_table(comparison: Comparison, console: Console, simulate: str = "") -> None:
    """Print the medians, in as few tables as the console's width allows, and a verdict or a warning for each.

    `simulate` is the command that can answer where there is no verdict.
    """
    rows = comparison.measured
    groups = [
        list(group) for _, group in groupby(shown_figures([row.spreads for row in rows]), lambda each: each.group)
    ]
    for columns in _pack(groups, rows, console):
        console.print(_table(columns, rows))
    for row in rows:
        verdict = judge(row, rows)
        if verdict.warning:
            console.print(f"[bold]Warning:[/bold] {escape(verdict.warning)}")
        elif verdict.conclusion:
            console.print(escape(verdict.conclusion))
    if simulate:
        console.print(f"A simulation can answer: [bold]{escape(simulate)}[/bold]", soft_wrap=True)


def _pack(groups: list[list[Figure]], rows: list[Row], console: Console) -> list[list[Figure]]:
    """Put groups together as long as they fit; one that is too wide on its own is a table of its own all the same."""
    packed: list[list[Figure]] = []
    for group in groups:
        together = [*packed[-1], *group] if packed else group
        if packed and _width(_table(together, rows), console) <= console.width:
            packed[-1] = together
        else:
            packed.append(group)
    return packed


def _width(table: Table, console: Console) -> int:
    """Return how wide a table is where nothing has to be cut off."""
    return console.measure(table, options=console.options.update(width=_UNLIMITED)).maximum


def _table(columns: list[Figure], rows: list[Row]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    for key, _ in rows[0].setting.values:
        table.add_column(key, no_wrap=True)
    for figure in columns:
        table.add_column(figure.heading, justify="right", no_wrap=True)
    for row in rows:
        spreads = row.spreads
        cells = (figure.written(spreads[figure.key].median if figure.key in spreads else None) for figure in columns)
        table.add_row(*(value for _, value in row.setting.values), *cells)
    return table


def as_json(comparison: Comparison, simulate: str = "") -> dict[str, Any]:
    """Return everything that was measured: each figure's median, lowest and highest, and every round."""
    return {
        "workload": comparison.workload.name,
        "size_bytes": comparison.plan.size_bytes,
        "runtime_s": comparison.plan.runtime_s,
        "rounds": comparison.rounds,
        "complete": comparison.runs_done == comparison.runs_planned,
        "figures": {
            figure.key: figure.meaning for figure in shown_figures([row.spreads for row in comparison.measured])
        },
        "simulate": simulate or None,
        "keeps_up_if": {"late_percent_at_most": MOST_LATE_PERCENT, "median_ratio_at_most": MOST_MEDIAN_RATIO},
        "settings": [_row_as_json(row, comparison.measured) for row in comparison.rows],
    }


def _row_as_json(row: Row, measured: list[Row]) -> dict[str, Any]:
    return {
        "setting": dict(row.setting.values),
        "accelerator": row.setting.accelerator,
        "profile": profile_as_json(row.setting.profile),
        **asdict(judge(row, measured)),
        "figures": {
            key: {"median": spread.median, "lowest": spread.lowest, "highest": spread.highest}
            for key, spread in row.spreads.items()
        },
        "rounds": [run.figures for run in row.runs],
        "commands": row.runs[0].commands if row.runs else [],
    }
