"""`--vary`: keys of a scenario that take several values, and every combination of them."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from itertools import product
from math import prod
from typing import Any, Final

from zramfs.errors import InvalidValue
from zramfs.simulate.keys import (
    COST_KEYS,
    DEVICE_KEYS,
    LOAD_KEYS,
    MACHINE_KEYS,
    SCHEDULER_KEYS,
    STREAM_KEYS,
    TOP_KEYS,
)
from zramfs.suggestions import did_you_mean

MOST_SETTINGS: Final = 1024
"""Of a grid: a heat map of 32 by 32."""

_SECTIONS: Final = {"machine": MACHINE_KEYS, "costs": COST_KEYS, "scheduler": SCHEDULER_KEYS, "streams": STREAM_KEYS}


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
    for values in product(*(variation.values for variation in variations)):
        varied = deepcopy(dict(table))
        for own_places, value in zip(places, values, strict=True):
            for path in own_places:
                _put(varied, path, _value_of(value))
        yield varied, tuple(zip(keys, values, strict=True))


def find_places(table: Mapping[str, Any], key: str) -> list[tuple[str | int, ...]]:
    """Where in the table a key of the user's is set: in every device, or load, that may have it.

    It is a whole path (`streams.policy`, `loads.NAME.depth`), or its last word where that is no other's.
    """
    known = _known_places(table)
    if key in known:
        return known[key]
    longer = [path for path in known if path.rpartition(".")[2] == key and path.count(".") == 1]
    if len(longer) == 1:
        return known[longer[0]]
    if longer:
        raise InvalidValue(f"--vary {key}: there are several: {', '.join(longer)}")
    if key.removeprefix("devices.") in DEVICE_KEYS:
        raise InvalidValue(f"--vary {key}: there are no devices")
    candidates = {path.rpartition(".")[2]: None for path in known} | dict.fromkeys(known)
    raise InvalidValue(f"--vary {key}: unknown key: {did_you_mean(key, candidates)}")


def _known_places(table: Mapping[str, Any]) -> dict[str, list[tuple[str | int, ...]]]:
    """Every path that the table may have, with its places."""
    known: dict[str, list[tuple[str | int, ...]]] = {key: [(key,)] for key in TOP_KEYS}
    for section, keys in _SECTIONS.items():
        known |= {f"{section}.{key}": [(section, key)] for key in keys}
    for number, device in enumerate(_list_of(table, "devices")):
        _add(known, "devices", number, device, DEVICE_KEYS)
    for number, load in enumerate(_list_of(table, "loads")):
        _add(known, "loads", number, load, LOAD_KEYS.get(str(load.get("kind")), {}))
    return known


def _list_of(table: Mapping[str, Any], section: str) -> list[Mapping[str, Any]]:
    """The tables of a list; what is none of them is for `reading` to complain of."""
    tables = table.get(section, [])
    return [each for each in tables if isinstance(each, dict)] if isinstance(tables, list) else []


def _add(
    known: dict[str, list[tuple[str | int, ...]]],
    section: str,
    number: int,
    table: Mapping[str, Any],
    keys: Iterable[str],
) -> None:
    name = table.get("name") or table.get("profile" if section == "devices" else "kind")
    for key in keys:
        known.setdefault(f"{section}.{key}", []).append((section, number, key))
        known.setdefault(f"{section}.{name}.{key}", []).append((section, number, key))


def _put(table: Any, path: tuple[str | int, ...], value: Any) -> None:
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
