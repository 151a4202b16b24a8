"""Reads values of a scenario's tables, strictly: what is wrong is said in one line, with the key."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from itertools import pairwise
from typing import Any, Final, TypeVar

from zramfs.errors import InvalidValue
from zramfs.suggestions import did_you_mean
from zramfs.units import PAGE_SIZE, parse_size

T = TypeVar("T")
E = TypeVar("E", bound=Enum)

Parse = Callable[[Any], Any]
"""Makes a value of what stands in the TOML; InvalidValue says what it must be."""

_LARGEST_BYTES: Final = 1 << 30


def whole(least: int, most: int) -> Callable[[Any], int]:
    """Read a whole number within limits."""

    def parse(value: Any) -> int:
        if not isinstance(value, int) or isinstance(value, bool):
            raise InvalidValue(f"it must be a whole number, not {value!r}")
        if not least <= value <= most:
            raise InvalidValue(f"it must be {least:,} to {most:,}, not {value:,}")
        return value

    return parse


def real(least: float = 0.0, most: float = 1e12, *, is_positive: bool = False) -> Callable[[Any], float]:
    """Read a number within limits; 0 is none of them if it has to be positive."""

    def parse(value: Any) -> float:
        if not isinstance(value, int | float) or isinstance(value, bool):
            raise InvalidValue(f"it must be a number, not {value!r}")
        if not least <= value <= most or (is_positive and value == 0):
            bound = f"more than {least:g}" if is_positive else f"at least {least:g}"
            raise InvalidValue(f"it must be {bound} and at most {most:g}, not {value:g}")
        return float(value)

    return parse


def text(value: Any) -> str:
    """Read words."""
    if not isinstance(value, str) or not value:
        raise InvalidValue(f"it must be text, not {value!r}")
    return value


def boolean(value: Any) -> bool:
    """Read true or false."""
    if not isinstance(value, bool):
        raise InvalidValue(f"it must be true or false, not {value!r}")
    return value


def choice(kind: type[E]) -> Callable[[Any], E]:
    """Read a word that a member of an enumeration has as its value."""

    def parse(value: Any) -> E:
        words = [str(member.value) for member in kind]
        if value not in words:
            raise InvalidValue(f"not {value!r}: {did_you_mean(str(value), words)}")
        return kind(value)

    return parse


def whole_pages(value: Any) -> int:
    """Read a size, as a number of bytes or as `128K`, that is one or more whole pages."""
    try:
        size_bytes = parse_size(value) if isinstance(value, str) else whole(1, _LARGEST_BYTES)(value)
    except ValueError as error:
        raise InvalidValue(str(error)) from error
    if not 0 < size_bytes <= _LARGEST_BYTES or size_bytes % PAGE_SIZE:
        raise InvalidValue(f"it must be a multiple of {PAGE_SIZE} bytes, up to 1G, not {value!r}")
    return size_bytes


def periods_ms(value: Any) -> tuple[tuple[float, float], ...]:
    """Read `[[begin, end], …]` in ms, one after the other, as (begin, end) in µs."""
    if not isinstance(value, list) or not all(isinstance(each, list) and len(each) == 2 for each in value):
        raise InvalidValue("it must be a list of periods in ms, such as [[100, 150], [300, 310]]")
    edges = [real()(edge) for period in value for edge in period]
    if any(later <= earlier for earlier, later in pairwise(edges)):
        raise InvalidValue("each period must end after it begins, and before the next one")
    return tuple((begin * 1000, end * 1000) for begin, end in zip(edges[::2], edges[1::2], strict=True))


def read_table(where: str, value: Any, keys: Mapping[str, Parse]) -> dict[str, Any]:
    """Read a table that may have these keys; the values of those that it has.

    InvalidValue begins with `where` and the key.
    """
    if not isinstance(value, dict):
        raise InvalidValue(f"{where}: it must be a table, not {value!r}")
    return {key: _read_key(where, key, each, keys) for key, each in value.items()}


def _read_key(where: str, key: str, value: Any, keys: Mapping[str, Parse]) -> Any:
    path = f"{where}.{key}" if where else key
    if key not in keys:
        raise InvalidValue(f"{path}: unknown key: {did_you_mean(key, keys)}")
    try:
        return keys[key](value)
    except InvalidValue as error:
        raise InvalidValue(f"{path}: {error}") from error


def require(where: str, given: Mapping[str, T], *names: str) -> None:
    """Raise an InvalidValue for the first key that is missing."""
    for name in names:
        if name not in given:
            raise InvalidValue(f"{where}: {name} is missing")


def require_distinct(key: str, names: Sequence[str]) -> None:
    """Raise an InvalidValue if two names are the same."""
    if repeated := [name for name, times in Counter(names).items() if times > 1]:
        raise InvalidValue(f"{key}: two have the name {repeated[0]!r}: give each its own")
