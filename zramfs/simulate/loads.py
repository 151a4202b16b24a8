"""Makes Loads of the [[loads]] tables of a scenario."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from zramfs.errors import InvalidValue
from zramfs.simulate.fields import read_table, require
from zramfs.simulate.flows import cpus_of_group
from zramfs.simulate.keys import LOAD_KEYS
from zramfs.simulate.load_kinds import ClosedLoad, Load, OpenLoad, Operation, ReclaimLoad, ReplayLoad, SwapLoad
from zramfs.simulate.scenario import Machine
from zramfs.simulate.traces import TRACE_FORMATS, load_trace
from zramfs.suggestions import did_you_mean

MOST_REQUESTS: Final = 1_000_000
"""Of one load in flight: 40 bytes each."""

_RENAMED: Final = {
    "size": "size_bytes",
    "write_size": "write_bytes",
    "read_size": "read_bytes",
    "async": "is_async",
}


def read_load(where: str, value: Any, machine: Machine, folder: Path) -> Load:
    """Make a load of a table; InvalidValue begins with `where` and the key."""
    if not isinstance(value, dict) or "kind" not in value:
        raise InvalidValue(f"{where}: kind is missing: it is {', '.join(LOAD_KEYS)}")
    kind = value["kind"]
    if not isinstance(kind, str) or kind not in LOAD_KEYS:
        raise InvalidValue(f"{where}.kind: not {kind!r}: {did_you_mean(str(kind), LOAD_KEYS)}")
    given = read_table(where, value, LOAD_KEYS[kind])
    given.pop("kind")
    given.setdefault("name", kind)
    cpus = _require_group(where, given.get("group", ""), machine)
    given = {_RENAMED.get(key, key): each for key, each in given.items()}
    if given.get("is_async") and given.get("operation") is Operation.READ:
        raise InvalidValue(f"{where}.async: reads are not asynchronous: their tasks wait for each")
    load = _make(where, kind, given, cpus, folder)
    _require_few(where, load)
    return load


def _make(where: str, kind: str, given: dict[str, Any], cpus: int, folder: Path) -> Load:
    if kind == "closed":
        return ClosedLoad(**given)
    if kind == "reclaim":
        return _reclaim(where, given)
    if kind == "swap":
        return SwapLoad(**given)
    given.setdefault("tasks", cpus)
    if kind == "open":
        require(where, given, "rate_per_s")
        return OpenLoad(**given)
    return _replay(where, given, folder)


def _reclaim(where: str, given: dict[str, Any]) -> ReclaimLoad:
    load = ReclaimLoad(**given)
    if load.reclaimers + load.faulters == 0:
        raise InvalidValue(f"{where}: there must be reclaimers or faulters")
    return load


def _replay(where: str, given: dict[str, Any], folder: Path) -> ReplayLoad:
    require(where, given, "path")
    name = given.pop("format", "auto")
    if name not in TRACE_FORMATS:
        raise InvalidValue(f"{where}.format: not {name!r}: {did_you_mean(name, TRACE_FORMATS)}")
    try:
        trace = load_trace(folder / given["path"], name)
    except InvalidValue as error:
        raise InvalidValue(f"{where}.path: {error}") from error
    return ReplayLoad(**given, trace=trace)


def _require_group(where: str, group: str, machine: Machine) -> int:
    """How many CPUs it has; InvalidValue if there is none of this name."""
    names = [each.name for each in machine.groups]
    if group and group not in names:
        raise InvalidValue(f"{where}.group: no group {group!r}: {did_you_mean(group, names)}")
    return len(cpus_of_group(machine, group))


def _require_few(where: str, load: Load) -> None:
    if isinstance(load, ReclaimLoad):
        in_flight = load.reclaimers * load.batch + load.faulters
    elif isinstance(load, SwapLoad):
        in_flight = load.tasks * load.batch
    else:
        in_flight = load.tasks * load.depth
    if in_flight > MOST_REQUESTS:
        raise InvalidValue(f"{where}: {in_flight:,} requests in flight are too many: there may be {MOST_REQUESTS:,}")


def require_order(where: str, load: Load, loads: Sequence[Load]) -> None:
    """Follow `after` from a load to one that begins at once; InvalidValue if there is none, or a cycle of waits."""
    by_name = {each.name: each for each in loads}
    way = [load.name]
    while load.after:
        if load.after not in by_name:
            raise InvalidValue(f"{where}: no load {load.after!r}: {did_you_mean(load.after, by_name)}")
        load = by_name[load.after]
        way.append(load.name)
        if load.name in way[:-1]:
            raise InvalidValue(f"{where}: a cycle of waits: {' waits for '.join(way)}")
        if not isinstance(load, ReplayLoad) and not getattr(load, "requests", 0):
            raise InvalidValue(f"{where}: {load.name} never ends: give it requests")
