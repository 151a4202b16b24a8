"""`zramfs simulate`: a scenario in virtual time, and its answer."""

import json
import shlex
import sys
from collections.abc import Callable, Sequence
from enum import Enum
from pathlib import Path
from typing import Any, Final

import click
from rich.console import Console

from zramfs import __version__
from zramfs.cli.parameters import json_option
from zramfs.cli.values import Parsed
from zramfs.errors import InvalidValue
from zramfs.simulate.calibrate import calibrate
from zramfs.simulate.reading import load_grid
from zramfs.simulate.result import Result
from zramfs.simulate.run import run
from zramfs.simulate.scenario import Scenario
from zramfs.simulate.table import as_json as result_as_json
from zramfs.simulate.table import print_results
from zramfs.simulate.vary import Variation, parse_variation

_VARIATION: Final = Parsed("key=value,value…", parse_variation)
_INTERRUPTED: Final = 130


@click.command(short_help="Simulate streams and devices of any machine.")
@click.argument("scenario", type=click.Path(path_type=Path), required=False)
@click.option(
    "--vary",
    "variations",
    type=_VARIATION,
    multiple=True,
    help="A key of the scenario that takes several values, such as policy=percpu,auto; several are combined.",
)
@click.option("--seed", type=click.IntRange(0, (1 << 63) - 1), help="Of all that is random, instead of the scenario's.")
@click.option(
    "--calibrate",
    "table",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Measure this machine instead, and write its table, which a scenario can name.",
)
@json_option
def simulate(
    scenario: Path | None, variations: Sequence[Variation], seed: int | None, table: Path | None, *, as_json: bool
) -> int:
    """Simulate the machine, the devices, the streams and the load of a SCENARIO (TOML) in virtual time.

    For example: zramfs simulate server.toml --vary policy=percpu,auto --vary page_ns=1000,2000,4000

    The same scenario and seed give the same result. Ctrl-C ends it with what it has.
    """
    if (scenario is None) == (table is None):
        raise click.UsageError("give a SCENARIO, or --calibrate OUT.toml")
    if table is not None:
        return _calibrate(table)
    assert scenario is not None  # noqa: S101 - one of the two is given
    try:
        scenarios = load_grid(scenario, variations, seed=seed)
        results = _run_all(scenarios)
    except InvalidValue as error:
        raise click.UsageError(str(error)) from error
    if as_json:
        click.echo(json.dumps(_everything(results), indent=2, default=_plain))
    else:
        print_results(results, Console(highlight=False))
    return _end(results, scenarios)


def _calibrate(path: Path) -> int:
    """Measure this machine for about 5 s, and write the table; an OSError at once if it cannot be written."""
    console = Console(stderr=True, highlight=False)
    with path.open("w", encoding="utf-8") as file, console.status("") as status:
        file.write(calibrate(lambda what: status.update(f"measuring {what}")))
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


def _end(results: Sequence[Result], scenarios: Sequence[Scenario]) -> int:
    """Say what is missing; the exit code."""
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


def _everything(results: Sequence[Result]) -> dict[str, Any]:
    return {
        "version": __version__,
        "command": shlex.join(["zramfs", *sys.argv[1:]]),
        "results": [result_as_json(result) for result in results],
    }


def _plain(value: object) -> Any:
    return value.value if isinstance(value, Enum) else str(value)
