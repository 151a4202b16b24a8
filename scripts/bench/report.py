"""What was seen: medians, ratios and floors as a table for people and as JSON for programs."""

import json
import shlex
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from statistics import median
from typing import Any

from cells import DISK_BYTES, OURS, VARIANTS, Cell, Transport
from machine import Machine, describe_versions
from measure import Bench
from rich.table import Table
from rich.text import Text
from session import Outcome


@dataclass(frozen=True)
class Ratio:
    """zramfs's figure over another target's; the extremes are of the rounds, whose runs were neighbours."""

    of_medians: float
    lowest: float
    highest: float
    floor: float | None
    less_is_better: bool = False

    @property
    def passes(self) -> bool | None:
        """Return whether the ratio of the medians reaches the floor, or does not pass it; None without one."""
        if self.floor is None:
            return None
        return self.of_medians <= self.floor if self.less_is_better else self.of_medians >= self.floor

    def __str__(self) -> str:
        return f"{self.of_medians:.2f} ({self.lowest:.2f}..{self.highest:.2f})"


@dataclass(frozen=True)
class Row:
    """One cell's figures."""

    cell: Cell
    samples: dict[str, list[float]]
    transport: Transport
    """On which zramfs was measured: floors differ."""

    @property
    def medians(self) -> dict[str, float]:
        """Return each target's median, in the cell's unit."""
        return {target: median(values) for target, values in self.samples.items() if values}

    @property
    def ratios(self) -> dict[str, Ratio]:
        """Return zramfs's ratio to each other target measured."""
        return {
            target: ratio_of(self.samples[OURS], values, self.cell, target, self.transport)
            for target, values in self.samples.items()
            if target != OURS and values and self.samples.get(OURS)
        }


def ratio_of(ours: list[float], theirs: list[float], cell: Cell, target: str, transport: Transport) -> Ratio:
    """Return the ratio of two lists of samples taken round by round."""
    per_round = [mine / other for mine, other in zip(ours, theirs, strict=False)]
    of_medians = median(ours) / median(theirs)
    return Ratio(of_medians, min(per_round), max(per_round), cell.floor(target, transport), cell.less_is_better)


class Report:
    """The rows of a run, as a table and as JSON."""

    def __init__(
        self,
        *,
        outcome: Outcome,
        machine: Machine,
        cells: list[Cell],
        left_out: dict[str, str],
        transport: Transport | None,
    ) -> None:
        self._outcome = outcome
        self._machine = machine
        self._left_out = left_out
        self._transport = transport
        self._versions = describe_versions()
        measured = {target.name: target.title for target in outcome.measured}
        variants = {name: f"{measured[whose]} otherwise" for name, whose in VARIANTS.items() if whose in measured}
        constants = {name: "its " + name for cell in cells for name in cell.constants}
        self._titles = {**measured, **variants, **constants}
        self.rows = [self._row(row) for cell in cells for row in cell.rows if outcome.bench.has_measured(row)]

    def _row(self, cell: Cell) -> Row:
        samples = {name: self._outcome.bench.values(cell, name) for name in cell.targets if name in self._titles}
        return Row(cell, {name: values for name, values in samples.items() if values}, self._transport or "dev")

    @property
    def version(self) -> str:
        """Return the version of zramfs, with the commit where it is known."""
        return " ".join(self._versions[name] for name in ("zramfs", "commit") if name in self._versions)

    def table(self) -> Table:
        """Return a row a cell; a ratio is of the medians, with the extremes of the rounds behind it."""
        rounds = self._outcome.bench.rounds
        table = Table(title=f"Rounds: {rounds}. Medians; ratios with (lowest..highest) of the rounds")
        for title in ("cell", "unit", "zramfs", "other", "its figure", "zramfs / other", "floor"):
            table.add_column(title, justify="right" if title in {"zramfs", "its figure", "zramfs / other"} else "left")
        for row in self.rows:
            names = [name for name in row.medians if name != OURS] or [OURS]
            for position, name in enumerate(names):
                cell = (row.cell.title, row.cell.unit, written(row.medians.get(OURS), row.cell.unit))
                figure = written(row.medians.get(name), row.cell.unit)
                ratio = row.ratios.get(name)
                table.add_row(
                    *(cell if position == 0 else ("", "", "")),
                    self._titles[name],
                    figure,
                    str(ratio or "-"),
                    floor_of(ratio),
                    end_section=position == len(names) - 1,
                )
        return table

    def summary(self) -> str:
        """Return one line: how many floors were reached."""
        marks = [ratio.passes for row in self.rows for ratio in row.ratios.values() if ratio.passes is not None]
        return f"{sum(marks)} of {len(marks)} floors reached" if marks else "no floor applies"

    def document(self) -> dict[str, Any]:
        """Return everything that is known of the run."""
        bench = self._outcome.bench
        return {
            "format": 3,
            "started": bench.started.isoformat(timespec="seconds"),
            "finished": datetime.now(UTC).isoformat(timespec="seconds"),
            "machine": asdict(self._machine),
            "versions": self._versions,
            "settings": {
                "rounds": bench.rounds,
                "disk_bytes": DISK_BYTES,
                "transport": self._transport,
                "ramp_s": bench.settings.ramp_s,
                **asdict(bench.settings),
            },
            "targets": [
                {"name": target.name, "title": target.title, "commands": target.commands}
                for target in self._outcome.measured
            ],
            "skipped": self._outcome.skipped,
            "left_out": self._left_out,
            "cells": [cell_as_json(row, bench) for row in self.rows],
            "error": self._outcome.error,
        }

    def as_json(self) -> str:
        """Return the document as text."""
        return json.dumps(self.document(), indent=2, default=str) + "\n"


def written(value: float | None, unit: str) -> str:
    """Return a figure with the digits that mean something."""
    if value is None:
        return "-"
    return f"{value:.{ {'k IOPS': 1, 'x': 2}.get(unit, 0) }f}"


def floor_of(ratio: Ratio | None) -> Text:
    """Return the floor, and whether it is reached; nothing without one."""
    if ratio is None or ratio.floor is None:
        return Text()
    words = f"{'≤' if ratio.less_is_better else '≥'}{ratio.floor} {'reached' if ratio.passes else 'MISSED'}"
    return Text(words, "green" if ratio.passes else "bold red")


def cell_as_json(row: Row, bench: Bench) -> dict[str, Any]:
    """Return everything known of one cell."""
    commands = bench.commands[row.cell.name]
    return {
        "name": row.cell.name,
        "title": row.cell.title,
        "caption": row.cell.caption,
        "unit": row.cell.unit,
        "commands": {target: shlex.join(command) for target, command in commands.items()},
        "samples": [asdict(sample) for sample in bench.samples if sample.cell == row.cell.name],
        "medians": row.medians,
        "ratios": {name: {**asdict(ratio), "passes": ratio.passes} for name, ratio in row.ratios.items()},
    }
