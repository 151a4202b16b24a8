"""The report: a page that needs nothing beside it. Imports matplotlib only when it is made."""

from dataclasses import dataclass
from importlib import resources
from itertools import groupby
from typing import Any, Final

from zramfs.accel.facts import facts_of
from zramfs.compare.figures import Figure, Spread, shown_figures
from zramfs.compare.fio import WRITER_RULE
from zramfs.compare.observation import Observation
from zramfs.compare.rounds import Comparison, Row
from zramfs.compare.verdict import MOST_LATE_PERCENT, MOST_MEDIAN_RATIO, judge
from zramfs.compare.workload import KINDS
from zramfs.reporting.page import render_page

_OF_DAEMON: Final = ("cpu", "pages")
_OF_DEVICE: Final = ("emulation", "events")

_GROUPS: Final = {
    "sync": "synchronous writers",
    "async": "asynchronous writers",
    "read": "readers",
    "swap": "swapped out",
    "cpu": "CPU time",
    "pages": "pages by stream",
    "emulation": "emulation",
    "events": "events",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Circumstances:
    """What a reader needs to judge the figures, and to measure them again."""

    command: str
    when: str
    machine: dict[str, str]
    versions: dict[str, str]


def render_report(comparison: Comparison, circumstances: Circumstances, simulate: str = "") -> str:
    """Return the page; at least one run must be complete. `simulate` as for `print_table`."""
    rows = comparison.measured
    return render_page(
        resources.files("zramfs.compare").joinpath("templates/report.html").read_text(),
        comparison=comparison,
        circumstances=circumstances,
        rows=rows,
        keys=[key for key, _ in rows[0].setting.values],
        simulate=simulate,
        verdicts=[judge(row, rows) for row in rows],
        most_late_percent=MOST_LATE_PERCENT,
        most_median_ratio=MOST_MEDIAN_RATIO,
        devices=facts_of(row.setting.profile for row in rows if row.setting.profile is not None),
        tables=_tables(rows),
        writer_rule=WRITER_RULE,
        plots=_plots(rows, comparison.observations),
    )


def _plots(rows: list[Row], observations: list[Observation]) -> dict[str, str]:
    from zramfs.compare import plots  # noqa: PLC0415 - imports matplotlib

    return {
        "throughput": plots.throughput_plot(rows),
        "latency": plots.latency_plot(rows) if any(run.latencies for row in rows for run in row.runs) else "",
        "cpu": plots.cpu_plot(rows),
        "streams": plots.streams_plot(rows),
        "depth": plots.depth_plot(rows, observations) if observations else "",
        "stages": plots.stages_plot(rows, observations) if any(each.stages_us for each in observations) else "",
    }


def _tables(rows: list[Row]) -> list[list[dict[str, Any]]]:
    """Return groups of columns for three tables: what requests got, what the daemon did, and what went wrong."""
    shown = shown_figures([row.spreads for row in rows])
    groups = [
        {"name": group, "title": _GROUPS[group], "columns": [_Column(figure) for figure in figures]}
        for group, figures in groupby(shown, lambda figure: figure.group)
    ]
    tables = [[each for each in groups if each["name"] in names] for names in (KINDS, _OF_DAEMON, _OF_DEVICE)]
    return [table for table in tables if table]


@dataclass(frozen=True, slots=True)
class _Column:
    """A column of the page's table."""

    figure: Figure

    @property
    def label(self) -> str:
        """The heading, below that of its group."""
        return self.figure.heading.replace("-\n", "").replace("\n", " ").removeprefix(f"{self.figure.group} ")

    @property
    def meaning(self) -> str:
        """What it is."""
        return self.figure.meaning

    def median(self, spreads: dict[str, Spread]) -> str:
        """Return the median as the table has it."""
        spread = spreads.get(self.figure.key)
        return self.figure.written(spread.median if spread else None)

    def range(self, spreads: dict[str, Spread]) -> str:
        """Return the lowest and the highest, or nothing where they are the same."""
        spread = spreads.get(self.figure.key)
        if spread is None or spread.lowest == spread.highest:
            return ""
        return f"{self.figure.written(spread.lowest)} to {self.figure.written(spread.highest)}"
