"""Arguments that several verbs take. Nothing heavy is imported here: `values` has what needs backends and profiles."""

from collections.abc import Callable
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from zramfs.errors import InvalidValue

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem


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

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> "list[CompletionItem]":
        """Return what may come of the beginning of a word."""
        del ctx, param
        from click.shell_completion import CompletionItem  # noqa: PLC0415 - only a shell asks for it

        return [CompletionItem(name) for name in self._complete(incomplete)]


def _complete(kind: str, *asked: Any) -> "list[CompletionItem]":
    """Complete one of `completing`'s kinds; only a shell that asks pays for loading it."""
    items: list[CompletionItem] = getattr(import_module("zramfs.cli.completing"), f"complete_{kind}")(*asked)
    return items


mountpoint_argument = click.argument(
    "mountpoint",
    type=click.Path(path_type=Path, exists=False, resolve_path=False),
    shell_complete=partial(_complete, "mountpoint"),
)
optional_mountpoint_argument = click.argument(
    "mountpoint",
    required=False,
    type=click.Path(path_type=Path, exists=False, resolve_path=False),
    shell_complete=partial(_complete, "mountpoint"),
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
device_option = click.option(
    "--device", default="zram0", show_default=True, help="Which device.", shell_complete=partial(_complete, "device")
)
