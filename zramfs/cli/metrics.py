"""`zramfs metrics`: what mounts tell of themselves, as text for Prometheus."""

from pathlib import Path

import click
from prometheus_client import generate_latest

from zramfs.cli.collector import registry_of
from zramfs.cli.overview import mounts_of_this_user, read_overview
from zramfs.cli.parameters import optional_mountpoint_argument
from zramfs.errors import MountFailed
from zramfs.mountpoint import find_ours


@click.command(short_help="Print the statistics of mounts as Prometheus reads them.")
@optional_mountpoint_argument
def metrics(mountpoint: Path | None) -> None:
    """Print the metrics of MOUNTPOINT, or of all your mounts (root: of everybody's), in Prometheus's text format.

    docs/metrics.md has their names and units; `mount --metrics` serves them.
    """
    mounts = mounts_of_this_user() if mountpoint is None else [find_ours(mountpoint)]
    try:
        text = generate_latest(registry_of(lambda: read_overview(mounts, in_full=False)))
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise MountFailed("one of the mounts does not answer as a zramfs does") from error
    click.echo(text, nl=False)
