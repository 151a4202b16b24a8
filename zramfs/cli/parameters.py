"""Arguments that several verbs take. Nothing heavy is imported here: `values` has what needs backends and profiles."""

from pathlib import Path

import click

mountpoint_argument = click.argument("mountpoint", type=click.Path(path_type=Path, exists=False, resolve_path=False))
optional_mountpoint_argument = click.argument(
    "mountpoint", required=False, type=click.Path(path_type=Path, exists=False, resolve_path=False)
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
device_option = click.option("--device", default="zram0", show_default=True, help="Which device.")
