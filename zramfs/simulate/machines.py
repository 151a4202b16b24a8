"""Machines: TOML tables of what software costs on their CPUs, each number with its basis and source.

Those of the package are in `machines/`; `calibrate` writes another for the machine that it runs on.
"""

import tomllib
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any, Final

from zramfs.errors import InvalidValue
from zramfs.simulate.fields import read_table, real, require, text, whole
from zramfs.simulate.keys import CONTENTION_KEYS, MOST_CPUS
from zramfs.simulate.scenario import Contention, Cost, Costs, CpuGroup, Machine
from zramfs.suggestions import did_you_mean

_BASES: Final = ("published", "measured", "assumed")
_COSTS: Final = ("request", "page", "wake", "completion")
_FURTHER_COSTS: Final = ("halt", "receive", "copy", "pin", "cold", "fetch", "ipi", "timer", "loop", "apart")
"""Those that a table need not have."""


def machine_names() -> list[str]:
    """The names of the machines in the package, sorted."""
    entries = resources.files("zramfs.simulate").joinpath("machines").iterdir()
    return sorted(entry.name.removesuffix(".toml") for entry in entries if entry.name.endswith(".toml"))


def load_machine(name: str, folder: Path) -> Machine:
    """Load a machine of the package by its name, or of a TOML file by its path, which may be relative to a folder.

    InvalidValue if there is none, or it is not well-formed.
    """
    if "/" in name or name.endswith(".toml"):
        return parse_machine(Path(name).name.removesuffix(".toml"), read_text(folder / name))
    if name not in (names := machine_names()):
        raise InvalidValue(f"no machine {name!r}: {did_you_mean(name, names)}, or give a path to a .toml")
    entry = resources.files("zramfs.simulate").joinpath("machines", f"{name}.toml")
    return parse_machine(name, entry.read_text())


def read_text(path: Path) -> str:
    """Read a file; InvalidValue says why it cannot be."""
    try:
        return path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text"
        raise InvalidValue(f"{path} cannot be read: {reason}") from error


def parse_toml(content: str) -> dict[str, Any]:
    """Read TOML; InvalidValue says where it is none."""
    try:
        return tomllib.loads(content)
    except tomllib.TOMLDecodeError as error:
        raise InvalidValue(str(error)) from error
    except RecursionError as error:
        raise InvalidValue("its tables or lists are nested too deeply") from error


def parse_machine(name: str, content: str) -> Machine:
    """Read a machine's TOML; InvalidValue names what is missing or wrong."""
    where = f"machine {name}"
    try:
        table = parse_toml(content)
    except InvalidValue as error:
        raise InvalidValue(f"{where}: {error}") from error
    given = read_table(where, table, {"summary": text, "groups": _any, "costs": _any, "contention": _any})
    require(where, given, "summary", "groups", "costs")
    groups = given["groups"]
    if not isinstance(groups, list) or not groups:
        raise InvalidValue(f"{where}: groups must be one or more [[groups]] tables")
    return Machine(
        name=name,
        summary=given["summary"],
        groups=tuple(_read_group(f"{where}: groups.{number}", each) for number, each in enumerate(groups)),
        costs=_read_costs(f"{where}: costs", given["costs"]),
        contention=_read_contention(f"{where}: contention", given["contention"]) if "contention" in given else None,
    )


def _any(value: Any) -> Any:
    return value


def _read_group(where: str, value: Any) -> CpuGroup:
    given = read_table(where, value, {"name": text, "count": whole(1, MOST_CPUS), "compress": _any, "decompress": _any})
    require(where, given, "name", "count", "compress", "decompress")
    return CpuGroup(
        name=given["name"],
        count=given["count"],
        compress=_read_algorithms(f"{where}.compress", given["compress"]),
        decompress=_read_algorithms(f"{where}.decompress", given["decompress"]),
    )


def _read_algorithms(where: str, value: Any) -> Mapping[str, Cost]:
    if not isinstance(value, dict) or not value:
        raise InvalidValue(f"{where}: it must have a table for each algorithm")
    return {name: _read_cost(f"{where}.{name}", each, is_positive=True) for name, each in value.items()}


def _read_costs(where: str, value: Any) -> Costs:
    given = read_table(where, value, dict.fromkeys((*_COSTS, *_FURTHER_COSTS), _any))
    require(where, given, *_COSTS)
    return Costs(**{name: _read_cost(f"{where}.{name}", given[name]) for name in given})


def _read_cost(where: str, value: Any, *, is_positive: bool = False) -> Cost:
    given = read_table(where, value, {"us": real(most=1e6, is_positive=is_positive), "basis": text, "source": text})
    require(where, given, "us", "basis", "source")
    _require_basis(where, given["basis"])
    return Cost(given["us"], given["basis"], given["source"])


def _read_contention(where: str, value: Any) -> Contention | None:
    given = read_table(where, value, {**CONTENTION_KEYS, "basis": text, "source": text})
    require(where, given, *CONTENTION_KEYS, "basis", "source")
    _require_basis(where, given["basis"])
    return make_contention(given, given["basis"], given["source"])


def make_contention(given: Mapping[str, Any], basis: str, source: str) -> Contention | None:
    """Make it of a table that was read; None if it slows nothing down."""
    if given["slowdown_percent"] == 0:
        return None
    return Contention(
        slowdown_percent=given["slowdown_percent"],
        share_percent=given["share_percent"],
        lasts_us=given["lasts_ms"] * 1000,
        basis=basis,
        source=source,
    )


def _require_basis(where: str, basis: str) -> None:
    if basis not in _BASES:
        raise InvalidValue(f"{where}.basis: it must be {', '.join(_BASES)}, not {basis!r}")
