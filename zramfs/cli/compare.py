"""`zramfs compare`: a workload under several settings, interleaved, and what it showed."""

import json
from collections.abc import Sequence
from typing import Final

import click
from rich.console import Console

from zramfs.cli.parameters import SIZE, Parsed, json_option
from zramfs.compare.fio import FioWorkload
from zramfs.compare.programs import Interrupted, Interruption
from zramfs.compare.rounds import Comparison
from zramfs.compare.settings import POLICIES, Variation, combine, parse_variation
from zramfs.compare.swap_storm import SwapStorm
from zramfs.compare.table import as_json as comparison_as_json
from zramfs.compare.table import print_table
from zramfs.compare.workload import SWAP_STORM, Plan, Workload, read_job_file
from zramfs.errors import InvalidValue

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
@json_option
def compare(
    workload: Workload,
    variations: Sequence[Variation],
    accelerator: str,
    size_bytes: int,
    rounds: int,
    runtime_s: float,
    *,
    as_json: bool,
) -> int:
    r"""Run one workload under several settings, each on a fresh mount, and compare the medians over the rounds.

    \b
    zramfs compare
    zramfs compare --workload async-flood --vary queue_depth=16,64,256
    zramfs compare --workload swap-storm --vary profile=poc,qpace --rounds 5
    zramfs compare --workload my.fio --vary policy=managed,auto --vary fault_bus_error=0,0.001

    Ctrl-C ends it with what it has.
    """
    try:
        settings = combine(variations or [POLICIES], accelerator)
    except InvalidValue as error:
        raise click.UsageError(str(error)) from error
    plan = Plan(size_bytes=size_bytes, runtime_s=runtime_s)
    workload.check(plan)
    comparison = Comparison.of(workload, plan, rounds, settings)
    try:
        _run(comparison)
    except Interrupted:
        click.echo(f"zramfs: ended early, after {comparison.runs_done} of {comparison.runs_planned} runs", err=True)
        return _INTERRUPTED
    finally:
        _show(comparison, as_json=as_json)
    return 0


def _run(comparison: Comparison) -> None:
    """Run all rounds, and tell on stderr how far it is: a line for each run, and on a terminal what runs now."""
    console = Console(stderr=True, highlight=False)
    with Interruption() as interruption, console.status("") as status:
        comparison.run(interruption, on_begin=status.update, on_end=console.print)


def _show(comparison: Comparison, *, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(comparison_as_json(comparison), indent=2))
    elif comparison.measured:
        print_table(comparison, Console(highlight=False))
