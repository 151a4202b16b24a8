"""Arguments that several verbs take. Nothing heavy is imported here: `values` has what needs backends and profiles."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
from click.shell_completion import CompletionItem

from zramfs.cli.completing import complete_device, complete_mountpoint
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


class Named(Parsed):
    """A parameter whose names a shell completes."""

    def __init__(self, name: str, parse: Callable[[str], Any], complete: Callable[[str], list[str]]) -> None:
        super().__init__(name, parse)
        self._complete = complete

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """Return what may come of the beginning of a word."""
        del ctx, param
        return [CompletionItem(name) for name in self._complete(incomplete)]


mountpoint_argument = click.argument(
    "mountpoint",
    type=click.Path(path_type=Path, exists=False, resolve_path=False),
    shell_complete=complete_mountpoint,
)
optional_mountpoint_argument = click.argument(
    "mountpoint",
    required=False,
    type=click.Path(path_type=Path, exists=False, resolve_path=False),
    shell_complete=complete_mountpoint,
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
device_option = click.option(
    "--device", default="zram0", show_default=True, help="Which device.", shell_complete=complete_device
)
