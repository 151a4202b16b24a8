"""The comparison itself: round by round, every setting in turn, each on a fresh mount."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

from zramfs.compare.figures import Spread, figures_of, spreads_of
from zramfs.compare.fresh_mount import fresh_mount
from zramfs.compare.histogram import Histogram
from zramfs.compare.observation import Observation, observe
from zramfs.compare.programs import Interruption
from zramfs.compare.settings import Setting
from zramfs.compare.workload import KINDS, Made, Plan, Workload
from zramfs.errors import CommandFailed

Progress = Callable[[str], None]

MOUNT_S: Final = 1.0
"""About what a mount and its end take; only for saying how long it will take."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One workload on one mount: its figures by key, its latencies, and the commands as they were typed.

    `made` is what requests took those who made them, by job.
    """

    figures: dict[str, float | None]
    latencies: dict[str, Histogram]
    commands: list[str]
    made: Mapping[str, Made] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Row:
    """A setting, and the runs it has had."""

    setting: Setting
    runs: list[Run] = field(default_factory=list)

    @property
    def spreads(self) -> dict[str, Spread]:
        """Each figure over the rounds."""
        return spreads_of([run.figures for run in self.runs])

    def latencies(self, kind: str) -> Histogram | None:
        """Return the latencies of all rounds of a kind of request, or None without any."""
        found = [run.latencies[kind] for run in self.runs if kind in run.latencies]
        return Histogram.merged(found) if found else None


@dataclass(slots=True, kw_only=True)
class Comparison:
    """What is compared, and what is known by now; a comparison that ends early keeps its rows."""

    workload: Workload
    plan: Plan
    rounds: int
    rows: list[Row]
    observations: list[Observation] = field(default_factory=list)
    """Of the first rows that have figures, if they were wanted."""

    @classmethod
    def of(cls, workload: Workload, plan: Plan, rounds: int, settings: Sequence[Setting]) -> "Comparison":
        """Return a comparison that has not begun."""
        return cls(workload=workload, plan=plan, rounds=rounds, rows=[Row(setting) for setting in settings])

    @property
    def runs_done(self) -> int:
        """How many runs are complete."""
        return sum(len(row.runs) for row in self.rows)

    @property
    def runs_planned(self) -> int:
        """How many runs there are in all."""
        return self.rounds * len(self.rows)

    @property
    def measured(self) -> list[Row]:
        """The rows that have figures."""
        return [row for row in self.rows if row.runs]

    def run(self, interruption: Interruption, on_begin: Progress, on_end: Progress) -> None:
        """Run all rounds. Interrupted, or CommandFailed with the setting's name, ends it; complete runs are kept."""
        for number in range(1, self.rounds + 1):
            for row in self.rows:
                interruption.check()
                on_begin(f"round {number} of {self.rounds}: {row.setting.name} ({self._remaining()} left)")
                row.runs.append(measure(self.workload, row.setting, self.plan, interruption))
                on_end(f"round {number} of {self.rounds}: {row.setting.name}: {_in_short(row.runs[-1])}")

    def observe(self, interruption: Interruption, on_begin: Progress) -> None:
        """Run each setting once more, and look on; no figure comes from these runs. Raises as `run` does."""
        for row in self.measured:
            interruption.check()
            on_begin(f"for the report, traced: {row.setting.name}")
            with _named(row.setting):
                self.observations.append(observe(self.workload, row.setting, self.plan, interruption))

    def _remaining(self) -> str:
        """Return about how long the rest takes, in minutes and seconds."""
        run_s = self.plan.ramp_s + self.plan.runtime_s + MOUNT_S
        seconds = round((self.runs_planned - self.runs_done) * run_s)
        return f"about {seconds // 60}:{seconds % 60:02}"


def measure(workload: Workload, setting: Setting, plan: Plan, interruption: Interruption) -> Run:
    """Run the workload once on a fresh mount; CommandFailed says under which setting it failed."""
    with _named(setting), fresh_mount(["--size", str(plan.size_bytes), *setting.mount_options]) as mount:
        before = mount.snapshot()
        result = workload.run(mount, plan, interruption)
        figures = figures_of(result, before, mount.snapshot())
    latencies = {kind: served.latencies for kind, served in result.served.items() if served.latencies}
    return Run(figures=figures, latencies=latencies, commands=mount.commands, made=result.made)


@contextmanager
def _named(setting: Setting) -> Iterator[None]:
    try:
        yield
    except CommandFailed as error:
        raise CommandFailed(f"{setting.name}: {error}") from error


def _in_short(run: Run) -> str:
    speeds = ((kind, run.figures.get(f"{kind}_mb_s")) for kind in KINDS)
    return ", ".join(f"{kind} {speed:,.1f} MB/s" for kind, speed in speeds if speed is not None)
