"""One run: from the first mount, through every cell, to the last trace removed."""

import signal
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from binaries import binaries_file
from cells import Cell, Settings
from measure import Bench
from process import BenchError
from rich.console import Console
from targets import Target, UnavailableError, ZramfsTarget

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@dataclass(frozen=True)
class Outcome:
    """What a run has left: its samples, and what stood in the way of more."""

    measured: list[Target]
    skipped: dict[str, str]
    bench: Bench
    error: str | None


def run_session(
    *, cells: list[Cell], targets: list[Target], rounds: int, runtime_s: float, console: Console
) -> Outcome:
    """Mount all targets, run all cells and remove everything, after a failure or a signal too."""
    with ExitStack() as stack:
        binaries, size = stack.enter_context(binaries_file())
        block_files, skipped = mount_all(targets, stack, console)
        settings = Settings(
            runtime_s=runtime_s,
            binaries=binaries,
            binaries_bytes=size,
            mount_commands={
                target.name: target.mount_command for target in targets if isinstance(target, ZramfsTarget)
            },
        )
        bench = Bench(block_files=block_files, settings=settings, rounds=rounds)
        error = measure_all(cells, bench, console)
    measured = [target for target in targets if target.name in block_files]
    return Outcome(measured=measured, skipped=skipped, bench=bench, error=error)


def mount_all(targets: list[Target], stack: ExitStack, console: Console) -> tuple[dict[str, Path], dict[str, str]]:
    """Return the block files of the targets that could be mounted, and why the others could not."""
    block_files: dict[str, Path] = {}
    skipped: dict[str, str] = {}
    for target in targets:
        try:
            block_files[target.name] = stack.enter_context(target)
        except UnavailableError as error:
            skipped[target.name] = str(error)
            console.print(f"bench: {target.title} is skipped: {error}", soft_wrap=True)
        stack.callback(ignore_signals)
    if not block_files:
        raise BenchError("no target is left to measure")
    return block_files, skipped


def measure_all(cells: list[Cell], bench: Bench, console: Console) -> str | None:
    """Run every cell; returns what stopped it, or None."""
    with console.status("") as status:
        for position, cell in enumerate(cells, start=1):
            try:
                bench.measure(cell, progress=status.update)
            except BenchError as error:
                return str(error)
            console.print(f"[{position}/{len(cells)}] {bench.line_of(cell)}", markup=False, soft_wrap=True)
    return None


def handle_signals() -> None:
    """Let the first signal end the run in order: also where a script's `&` has made us ignore SIGINT."""
    for number in SIGNALS:
        signal.signal(number, _interrupt)


def ignore_signals() -> None:
    """Let nothing disturb the removal of what was set up."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)


def _interrupt(*_: object) -> None:
    ignore_signals()
    raise KeyboardInterrupt
