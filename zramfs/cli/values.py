"""Values of options, read and checked: bad ones are bad usage (exit code 2)."""

from collections.abc import Callable
from typing import Any, Final

import click
from click.shell_completion import CompletionItem

from zramfs.accel.profile import Profile, parse_accelerator
from zramfs.backends.registry import load_backend
from zramfs.cli.completing import complete_accelerator, complete_algorithm
from zramfs.contracts import Backend
from zramfs.errors import InvalidValue
from zramfs.units import parse_size


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


def _positive_size(text: str) -> int:
    size_bytes = parse_size(text)
    if size_bytes == 0:
        raise InvalidValue("0 is no size")
    return size_bytes


def _backend(text: str) -> Backend:
    return load_backend(text)


def _accelerator(text: str) -> Profile | None:
    return parse_accelerator(text)


SIZE: Final = Parsed("size", _positive_size)
ALGORITHM: Final = Named("name", _backend, complete_algorithm)
ACCELERATOR: Final = Named("name[,key=value…]|none", _accelerator, complete_accelerator)
