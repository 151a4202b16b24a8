"""zramfs against its nearest peer and the kernel's zram, in one interleaved run; `make bench` runs this.

Exit code 0 whatever the figures are, 1 if it could not measure, 2 for bad usage, 130 if it was interrupted.
"""

import argparse
import os
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from apart import MemoryCell
from binaries import WANTED_BYTES
from catalogue import CELLS
from cells import BASE, OURS, Cell, Transport
from machine import Machine, check_memory, check_programs, debian, describe_machine
from picture import picture
from process import BenchError
from report import Report
from rich.console import Console
from session import handle_signals, run_session
from targets import MEMORY_BYTES, TARGETS, BaseTarget, Target, ZramfsTarget

ROUNDS, QUICK_ROUNDS = 5, 2
RUNTIME_S, QUICK_RUNTIME_S = 2.0, 0.5
BUSY_LOAD = 0.5
WIDTH_WITHOUT_TERMINAL = 160


@dataclass(frozen=True)
class Options:
    """What was asked for."""

    rounds: int
    runtime_s: float
    cells: list[Cell]
    targets: list[Target]
    transport: Transport | None
    output: Path


def main(arguments: list[str]) -> int:
    """Measure, report, and return the exit code."""
    options = parse(arguments)
    handle_signals()
    try:
        return bench(options)
    except (BenchError, OSError) as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("bench: interrupted; what it had set up is removed", file=sys.stderr)
        return 130


def bench(options: Options) -> int:
    """Measure what `options` ask for; what was measured before a failure is reported too."""
    check(options)
    notes = Console(stderr=True, highlight=False)
    machine = describe_machine()
    if machine.load_at_start > BUSY_LOAD:
        load = f"load average {machine.load_at_start:.1f}"
        notes.print(f"bench: {load}: other work disturbs the figures", soft_wrap=True)
    left_out = {cell.name: cell.obstacle for cell in options.cells if cell.obstacle is not None}
    for name, obstacle in left_out.items():
        notes.print(f"bench: {name} is left out: {obstacle}", soft_wrap=True)
    cells = [cell for cell in options.cells if cell.name not in left_out]
    outcome = run_session(
        cells=cells,
        targets=options.targets,
        rounds=options.rounds,
        runtime_s=options.runtime_s,
        console=notes,
    )
    report = Report(outcome=outcome, machine=machine, cells=cells, left_out=left_out, transport=options.transport)
    options.output.write_text(report.as_json())
    options.output.with_suffix(".svg").write_text(picture(report.document()))
    show(report, machine, options.output)
    if outcome.error is None:
        return 0
    raise BenchError(f"stopped: {outcome.error}")


def check(options: Options) -> None:
    """Raise BenchError or OSError before the first mount, rather than after minutes of measuring."""
    programs = {"fio": debian("fio"), "dd": debian("coreutils"), "taskset": debian("util-linux")}
    for target in options.targets:
        programs |= target.programs
    check_programs(programs)
    mounts = len(options.targets) + any(isinstance(cell, MemoryCell) for cell in options.cells)
    check_memory(WANTED_BYTES + MEMORY_BYTES * mounts)
    options.output.parent.mkdir(parents=True, exist_ok=True)
    if not os.access(options.output.parent, os.W_OK):
        raise BenchError(f"{options.output.parent} is not writable: choose another file with --output")


def show(report: Report, machine: Machine, output: Path) -> None:
    """Print the table, and where the rest is."""
    terminal = sys.stdout.isatty()
    console = Console(width=None if terminal else WIDTH_WITHOUT_TERMINAL, highlight=False)
    console.print(origin(report, machine))
    if report.rows:
        console.print(report.table())
        console.print(report.summary())
    console.print(f"every sample, command and version: {output}", soft_wrap=True)
    console.print(f"the table as a picture: {output.with_suffix('.svg')}", soft_wrap=True)


def origin(report: Report, machine: Machine) -> str:
    """Return where the figures come from, in a line."""
    return f"{machine.cpus} CPUs ({machine.cpu}), Linux {machine.kernel}, zramfs {report.version}"


def parse(arguments: list[str]) -> Options:
    """Return the options; ends the program with a line and 2 if they make no sense."""
    makers = {make().name: make for make in TARGETS}
    given = parser_for(list(makers)).parse_args(arguments)
    quick = given.quick or os.environ.get("QUICK", "0") not in {"", "0"}
    return Options(
        rounds=given.rounds or (QUICK_ROUNDS if quick else ROUNDS),
        runtime_s=given.runtime or (QUICK_RUNTIME_S if quick else RUNTIME_S),
        cells=given.only,
        targets=chosen_targets(given, makers),
        transport=given.transport,
        output=given.output or Path("bench-results") / f"bench-{datetime.now(UTC):%Y%m%dT%H%M%SZ}.json",
    )


def chosen_targets(given: argparse.Namespace, makers: dict[str, Callable[[], Target]]) -> list[Target]:
    """Return the targets in the order of their turns: ours, the base line, and the others."""
    chosen = {name: make() for name, make in makers.items() if name in given.targets}
    ours = {OURS: ZramfsTarget(given.transport)} if OURS in chosen else {}
    base = {BASE: BaseTarget(given.base)} if given.base is not None else {}
    return list((ours | base | chosen | ours).values())


def parser_for(targets: list[str]) -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(prog="bench", description=str(__doc__))
    add = parser.add_argument
    add("--rounds", type=rounds, metavar="N", help=f"each cell on each target so often; default {ROUNDS}")
    add("--runtime", type=seconds, metavar="SECONDS", help=f"of each fio job; default {RUNTIME_S:.0f}")
    add(
        "--only",
        type=matching_cells,
        default="",
        metavar="REGEX",
        help="cells whose name matches: 4k, 1m|dd …",
    )
    add("--base", type=Path, metavar="DIR", help="a checkout with its own .venv, whose zramfs is measured beside ours")
    add("--transport", choices=["dev", "uring"], help="of our mount; the floors are those of dev without it")
    add("--targets", type=names_among(targets), default=",".join(targets), help="default: %(default)s")
    add(
        "--quick",
        action="store_true",
        help="in less than two minutes; QUICK=1 in the environment does the same",
    )
    add("--output", type=Path, metavar="FILE", help="the JSON; default bench-results/bench-<utc time>.json")
    return parser


def rounds(text: str) -> int:
    """Return a number of rounds."""
    if (value := int(text)) < 1:
        raise argparse.ArgumentTypeError("at least 1")
    return value


def seconds(text: str) -> float:
    """Return a time fio can be given: its unit is the millisecond."""
    if not 0.1 <= (value := float(text)) <= 3600:
        raise argparse.ArgumentTypeError("0.1 to 3600 seconds")
    return value


def matching_cells(pattern: str) -> list[Cell]:
    """Return the cells whose names match."""
    try:
        cells = [cell for cell in CELLS if re.search(pattern, cell.name)]
    except re.error as error:
        raise argparse.ArgumentTypeError(f"{pattern!r}: {error}") from error
    if not cells:
        raise argparse.ArgumentTypeError(f"{pattern!r} matches none of {' '.join(cell.name for cell in CELLS)}")
    return cells


def names_among(targets: list[str]) -> Callable[[str], list[str]]:
    """Return a parser of a comma-separated list of some of `targets`."""

    def names(text: str) -> list[str]:
        given = text.split(",")
        if unknown := [name for name in given if name not in targets]:
            raise argparse.ArgumentTypeError(f"no target {unknown[0]!r} among {','.join(targets)}")
        return given

    return names


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
