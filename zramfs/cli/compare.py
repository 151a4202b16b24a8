"""`zramfs compare`: a workload under several settings, interleaved, and what it showed."""

import json
import os
import shlex
import sys
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Final

import click
from rich.console import Console

from zramfs.cli.parameters import json_option
from zramfs.cli.values import SIZE, Parsed
from zramfs.compare.fio import FioWorkload
from zramfs.compare.machine import describe_machine, describe_versions, require_memory
from zramfs.compare.programs import Interrupted, Interruption
from zramfs.compare.report import Circumstances, render_report, require_report_libraries
from zramfs.compare.rounds import Comparison
from zramfs.compare.settings import POLICIES, Variation, combine, parse_variation
from zramfs.compare.swap_storm import SwapStorm
from zramfs.compare.table import as_json as comparison_as_json
from zramfs.compare.table import print_table
from zramfs.compare.workload import SWAP_STORM, Plan, Workload, read_job_file
from zramfs.errors import CommandFailed, InvalidValue

_VARIATION: Final = Parsed("key=value,value…", parse_variation)
_INTERRUPTED: Final = 130


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
    help="What differs: policy, profile, algorithm or a setting of the accelerator; several are combined.  "
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
    type=click.FloatRange(0.1, 86400),
    default=5.0,
    show_default=True,
    help="How long a run is measured.",
)
@click.option(
    "--report",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Also write a page with the table, plots, the machine and the commands.",
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
    _check(workload, plan, report)
    circumstances = _circumstances()
    comparison = Comparison.of(workload, plan, rounds, settings)
    with Interruption() as interruption:
        try:
            return _run(comparison, interruption, observes=report is not None)
        finally:
            _show(comparison, circumstances, as_json=as_json)
            if report and comparison.measured:
                _write(report, render_report(comparison, circumstances))


def _check(workload: Workload, plan: Plan, report: Path | None) -> None:
    """Find out now what would otherwise fail after minutes of measuring."""
    require_memory(plan.size_bytes)
    if report:
        require_report_libraries()
        if not os.access(report if report.exists() else report.parent, os.W_OK):
            raise click.UsageError(f"{report} cannot be written")
    workload.check(plan)


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


def _write(report: Path, page: str) -> None:
    try:
        report.write_text(page)
    except OSError as error:
        raise CommandFailed(f"{report} cannot be written: {error.strerror}") from error


def _show(comparison: Comparison, circumstances: Circumstances, *, as_json: bool) -> None:
    if as_json:
        report = comparison_as_json(comparison)
        click.echo(json.dumps({**report, **asdict(circumstances)}, indent=2))
    elif comparison.measured:
        print_table(comparison, Console(highlight=False))
