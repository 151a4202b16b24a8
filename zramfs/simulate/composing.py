"""Makes the machine of a scenario: a table, or groups of CPUs that are like tables, with the scenario's own costs."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from zramfs.errors import InvalidValue
from zramfs.simulate.fields import read_table, require, require_distinct
from zramfs.simulate.keys import CONTENTION_KEYS, COST_KEYS, GROUP_KEYS, MACHINE_KEYS, MOST_CPUS
from zramfs.simulate.machines import load_machine, make_contention
from zramfs.simulate.scenario import Cost, CpuGroup, Machine

_TIMES: Final = ("compress", "decompress")
"""Costs of a page that a group of CPUs has for each algorithm."""

_BY_THE_SCENARIO: Final = "by the scenario"


def read_machine(value: Any, costs: Any, contention: Any, folder: Path, algorithm: str) -> Machine:
    """Make the machine of the tables `machine`, `costs` and `contention`; InvalidValue begins with the key.

    `contention` is None where the scenario has none: then it is the machine's.
    """
    machine = _with_costs(_without_costs(value, folder, algorithm), costs, algorithm)
    if contention is None:
        return machine
    given = read_table("contention", contention, CONTENTION_KEYS)
    require("contention", given, *CONTENTION_KEYS)
    return replace(machine, contention=make_contention(given, "given", _BY_THE_SCENARIO))


def _without_costs(value: Any, folder: Path, algorithm: str) -> Machine:
    given = read_table("machine", value, MACHINE_KEYS)
    if "groups" not in given:
        require("machine", given, "table")
    machine = _named("machine.table", given["table"], folder) if "table" in given else None
    if "groups" in given:
        machine = _compose(given["groups"], machine, folder, algorithm)
    assert machine is not None  # noqa: S101 - one of the two is required
    if "cpus" not in given:
        return machine
    if len(machine.groups) > 1:
        raise InvalidValue("machine.cpus: there are several groups of CPUs: give the count of each")
    group = replace(machine.groups[0], count=given["cpus"])
    return replace(machine, groups=(group,), summary=f"{group.count} CPUs, each as of this table: {machine.summary}")


def _named(key: str, name: str, folder: Path) -> Machine:
    try:
        return load_machine(name, folder)
    except InvalidValue as error:
        raise InvalidValue(f"{key}: {error}") from error


def _compose(value: Any, base: Machine | None, folder: Path, algorithm: str) -> Machine:
    """Make a machine of groups that are each like a table's; its other costs are those of the base, or of the first."""
    if not isinstance(value, list) or not value:
        raise InvalidValue("machine.groups: it must be one or more [[machine.groups]] tables")
    made: list[tuple[CpuGroup, Machine]] = []
    for number, each in enumerate(value):
        where = f"machine.groups.{number}"
        given = read_table(where, each, GROUP_KEYS)
        require(where, given, "count", "like")
        like = _named(f"{where}.like", given["like"], folder)
        if len(like.groups) > 1:
            raise InvalidValue(f"{where}.like: {like.name} has several groups")
        name = given.get("name", like.name)
        group = replace(like.groups[0], name=name, count=given["count"])
        made.append((_with_times(group, _own_costs(given, _BY_THE_SCENARIO), algorithm), like))
    require_distinct("machine.groups", [group.name for group, _ in made])
    if (cpus := sum(group.count for group, _ in made)) > MOST_CPUS:
        raise InvalidValue(f"machine.groups: {cpus:,} CPUs are too many: there may be {MOST_CPUS:,}")
    names = " + ".join(f"{group.count} {like.name}" for group, like in made)
    first = base or made[0][1]
    groups = tuple(group for group, _ in made)
    return Machine(name=names, summary=names, groups=groups, costs=first.costs, contention=first.contention)


def _with_costs(machine: Machine, value: Any, algorithm: str) -> Machine:
    """Put the scenario's own costs in the place of the table's."""
    given = read_table("costs", value, COST_KEYS)
    own = _own_costs(given, given.pop("source", _BY_THE_SCENARIO))
    groups = tuple(_with_times(group, own, algorithm) for group in machine.groups)
    others = {name: cost for name, cost in own.items() if name not in _TIMES}
    return replace(machine, groups=groups, costs=replace(machine.costs, **others))


def _own_costs(given: Mapping[str, Any], source: str) -> dict[str, Cost]:
    """Return the costs among the keys of a table, by their names without the unit."""
    return {key.removesuffix("_us"): Cost(us, "given", source) for key, us in given.items() if key.endswith("_us")}


def _with_times(group: CpuGroup, own: Mapping[str, Cost], algorithm: str) -> CpuGroup:
    """Put what is given for a page in the place of the group's times of the algorithm."""
    compress, decompress = ({algorithm: own[name]} if name in own else {} for name in _TIMES)
    return replace(group, compress={**group.compress, **compress}, decompress={**group.decompress, **decompress})


def require_algorithm(machine: Machine, algorithm: str) -> None:
    """Raise an InvalidValue if some CPU has no times of an algorithm."""
    for group in machine.groups:
        both = sorted(group.compress.keys() & group.decompress.keys())
        if algorithm not in both:
            raise InvalidValue(
                f"algorithm: {machine.name} has no times of {algorithm!r}: there are {', '.join(both)},"
                " or give costs.compress_us and costs.decompress_us"
            )
