"""What was seen: medians, ratios and floors as a table for people and as JSON for programs."""

import json
import shlex
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from statistics import median
from typing import Any

from cells import DISK_BYTES, Cell
from machine import Machine, describe_versions
from measure import Bench
from rich.table import Table
from rich.text import Text
from session import Outcome

OURS = "zramfs"


@dataclass(frozen=True)
class Ratio:
    """zramfs's figure over another target's; the extremes are of the rounds, whose runs were neighbours."""

    of_medians: float
    lowest: float
    highest: float
    floor: float | None

    @property
    def passes(self) -> bool | None:
        """Return whether the ratio of the medians reaches the floor; None without one."""
        return None if self.floor is None else self.of_medians >= self.floor

    def __str__(self) -> str:
        return f"{self.of_medians:.2f} ({self.lowest:.2f}..{self.highest:.2f})"


@dataclass(frozen=True)
class Row:
    """One cell's figures."""

    cell: Cell
    samples: dict[str, list[float]]

    @property
    def medians(self) -> dict[str, float]:
        """Return each target's median, in the cell's unit."""
        return {target: median(values) for target, values in self.samples.items() if values}

    @property
    def ratios(self) -> dict[str, Ratio]:
        """Return zramfs's ratio to each other target measured."""
        floors = {"peer": self.cell.peer_floor, "kernel": self.cell.kernel_floor}
        return {
            target: ratio_of(self.samples[OURS], values, floor=floors.get(target))
            for target, values in self.samples.items()
            if target != OURS and values and self.samples.get(OURS)
        }


def ratio_of(ours: list[float], theirs: list[float], *, floor: float | None) -> Ratio:
    """Return the ratio of two lists of samples taken round by round."""
    per_round = [mine / other for mine, other in zip(ours, theirs, strict=False)]
    return Ratio(median(ours) / median(theirs), min(per_round), max(per_round), floor)


class Report:
    """The rows of a run, as a table and as JSON."""

    def __init__(self, *, outcome: Outcome, machine: Machine, cells: list[Cell]) -> None:
        self._outcome = outcome
        self._machine = machine
        self._versions = describe_versions()
        self._titles = {target.name: target.title for target in outcome.measured}
        rows = [Row(cell, {name: outcome.bench.values(cell, name) for name in self._titles}) for cell in cells]
        self.rows = [row for row in rows if row.medians]

    @property
    def version(self) -> str:
        """Return the version of zramfs, with the commit where it is known."""
        return " ".join(self._versions[name] for name in ("zramfs", "commit") if name in self._versions)

    def table(self) -> Table:
        """Return a row a cell; a ratio is of the medians, with the extremes of the rounds behind it."""
        others = [name for name in self._titles if name != OURS] if OURS in self._titles else []
        rounds = self._outcome.bench.rounds
        table = Table(title=f"Rounds: {rounds}. Medians; ratios with (lowest..highest) of the rounds")
        table.add_column("cell")
        table.add_column("unit")
        for title in (*self._titles.values(), *(f"{OURS} / {name}" for name in others)):
            table.add_column(title, justify="right")
        table.add_column("floors")
        for row in self.rows:
            figures = [written(row.medians.get(name), row.cell.unit) for name in self._titles]
            ratios = [str(row.ratios.get(name, "-")) for name in others]
            table.add_row(row.cell.title, row.cell.unit, *figures, *ratios, floors_of(row))
        return table

    def summary(self) -> str:
        """Return one line: how many floors were reached."""
        marks = [ratio.passes for row in self.rows for ratio in row.ratios.values() if ratio.passes is not None]
        return f"{sum(marks)} of {len(marks)} floors reached" if marks else "no floor applies"

    def as_json(self) -> str:
        """Return everything that is known of the run."""
        bench = self._outcome.bench
        document = {
            "format": 1,
            "started": bench.started.isoformat(timespec="seconds"),
            "finished": datetime.now(UTC).isoformat(timespec="seconds"),
            "machine": asdict(self._machine),
            "versions": self._versions,
            "settings": {
                "rounds": bench.rounds,
                "disk_bytes": DISK_BYTES,
                "ramp_s": bench.settings.ramp_s,
                **asdict(bench.settings),
            },
            "targets": [
                {"name": target.name, "title": target.title, "commands": target.commands}
                for target in self._outcome.measured
            ],
            "skipped": self._outcome.skipped,
            "cells": [cell_as_json(row, bench) for row in self.rows],
            "error": self._outcome.error,
        }
        return json.dumps(document, indent=2, default=str) + "\n"


def written(value: float | None, unit: str) -> str:
    """Return a figure with the digits that mean something."""
    if value is None:
        return "-"
    return f"{value:.1f}" if unit == "k IOPS" else f"{value:.0f}"


def floors_of(row: Row) -> Text:
    """Return the cell's floors, each with pass or FAIL."""
    marks = [
        Text(
            f"{name} ≥{ratio.floor} {'pass' if ratio.passes else 'FAIL'}",
            "green" if ratio.passes else "bold red",
        )
        for name, ratio in row.ratios.items()
        if ratio.floor is not None
    ]
    return Text(", ").join(marks)


def cell_as_json(row: Row, bench: Bench) -> dict[str, Any]:
    """Return everything known of one cell."""
    commands = bench.commands[row.cell.name]
    return {
        "name": row.cell.name,
        "title": row.cell.title,
        "unit": row.cell.unit,
        "commands": {target: shlex.join(command) for target, command in commands.items()},
        "samples": [asdict(sample) for sample in bench.samples if sample.cell == row.cell.name],
        "medians": row.medians,
        "ratios": {name: {**asdict(ratio), "passes": ratio.passes} for name, ratio in row.ratios.items()},
    }
