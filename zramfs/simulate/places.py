"""Where the keys that `--vary` names stand in a scenario's table: a whole path, or its last word."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from zramfs.errors import InvalidValue
from zramfs.simulate.fields import Parse
from zramfs.simulate.keys import (
    CONTENTION_KEYS,
    COST_KEYS,
    DAEMON_KEYS,
    DEVICE_KEYS,
    GROUP_KEYS,
    LISTED_KEYS,
    LOAD_KEYS,
    MACHINE_KEYS,
    SCHEDULER_KEYS,
    STREAM_KEYS,
    TOP_KEYS,
)
from zramfs.suggestions import did_you_mean

Place = tuple[str | int, ...]
"""The way to a value: keys of tables, and numbers in lists."""

_SECTIONS: Final[Mapping[str, Mapping[str, Parse]]] = {
    "machine": MACHINE_KEYS,
    "costs": COST_KEYS,
    "contention": CONTENTION_KEYS,
    "scheduler": SCHEDULER_KEYS,
    "streams": STREAM_KEYS,
    "daemon": DAEMON_KEYS,
}
_LISTS: Final[Mapping[str, Mapping[str, Parse]]] = {"machine.groups": GROUP_KEYS, "devices": DEVICE_KEYS, "loads": {}}
_OPTIONAL: Final = {
    "contention": "[contention]",
    "daemon": "[daemon]",
    "devices": "[[devices]]",
    "machine.groups": "[[machine.groups]]",
}
"""What changes the model by being there, so that no key adds it."""


def find_places(table: Mapping[str, Any], key: str) -> list[Place]:
    """Return where a key of the user's is set: in every device, or load, that may have it.

    InvalidValue if there is no such key, or several tables have it.
    """
    known = _known_places(table)
    if key in known:
        return known[key]
    longer = [path for path in known if path.rpartition(".")[2] == key and path.count(".") == 1]
    if len(longer) == 1:
        return known[longer[0]]
    if longer:
        raise InvalidValue(f"--vary {key}: there are several: {', '.join(longer)}")
    raise InvalidValue(f"--vary {key}: {_why_unknown(table, key, known)}")


def _why_unknown(table: Mapping[str, Any], key: str, known: Mapping[str, object]) -> str:
    section, _, last = key.rpartition(".")
    if last in LISTED_KEYS:
        return "it is a list, and only numbers and words can vary"
    for optional, shown in _OPTIONAL.items():
        keys = _SECTIONS.get(optional, _LISTS.get(optional, {}))
        is_of_it = key == optional or (last in keys and f"{section or optional}.".startswith(f"{optional}."))
        if is_of_it and _at(table, optional) is None:
            return f"the scenario has no {shown}"
    if of_table := [path for path in known if path.startswith(f"{key}.")]:
        return f"it is a table, and its keys can vary, such as {of_table[0]}"
    words = {path.rpartition(".")[2] for path in known if path.count(".") < 2}
    return f"unknown key: {did_you_mean(key, [*sorted(words), *known])}"


def _known_places(table: Mapping[str, Any]) -> dict[str, list[Place]]:
    """Return every path that the table may have, with its places; lists are no values that vary."""
    known: dict[str, list[Place]] = {key: [(key,)] for key in TOP_KEYS}
    for section, keys in _SECTIONS.items():
        if isinstance(table.get(section, None if section in _OPTIONAL else {}), dict):
            known |= {f"{section}.{key}": [(section, key)] for key in keys if key not in LISTED_KEYS}
    for section, keys in _LISTS.items():
        for number, each in _tables_of(table, section):
            own = LOAD_KEYS.get(str(each.get("kind")), {}) if section == "loads" else keys
            for key in (key for key in own if key not in LISTED_KEYS):
                place: Place = (*section.split("."), number, key)
                for path in _paths(section, number, each):
                    known.setdefault(f"{path}.{key}", []).append(place)
    return known


def _paths(section: str, number: int, table: Mapping[str, Any]) -> Iterator[str]:
    """Yield what one of a list may be called: as all of them, and by its name, or else by its number."""
    yield section
    name = table.get("name") or table.get({"devices": "profile", "loads": "kind"}.get(section, "like"))
    yield f"{section}.{name}"
    if name != str(number):
        yield f"{section}.{number}"


def _tables_of(table: Mapping[str, Any], section: str) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """Yield the tables of a list with their numbers; what is none of them is for `reading` to complain of."""
    tables = _at(table, section)
    for number, each in enumerate(tables if isinstance(tables, list) else ()):
        if isinstance(each, dict):
            yield number, each


def _at(table: Mapping[str, Any], section: str) -> Any:
    """Return what stands at a section's path, or None."""
    found: Any = table
    for step in section.split("."):
        found = found.get(step) if isinstance(found, dict) else None
    return found
