"""`zramfs accel`: the profiles, and where each of their numbers comes from."""

import json
from dataclasses import asdict

import click
from rich import box
from rich.console import Console
from rich.table import Table

from zramfs.accel.profile import NO_ACCELERATOR, Profile, load_profile, profile_names
from zramfs.accel.settings import SETTINGS
from zramfs.cli.parameters import json_option
from zramfs.cli.values import ACCELERATOR
from zramfs.cli.verb_names import VerbGroup


@click.group(cls=VerbGroup, short_help="List the accelerator profiles, or show one.")
def accel() -> None:
    """List the accelerator profiles, or show one."""


@accel.command("list", short_help="List the profiles.")
@json_option
def list_profiles(*, as_json: bool) -> None:
    """List the profiles that --accel takes."""
    profiles = [load_profile(name) for name in profile_names()]
    if as_json:
        click.echo(json.dumps([{"name": each.name, "summary": each.summary} for each in profiles], indent=2))
        return
    table = Table("profile", "what it is", box=box.SIMPLE_HEAD, pad_edge=False)
    for profile in profiles:
        table.add_row(profile.name, profile.summary)
    Console(highlight=False).print(table)


@accel.command(short_help="Show a profile's numbers and their sources.")
@click.argument("profile", metavar="NAME[,key=value…]", type=ACCELERATOR)
@json_option
def show(profile: Profile | None, *, as_json: bool) -> None:
    """Show each number of a profile: published by whom, assumed and why, or given here, as --accel takes it."""
    if profile is None:
        click.echo("null" if as_json else f"{NO_ACCELERATOR}: no accelerator; per-CPU streams compress everything")
        return
    if as_json:
        click.echo(json.dumps(asdict(profile), indent=2, default=str))
        return
    table = Table("setting", "value", "unit", "basis", "source or reason", box=box.SIMPLE_HEAD, pad_edge=False)
    for key, setting in profile.settings.items():
        table.add_row(key, str(setting.value), SETTINGS[key].unit, setting.basis, setting.source)
    console = Console(highlight=False)
    console.print(f"{profile.name}: {profile.summary}")
    console.print(table)
