"""The interleaved run: for each cell, round by round, every target in turn, and nothing else meanwhile."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

from cells import VARIANTS, Cell, Content, DdCell, Settings, dd_write_command, fill_command
from process import run

GRACE_S = 120.0


@dataclass(frozen=True)
class Sample:
    """One run of one cell on one target; `value` is in the cell's unit."""

    cell: str
    target: str
    round: int
    value: float
    started_s: float
    """Seconds since the start of the run."""


class Bench:
    """Runs cells on mounted targets and keeps every sample, and the commands that gave them."""

    def __init__(self, *, block_files: dict[str, Path], settings: Settings, rounds: int) -> None:
        self._block_files = dict(block_files)
        self._block_files |= {
            variant: block_files[target] for variant, target in VARIANTS.items() if target in block_files
        }
        self.settings = settings
        self.rounds = rounds
        self._held: dict[str, Content | None] = dict.fromkeys(self._block_files)
        self.started = datetime.now(UTC)
        self._start_s = time.monotonic()
        self.samples: list[Sample] = []
        self.commands: dict[str, dict[str, list[str]]] = {}

    def __repr__(self) -> str:
        return f"<Bench of {', '.join(self._block_files)}: {len(self.samples)} samples>"

    def measure(self, cell: Cell, *, progress: Callable[[str], None]) -> None:
        """Run `cell` in all rounds: A B C A B C …; raises BenchError if one cannot be measured."""
        targets = self.targets_of(cell)
        for target in targets:
            progress(f"{cell.title}: preparing {target}")
            self._prepare(cell, target)
        for number in range(1, self.rounds + 1):
            for target in targets:
                progress(f"{cell.title}: round {number} of {self.rounds}, {target}")
                self._sample(cell, target, number)

    def targets_of(self, cell: Cell) -> list[str]:
        """Return those of the cell's targets that are there, in the order in which they have their turns."""
        return [target for target in cell.targets if target in self._block_files]

    def has_measured(self, cell: Cell) -> bool:
        """Return whether there is a sample of a cell, from any target."""
        return any(sample.cell == cell.name for sample in self.samples)

    def values(self, cell: Cell, target: str) -> list[float]:
        """Return the samples of one cell and target, in the order of the rounds."""
        if target in cell.constants:
            return [cell.constants[target]] * self.rounds
        return [sample.value for sample in self.samples if (sample.cell, sample.target) == (cell.name, target)]

    def line_of(self, cell: Cell) -> str:
        """Return the medians of a cell that was measured, and of its companions, in one line."""
        return "; ".join(self._medians_of(row) for row in cell.rows)

    def _medians_of(self, cell: Cell) -> str:
        medians = {target: median(self.values(cell, target)) for target in self.targets_of(cell)}
        figures = ", ".join(f"{target} {value:.{2 if cell.unit == 'x' else 1}f}" for target, value in medians.items())
        return f"{cell.title}: {figures} {cell.unit}"

    def _sample(self, cell: Cell, target: str, number: int) -> None:
        """Run a cell once, and keep what it and its companions read from the output."""
        started_s = time.monotonic() - self._start_s
        cell.before(self._block_files[target], target)
        command = cell.command(self._block_files[target], self.settings, target)
        output = run(command, timeout_s=self.settings.runtime_s + GRACE_S)
        if isinstance(cell, DdCell):
            self._held[target] = "binaries"
        for row in cell.rows:
            if target in row.targets:
                self.commands.setdefault(row.name, {})[target] = command
                self.samples.append(Sample(row.name, target, number, row.figure(output, self.settings), started_s))

    def _prepare(self, cell: Cell, target: str) -> None:
        """Give the device the content the cell expects, unless it holds it already."""
        if cell.content is None or self._held[target] == cell.content:
            return
        block_file = self._block_files[target]
        is_fio = cell.content == "fio"
        run(fill_command(block_file) if is_fio else dd_write_command(block_file, self.settings), timeout_s=GRACE_S)
        self._held[target] = cell.content
