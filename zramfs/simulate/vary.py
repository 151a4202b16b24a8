"""`--vary`: keys of a scenario that take several values, and every combination of them."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from itertools import product
from math import prod
from typing import Any, Final

from zramfs.errors import InvalidValue
from zramfs.simulate.keys import WORD_KEYS
from zramfs.simulate.places import Place, find_places

MOST_SETTINGS: Final = 1024
"""Of a grid: a heat map of 32 by 32."""


@dataclass(frozen=True, slots=True)
class Variation:
    """A key, and its values in the user's order, as text."""

    key: str
    values: tuple[str, ...]


def parse_variation(text: str) -> Variation:
    """Read ``KEY=VALUE,VALUE…``; InvalidValue says what is wrong."""
    key, equals, listed = text.partition("=")
    values = tuple(listed.split(","))
    if not key or not equals or "" in values:
        raise InvalidValue(f"{text!r} is not KEY=VALUE,VALUE…, such as page_ns=1000,2000,4000")
    if repeated := [value for value, times in Counter(values).items() if times > 1]:
        raise InvalidValue(f"{key} has the value {repeated[0]} twice")
    return Variation(key, values)


def vary(
    table: Mapping[str, Any], variations: Sequence[Variation]
) -> Iterator[tuple[dict[str, Any], tuple[tuple[str, str], ...]]]:
    """Yield the table with each combination of values, and the combination; InvalidValue for an unknown key."""
    keys = [variation.key for variation in variations]
    if repeated := [key for key, times in Counter(keys).items() if times > 1]:
        raise InvalidValue(f"--vary {repeated[0]} is there twice: give all its values at once")
    count = prod(len(variation.values) for variation in variations)
    if count > MOST_SETTINGS:
        raise InvalidValue(f"{count:,} settings are too many: {MOST_SETTINGS:,} can be simulated")
    places = [find_places(table, key) for key in keys]
    _require_apart(keys, places)
    for values in product(*(variation.values for variation in variations)):
        varied = deepcopy(dict(table))
        for own_places, value in zip(places, values, strict=True):
            for path in own_places:
                _put(varied, path, value if path[-1] in WORD_KEYS else _value_of(value))
        yield varied, tuple(zip(keys, values, strict=True))


def _require_apart(keys: Sequence[str], places: Sequence[Sequence[Place]]) -> None:
    """Raise InvalidValue if two keys set the same value, of which only the latter's would be simulated."""
    whose: dict[Place, str] = {}
    for key, own_places in zip(keys, places, strict=True):
        for place in own_places:
            if place in whose:
                same = ".".join(map(str, place))
                raise InvalidValue(f"--vary {key}: --vary {whose[place]} sets {same} as well")
            whose[place] = key


def _put(table: Any, path: Place, value: Any) -> None:
    *way, last = path
    for step in way:
        table = table.setdefault(step, {}) if isinstance(table, dict) else table[step]
    table[last] = value


def _value_of(text: str) -> Any:
    """What the text would be in TOML: a truth value, a number, or else a string."""
    if text in ("true", "false"):
        return text == "true"
    for read in (int, float):
        try:
            return read(text)
        except ValueError:
            continue
    return text
