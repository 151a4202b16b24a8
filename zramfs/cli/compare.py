"""`zramfs compare`: a workload under several settings, interleaved, and what it showed."""

import json
import os
import shlex
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Final

import click
from rich.console import Console

from zramfs.cli.parameters import FilePath, Parsed, Seconds, json_option
from zramfs.cli.values import SIZE
from zramfs.compare.fio import FioWorkload
from zramfs.compare.machine import describe_machine, describe_versions, require_memory
from zramfs.compare.programs import Interrupted, Interruption
from zramfs.compare.report import Circumstances, render_report
from zramfs.compare.rounds import Comparison
from zramfs.compare.scenario import measure_machine, scenario_of, simulate_line
from zramfs.compare.settings import POLICIES, Variation, combine, parse_variation
from zramfs.compare.swap_storm import SwapStorm
from zramfs.compare.table import as_json as comparison_as_json
from zramfs.compare.table import print_table
from zramfs.compare.verdict import judge
from zramfs.compare.workload import SWAP_STORM, Plan, Workload, read_job_file
from zramfs.errors import CommandFailed, InvalidValue
from zramfs.reporting.page import require_report_libraries

_VARIATION: Final = Parsed("key=value,value…", parse_variation)
_INTERRUPTED: Final = 130
_OWN_SCENARIO: Final = "zramfs simulate SCENARIO.toml --vary policy=percpu,auto  (with a scenario of your load)"


def _workload(text: str) -> Workload:
    return SwapStorm() if text == SWAP_STORM else FioWorkload(text, read_job_file(text))


_WORKLOAD: Final = Parsed("name|file.fio", _workload)


@click.command(short_help="Run one workload under several settings, and compare.")
@click.option(
    "--workload",
    type=_WORKLOAD,
    default="mixed",
    show_default=True,
    help="async-flood, sync-only, mixed, swap-storm, or a fio job file that uses ${ZRAMFS_FILE}.",
)
@click.option(
    "--vary",
    "variations",
    type=_VARIATION,
    multiple=True,
    help="What differs: policy, profile, algorithm, transport or a setting of the accelerator; several are combined.  "
    "[default: policy=percpu,managed,auto]",
)
@click.option("--accel", "accelerator", default="ideal", show_default=True, help="What does not: as of mount.")
@click.option("--size", "size_bytes", type=SIZE, default="256M", show_default=True, help="Size of the disk.")
@click.option(
    "--rounds", type=click.IntRange(1, 1000), default=3, show_default=True, help="How often each setting runs."
)
@click.option(
    "--runtime",
    "runtime_s",
    metavar="SECONDS",
    type=Seconds(0.1, 86400),
    default=5.0,
    show_default=True,
    help="How long a run is measured.",
)
@click.option(
    "--report",
    type=FilePath(dir_okay=False),
    help="Also write a page with the table, plots, the machine and the commands.",
)
@click.option(
    "--scenario",
    type=FilePath(dir_okay=False),
    help="Also write what is compared as a scenario for zramfs simulate, and beside it the table of this machine, "
    "which is measured for 10 s; done anyway, in temporary files, where this machine cannot emulate the device.",
)
@json_option
def compare(
    workload: Workload,
    variations: Sequence[Variation],
    accelerator: str,
    size_bytes: int,
    rounds: int,
    runtime_s: float,
    report: Path | None,
    scenario: Path | None,
    *,
    as_json: bool,
) -> int:
    """Run one workload under several settings, each on a fresh mount, and compare the medians over the rounds.

    For example: zramfs compare --workload async-flood --vary queue_depth=16,64,256

    Ctrl-C ends it with what it has.
    """
    try:
        settings = combine(variations or [POLICIES], accelerator)
    except InvalidValue as error:
        raise click.UsageError(str(error)) from error
    plan = Plan(size_bytes=size_bytes, runtime_s=runtime_s)
    _check(workload, plan, [path for path in (report, scenario) if path])
    if report:
        require_report_libraries()
    circumstances = _circumstances()
    comparison = Comparison.of(workload, plan, rounds, settings)
    with Interruption() as interruption:
        try:
            return _run(comparison, interruption, observes=report is not None)
        finally:
            simulate = _write_scenario(comparison, scenario, is_interrupted=interruption.is_requested)
            _show(comparison, circumstances, simulate, as_json=as_json)
            if report and comparison.measured:
                _write(report, render_report(comparison, circumstances, simulate))


def _check(workload: Workload, plan: Plan, outputs: Sequence[Path]) -> None:
    """Find out now what would otherwise fail after minutes of measuring."""
    require_memory(plan.size_bytes)
    for path in outputs:
        if not os.access(path if path.exists() else path.parent, os.W_OK):
            raise click.UsageError(f"{path} cannot be written")
    workload.check(plan)


def _write_scenario(comparison: Comparison, path: Path | None, *, is_interrupted: bool) -> str:
    """Write the scenario where it is wanted, or where only it can answer; the command that simulates it, or nothing."""
    measured = comparison.measured
    is_needed = any(judge(row, measured).warning for row in measured)
    if not (path or is_needed):
        return ""
    if scenario_of(comparison, Path()) is None:
        return _OWN_SCENARIO if is_needed else ""
    if path is None:
        descriptor, name = tempfile.mkstemp(prefix=f"zramfs-{comparison.workload.name}-", suffix=".toml")
        os.close(descriptor)
        path = Path(name)
    table = path.with_name(f"{path.stem}-machine.toml")
    _write(path, scenario_of(comparison, table) or "")
    _measure_machine(table, is_interrupted=is_interrupted)
    return simulate_line(comparison, path)


def _measure_machine(table: Path, *, is_interrupted: bool) -> None:
    """Measure this machine for the scenario; if that fails, what was compared is shown all the same."""
    reason = "interrupted"
    if not is_interrupted:
        try:
            measure_machine(table)
        except CommandFailed as error:
            reason = str(error)
        else:
            return
    how = f"zramfs simulate --calibrate {table} --through a fresh mount writes it"
    click.echo(f"zramfs: this machine's table is missing, for it was not measured ({reason}): {how}", err=True)


def _circumstances() -> Circumstances:
    return Circumstances(
        command=shlex.join(["zramfs", *sys.argv[1:]]),
        when=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        machine=describe_machine(),
        versions=describe_versions(),
    )


def _run(comparison: Comparison, interruption: Interruption, *, observes: bool) -> int:
    """Run all rounds; the exit code. A line on stderr tells of each run, and on a terminal what runs now."""
    console = Console(stderr=True, highlight=False)
    try:
        with console.status("") as status:
            comparison.run(interruption, on_begin=status.update, on_end=partial(console.print, soft_wrap=True))
            if observes:
                comparison.observe(interruption, on_begin=status.update)
    except Interrupted:
        done = f"after {comparison.runs_done} of {comparison.runs_planned} runs"
        console.print(f"zramfs: ended early, {done}")
        return _INTERRUPTED
    return 0


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text)
    except OSError as error:
        raise CommandFailed(f"{path} cannot be written: {error.strerror}") from error


def _show(comparison: Comparison, circumstances: Circumstances, simulate: str, *, as_json: bool) -> None:
    if as_json:
        report = comparison_as_json(comparison, simulate)
        click.echo(json.dumps({**report, **asdict(circumstances)}, indent=2))
    elif comparison.measured:
        print_table(comparison, Console(highlight=False), simulate)
