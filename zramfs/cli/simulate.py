"""`zramfs simulate`: a scenario in virtual time, and its answer."""

import json
import os
import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from enum import Enum
from pathlib import Path
from typing import Any, Final

import click
from rich.console import Console

from zramfs import __version__
from zramfs.cli.parameters import FilePath, Parsed, json_option
from zramfs.errors import InvalidValue
from zramfs.reporting.page import require_report_libraries
from zramfs.simulate.break_even import BreakEven, axes_of, break_even_as_json, find_break_even
from zramfs.simulate.calibrate import calibrate
from zramfs.simulate.machines import read_text
from zramfs.simulate.reading import load_grid
from zramfs.simulate.report import Circumstances, render_report
from zramfs.simulate.result import Result
from zramfs.simulate.run import run
from zramfs.simulate.scenario import Scenario
from zramfs.simulate.table import as_json as result_as_json
from zramfs.simulate.table import print_break_even, print_results
from zramfs.simulate.vary import Variation, parse_variation
from zramfs.simulate.verdict import judge_all, verdict_as_json

_VARIATION: Final = Parsed("key=value,value…", parse_variation)
_INTERRUPTED: Final = 130


@click.command(short_help="Simulate streams and devices of any machine.")
@click.argument("scenario", type=FilePath(), required=False)
@click.option(
    "--vary",
    "variations",
    type=_VARIATION,
    multiple=True,
    help="A key of the scenario that takes several values, such as policy=percpu,auto; several are combined.",
)
@click.option(
    "--break-even",
    "wants_break_even",
    is_flag=True,
    help="Also find out for which devices managed streams beat per-CPU ones; --vary page_ns, engines or queue_depth "
    "gives other values to try.",
)
@click.option(
    "--report",
    type=FilePath(dir_okay=False),
    help="Also write a page with the figures, plots, the scenario and every number's basis.",
)
@click.option("--seed", type=click.IntRange(0, (1 << 63) - 1), help="Of all that is random, instead of the scenario's.")
@click.option(
    "--calibrate",
    "table",
    type=FilePath(dir_okay=False),
    help="Measure this machine instead, and write its table, which a scenario can name.",
)
@click.option(
    "--through",
    "mountpoint",
    type=FilePath(),
    help="With --calibrate: measure requests by FUSE, on zram0 of a fresh mount, which is overwritten.",
)
@json_option
def simulate(
    scenario: Path | None,
    variations: Sequence[Variation],
    report: Path | None,
    seed: int | None,
    table: Path | None,
    mountpoint: Path | None,
    *,
    wants_break_even: bool,
    as_json: bool,
) -> int:
    """Simulate the machine, the devices, the streams and the load of a SCENARIO (TOML) in virtual time.

    For example: zramfs simulate server.toml --vary policy=percpu,auto --vary page_ns=1000,2000,4000
    or: zramfs simulate server.toml --break-even --report server.html

    The same scenario and seed give the same result. Ctrl-C ends it with what it has.
    """
    if (scenario is None) == (table is None):
        raise click.UsageError("give a SCENARIO, or --calibrate OUT.toml")
    if mountpoint is not None and table is None:
        raise click.UsageError("--through goes with --calibrate")
    if table is not None:
        return _calibrate(table, mountpoint)
    assert scenario is not None  # noqa: S101 - one of the two is given
    if report is not None:
        _check(report)
    try:
        axes = axes_of(variations) if wants_break_even else None
        scenarios = load_grid(scenario, () if wants_break_even else variations, seed=seed)
        results = _run_all(scenarios)
        grid = _break_even(scenarios[0], axes) if axes and not results[-1].is_partial else None
    except InvalidValue as error:
        raise click.UsageError(str(error)) from error
    if as_json:
        click.echo(json.dumps(_everything(results, grid), indent=2, default=_plain))
    else:
        _print(results, grid)
    if report is not None:
        report.write_text(render_report(results, grid, _circumstances(scenario)), encoding="utf-8")
    return _end(results, scenarios, grid)


def _check(report: Path) -> None:
    """Find out now what would otherwise fail after the simulation."""
    require_report_libraries()
    if not os.access(report if report.exists() else report.parent, os.W_OK):
        raise click.UsageError(f"{report} cannot be written")


def _break_even(scenario: Scenario, axes: Mapping[str, tuple[int, ...]]) -> BreakEven:
    with Console(stderr=True, highlight=False).status("") as status:
        return find_break_even(scenario, axes, on_progress=_shown_by(status.update, "break-even"))


def _print(results: Sequence[Result], grid: BreakEven | None) -> None:
    console = Console(highlight=False)
    print_results(results, console)
    if grid is not None:
        print_break_even(grid, console)


def _circumstances(scenario: Path) -> Circumstances:
    return Circumstances(
        command=_command(),
        version=__version__,
        when=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        source=read_text(scenario),
    )


def _command() -> str:
    return shlex.join(["zramfs", *sys.argv[1:]])


def _calibrate(path: Path, mountpoint: Path | None) -> int:
    """Measure this machine for about 10 s, and write the table; an OSError at once if it cannot be written."""
    console = Console(stderr=True, highlight=False)
    try:
        with path.open("a"), console.status("") as status:
            table = calibrate(lambda what: status.update(f"measuring {what}"), mountpoint)
        path.write_text(table, encoding="utf-8")
    except InvalidValue as error:
        raise click.UsageError(str(error)) from error
    finally:
        if path.is_file() and path.stat().st_size == 0:
            path.unlink()
    return 0


def _run_all(scenarios: Sequence[Scenario]) -> list[Result]:
    """Run one after the other, until one is interrupted. A terminal is shown how far it is."""
    console = Console(stderr=True, highlight=False)
    results: list[Result] = []
    with console.status("") as status:
        for number, scenario in enumerate(scenarios, start=1):
            values = ", ".join(f"{key}={value}" for key, value in scenario.varied)
            title = f"{number} of {len(scenarios)}  {values or scenario.name}"
            results.append(run(scenario, on_progress=_shown_by(status.update, title)))
            if results[-1].is_partial:
                break
    return results


def _shown_by(update: Callable[[str], None], title: str) -> Callable[[float], None]:
    def show(share: float) -> None:
        update(f"{title}: {share:.1%}")

    return show


def _end(results: Sequence[Result], scenarios: Sequence[Scenario], grid: BreakEven | None) -> int:
    """Say what is missing; the exit code."""
    if grid is not None and grid.is_partial:
        click.echo(f"zramfs: ended early, the break-even is partial: {len(grid.cells)} devices", err=True)
        return _INTERRUPTED
    if not results[-1].is_partial:
        return 0
    part = f"{results[-1].measured_s:g} s of virtual time"
    if len(scenarios) == 1:
        click.echo(f"zramfs: ended early, the result is partial: {part}", err=True)
    else:
        click.echo(
            f"zramfs: ended early in {len(results)} of {len(scenarios)} settings, which is partial (*)", err=True
        )
    return _INTERRUPTED


def _everything(results: Sequence[Result], grid: BreakEven | None) -> dict[str, Any]:
    verdicts = [
        {"varied": dict(result.scenario.varied), **verdict_as_json(verdict)} for result, verdict in judge_all(results)
    ]
    return {
        "version": __version__,
        "command": _command(),
        "results": [result_as_json(result) for result in results],
        **({"verdicts": verdicts} if verdicts else {}),
        **({"break_even": break_even_as_json(grid)} if grid else {}),
    }


def _plain(value: object) -> Any:
    return value.value if isinstance(value, Enum) else str(value)
