"""Arguments that several verbs take. Nothing heavy is imported here: `values` has what needs backends and profiles."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from zramfs.errors import InvalidValue


class Parsed(click.ParamType):  # type: ignore[type-arg]
    """A parameter that one of our functions reads; what it raises for junk is the message."""

    def __init__(self, name: str, parse: Callable[[str], Any]) -> None:
        self.name = name
        self._parse = parse

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Read text; what is read already stays."""
        if not isinstance(value, str):
            return value
        try:
            return self._parse(value)
        except (InvalidValue, ValueError) as error:
            self.fail(str(error), param, ctx)


mountpoint_argument = click.argument("mountpoint", type=click.Path(path_type=Path, exists=False, resolve_path=False))
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
device_option = click.option("--device", default="zram0", show_default=True, help="Which device.")
