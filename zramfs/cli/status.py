"""`zramfs status`: every mount at a glance, or one of them in full."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from zramfs.cli.asking import ask_living, owner_name
from zramfs.cli.columns import ALL, DEFAULT, Column, complete_columns, help_of_columns, parse_columns
from zramfs.cli.fitting import fitting_list, terminal_width
from zramfs.cli.mounted import MountedZramfs
from zramfs.cli.overview import mounts_of_this_user, read_overview
from zramfs.cli.parameters import Named, json_option, optional_mountpoint_argument
from zramfs.cli.report import read_status
from zramfs.cli.tables import describe
from zramfs.errors import MountFailed

_COLUMN_LIST = Named("column,…", parse_columns, complete_columns)


class _CommandWithColumns(click.Command):
    """A command whose help and manual page have the columns that there are."""

    terms = ("Columns", "those up to MOUNTPOINT are zramctl's", help_of_columns())

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write them, a line each."""
        del ctx
        heading, remark, columns = self.terms
        lines = "\n".join(f"  {name:<13} {shown}" for name, shown in columns)
        formatter.write(f"\n{heading} ({remark}):\n{lines}\n")


@click.command(cls=_CommandWithColumns, short_help="Show every mount, or the memory, streams and accelerator of one.")
@optional_mountpoint_argument
@json_option
@click.option("-o", "--output", "columns", type=_COLUMN_LIST, help="Show these columns, a line for each device.")
@click.option("--output-all", is_flag=True, help="Show all columns.")
@click.option("--raw", is_flag=True, help="Separate columns by one blank; blanks in them are \\x20.")
@click.option("-b", "--bytes", "in_bytes", is_flag=True, help="Show sizes in bytes.")
@click.option("-n", "--noheadings", "--no-headings", "noheadings", is_flag=True, help="Leave the headings out.")
def status(
    mountpoint: Path | None,
    *,
    as_json: bool,
    columns: tuple[Column, ...] | None,
    output_all: bool,
    raw: bool,
    in_bytes: bool,
    noheadings: bool,
) -> None:
    """Show the devices of MOUNTPOINT: memory, ratio, streams and the accelerator.

    Without MOUNTPOINT: a line for each device of all your mounts (root: of everybody's), dead and hung ones included.
    """
    is_list = mountpoint is None or bool(columns or output_all or raw or in_bytes or noheadings)
    if as_json and (columns or output_all or raw or noheadings):
        raise click.UsageError("--json has all columns: leave --output, --output-all, --raw and --noheadings out")
    if mountpoint is not None:
        mounted = MountedZramfs(mountpoint)
        report = ask_living(mounted.mount, lambda: read_status(mounted))
        if as_json or not is_list:
            _show_one(mountpoint, report, as_json=as_json)
            return
        reports = [{**report, "owner": owner_name(mounted.mount), "state": "live"}]
    else:
        reports = read_overview(mounts_of_this_user())
        if as_json:
            click.echo(json.dumps({"mounts": reports}, indent=2))
            return
        if not reports:
            click.echo("zramfs: nothing is mounted", err=True)
            return
    shown = ALL if output_all else columns or DEFAULT
    rows = [[column.cell(*pair, in_bytes=in_bytes) for column in shown] for pair in _devices_of(reports)]
    for line in _raw_lines(shown, rows, noheadings) if raw else _aligned_lines(shown, rows, noheadings):
        click.echo(line)
    if sys.stdout.isatty() and not raw:
        _explain_failures(reports)


def _explain_failures(reports: Sequence[dict[str, Any]]) -> None:
    for report in reports:
        if "error" in report:
            click.echo(f"zramfs: {report['error']}", err=True)


def _show_one(mountpoint: Path, report: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(report, indent=2))
        return
    try:
        lines = describe(report, terminal_width())
    except (LookupError, TypeError, ValueError) as error:
        raise MountFailed(f"what is mounted at {mountpoint} does not answer as a zramfs does") from error
    click.echo("\n".join(lines))


def _devices_of(reports: Sequence[dict[str, Any]]) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """Return each device with its mount; a mount without any has a line that has only its name."""
    return [(report, device) for report in reports for device in report["devices"] or [{"path": report["mountpoint"]}]]


def _aligned_lines(columns: Sequence[Column], rows: Sequence[Sequence[str]], noheadings: bool) -> list[str]:  # noqa: FBT001
    headings = [column.heading for column in columns]
    return fitting_list(headings, rows, terminal_width(), has_headings=not noheadings)


def _raw_lines(columns: Sequence[Column], rows: Sequence[Sequence[str]], noheadings: bool) -> list[str]:  # noqa: FBT001
    titles = [] if noheadings else [[column.name for column in columns]]
    return [" ".join(cell.replace("\\", "\\x5c").replace(" ", "\\x20") for cell in row) for row in (*titles, *rows)]
