"""Values of options, read and checked: bad ones are bad usage (exit code 2)."""

from typing import Final

from zramfs.accel.profile import Profile, parse_accelerator
from zramfs.backends.registry import load_backend
from zramfs.cli.completing import complete_accelerator, complete_algorithm
from zramfs.cli.listening import parse_address
from zramfs.cli.parameters import Named, Parsed
from zramfs.contracts import Backend
from zramfs.errors import InvalidValue
from zramfs.units import parse_size


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
METRICS_ADDRESS: Final = Parsed("address:port|unix:path", parse_address)
