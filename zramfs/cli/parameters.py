"""Arguments that several verbs take. Nothing heavy is imported here: `values` has what needs backends and profiles."""

import math
from collections.abc import Callable
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

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


def parse_name(text: str) -> str:
    """Read the name of a file. An empty one, such as that of a variable which is not set, is none."""
    if not text:
        raise InvalidValue("the name is empty")
    return text


_NAME: Final = Parsed("name", parse_name)


class FilePath(click.Path):
    """The name of a file or folder; Path would take an empty one for the working directory."""

    def __init__(self, *, file_okay: bool = True, dir_okay: bool = True) -> None:
        super().__init__(path_type=Path, file_okay=file_okay, dir_okay=dir_okay)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Read text."""
        return super().convert(_NAME.convert(value, param, ctx), param, ctx)


class Seconds(click.FloatRange):
    """A time within a range; click's own lets NaN pass."""

    def __init__(self, least_s: float, most_s: float) -> None:
        super().__init__(least_s, most_s)
        self._range = f"{least_s:g}<=x<={most_s:g}"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Read text."""
        seconds = super().convert(value, param, ctx)
        if math.isnan(seconds):
            self.fail(f"{seconds} is not in the range {self._range}.", param, ctx)
        return seconds


mountpoint_argument = click.argument(
    "mountpoint",
    type=FilePath(),
    shell_complete=partial(_complete, "mountpoint"),
)
optional_mountpoint_argument = click.argument(
    "mountpoint",
    required=False,
    type=FilePath(),
    shell_complete=partial(_complete, "mountpoint"),
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
device_option = click.option(
    "--device", default="zram0", show_default=True, help="Which device.", shell_complete=partial(_complete, "device")
)
