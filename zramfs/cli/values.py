"""Values of options, read and checked: bad ones are bad usage (exit code 2)."""

from collections.abc import Callable
from typing import Any, Final

import click

from zramfs.accel.profile import Profile, parse_accelerator
from zramfs.backends.registry import load_backend
from zramfs.cli.listening import parse_address
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
ALGORITHM: Final = Parsed("name", _backend)
ACCELERATOR: Final = Parsed("name[,key=value…]|none", _accelerator)
METRICS_ADDRESS: Final = Parsed("address:port|unix:path", parse_address)
