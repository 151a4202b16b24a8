"""Makes a Scenario of TOML. What is wrong is one InvalidValue, with the file and the key."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from zramfs.accel.profile import Profile, load_profile
from zramfs.accel.settings import SETTINGS
from zramfs.contracts import StreamPolicy
from zramfs.errors import InvalidValue
from zramfs.simulate.composing import read_machine, require_algorithm
from zramfs.simulate.fields import read_table, require, require_distinct
from zramfs.simulate.keys import (
    DAEMON_KEYS,
    DEVICE_KEYS,
    MOST_DEVICES,
    SCENARIO_KEYS,
    SCHEDULER_KEYS,
    STREAM_KEYS,
)
from zramfs.simulate.load_kinds import Distribution, Load, ReplayLoad
from zramfs.simulate.loads import read_load, require_order
from zramfs.simulate.machines import parse_toml, read_text
from zramfs.simulate.scenario import (
    Daemon,
    Device,
    Machine,
    ManagedKind,
    Rule,
    Scenario,
    Scheduler,
    Streams,
)
from zramfs.simulate.vary import Variation, vary

_US_PER_MS: Final = 1000.0
_REPLAY_TAIL_US: Final = 1000.0
"""How long a replay goes on after its last arrival, unless a duration is given."""

_KEYS_OF_RULE: Final = {
    Rule.FIRST_COME: ("quantum_us", "wakeup_preempts", "migrates"),
    Rule.EEVDF: ("slice_us", "bulk_slice_us", "migration_cost_us", "autogroup"),
}


def load_scenario(path: Path | str, *, seed: int | None = None) -> Scenario:
    """Read a scenario from a file; `seed` takes the place of its own.

    InvalidValue says in one line what is wrong. Paths in it are relative to its folder.
    """
    return load_grid(path, (), seed=seed)[0]


def load_grid(path: Path | str, variations: Sequence[Variation], *, seed: int | None = None) -> list[Scenario]:
    """Likewise, a scenario for each combination of the values that are varied."""
    path = Path(path)
    content = read_text(path)
    try:
        table = parse_toml(content) | ({} if seed is None else {"seed": seed})
        return [read_scenario(path, varied, values) for varied, values in vary(table, variations)]
    except InvalidValue as error:
        raise InvalidValue(f"{path}: {error}") from error
    except RecursionError as error:
        raise InvalidValue(f"{path}: its tables or lists are nested too deeply") from error


def read_scenario(path: Path, table: Mapping[str, Any], varied: tuple[tuple[str, str], ...] = ()) -> Scenario:
    """Make a scenario of a table; InvalidValue begins with the key."""
    given = read_table("", dict(table), SCENARIO_KEYS)
    require("the scenario", given, "machine", "loads")
    algorithm = given.get("algorithm", "lz4")
    machine = read_machine(given["machine"], given.get("costs", {}), given.get("contention"), path.parent, algorithm)
    streams = Streams(**read_table("streams", given.get("streams", {}), STREAM_KEYS))
    devices = _read_devices(given.get("devices", []), path.parent)
    loads = _read_loads(given["loads"], machine, path.parent)
    require_algorithm(machine, algorithm)
    daemon = Daemon(**read_table("daemon", given["daemon"], DAEMON_KEYS)) if "daemon" in given else None
    _require_devices(streams, devices, machine)
    _require_daemon(daemon, streams, devices)
    scheduler = _read_scheduler(given.get("scheduler", {}))
    if scheduler.rule is Rule.EEVDF and any(load.group for load in loads):
        raise InvalidValue('loads.group: with scheduler.rule = "eevdf" tasks may run on all CPUs')
    return Scenario(
        name=path.name.removesuffix(".toml"),
        summary=given.get("summary", ""),
        machine=machine,
        algorithm=algorithm,
        devices=devices,
        streams=streams,
        scheduler=scheduler,
        daemon=daemon,
        loads=loads,
        service=given.get("service", Distribution.FIXED),
        jitter_percent=given.get("jitter_percent", 0.0),
        seed=given.get("seed", 1),
        varied=varied,
        **_read_times(given, loads),
    )


def _read_times(given: Mapping[str, Any], loads: Sequence[Load]) -> dict[str, float]:
    """A replay lasts as long as its recording, everything else a second, unless the scenario says so."""
    warmup_us = given.get("warmup_ms", 0.0) * _US_PER_MS
    ends_us = [load.trace.arrivals_ns[-1] / load.speed / 1000 for load in loads if isinstance(load, ReplayLoad)]
    duration_us = max(ends_us) + _REPLAY_TAIL_US if ends_us else 1_000_000.0
    if "duration_ms" in given:
        duration_us = given["duration_ms"] * _US_PER_MS
    if warmup_us >= duration_us:
        raise InvalidValue(f"warmup_ms: it must be less than the duration, which is {duration_us / _US_PER_MS:g} ms")
    return {"duration_us": duration_us, "warmup_us": warmup_us}


def _read_scheduler(value: Any) -> Scheduler:
    given = read_table("scheduler", value, SCHEDULER_KEYS)
    rule = given.get("rule", Rule.FIRST_COME)
    for key in given:
        if key != "rule" and key not in _KEYS_OF_RULE[rule]:
            other = next(each.value for each in Rule if each is not rule)
            raise InvalidValue(f'scheduler.{key}: it is a setting of rule = "{other}", and this is {rule.value}')
    return Scheduler(**given)


# ---- devices ---------------------------------------------------------------------------------------------------------


def _read_devices(value: Any, folder: Path) -> tuple[Device, ...]:
    if not isinstance(value, list):
        raise InvalidValue("devices: they must be [[devices]] tables")
    devices = [
        device for number, each in enumerate(value) for device in _read_device(f"devices.{number}", each, folder)
    ]
    if len(devices) > MOST_DEVICES:
        raise InvalidValue(f"devices: {len(devices)} are too many: there may be {MOST_DEVICES}")
    require_distinct("devices", [device.name for device in devices])
    return tuple(devices)


def _read_device(where: str, value: Any, folder: Path) -> list[Device]:
    """Make as many devices as `count` says."""
    given = read_table(where, value, DEVICE_KEYS)
    require(where, given, "profile")
    profile = _profile(where, given["profile"], folder)
    for key in SETTINGS:
        if key in given:
            profile = _with_setting(where, profile, key, given[key])
    count = given.get("count", 1)
    name = given.get("name", profile.name)
    return [
        Device(
            name=f"{name}{number}" if count > 1 else name,
            profile=profile,
            offline_us=given.get("offline_ms", ()),
            is_emulated=given.get("emulated", False),
            command_sets=given.get("command_sets", 0),
            completion_cpu=given.get("completion_cpu", -1),
            decompress_page_us=given["decompress_page_ns"] / 1000 if "decompress_page_ns" in given else -1.0,
        )
        for number in range(count)
    ]


def _profile(where: str, name: str, folder: Path) -> Profile:
    is_path = "/" in name or name.endswith(".toml")
    try:
        return load_profile(str(folder / name) if is_path else name)
    except InvalidValue as error:
        raise InvalidValue(f"{where}.profile: {error}") from error


def _with_setting(where: str, profile: Profile, key: str, value: Any) -> Profile:
    if not isinstance(value, int | float | str) or isinstance(value, bool):
        raise InvalidValue(f"{where}.{key}: it must be a number or text, not {value!r}")
    try:
        return profile.with_setting(key, str(value))
    except InvalidValue as error:
        raise InvalidValue(f"{where}.{key}: {str(error).rpartition(f'{key}: ')[2]}") from error


def _require_devices(streams: Streams, devices: Sequence[Device], machine: Machine) -> None:
    for device in devices:
        if device.completion_cpu >= machine.cpus:
            raise InvalidValue(f"devices.completion_cpu: the machine has CPUs 0 to {machine.cpus - 1}")
        if device.command_sets and not device.can_decompress:
            raise InvalidValue("devices.command_sets: they decompress: give decompress_page_ns")
    if streams.policy is StreamPolicy.MANAGED and not devices:
        raise InvalidValue("streams.policy: managed streams need a device: add [[devices]]")
    if streams.device_reads and not any(device.can_decompress for device in devices):
        raise InvalidValue("streams.device_reads: no device decompresses: give one decompress_page_ns")


def _require_daemon(daemon: Daemon | None, streams: Streams, devices: Sequence[Device]) -> None:
    if daemon is None:
        if any(device.is_emulated for device in devices):
            raise InvalidValue(
                "devices.emulated: the engines of an emulated device are a daemon's threads: add [daemon]"
            )
        return
    if any(device.completion_cpu >= 0 for device in devices):
        raise InvalidValue("devices.completion_cpu: with a daemon its receiver completes")
    if devices and streams.managed is ManagedKind.BLOCKING:
        raise InvalidValue('daemon: its receiver waits for no device: say streams.managed = "nonblocking"')


# ---- loads -----------------------------------------------------------------------------------------------------------


def _read_loads(value: Any, machine: Machine, folder: Path) -> tuple[Load, ...]:
    if not isinstance(value, list) or not value:
        raise InvalidValue("loads: they must be one or more [[loads]] tables")
    loads = tuple(read_load(f"loads.{number}", each, machine, folder) for number, each in enumerate(value))
    require_distinct("loads", [load.name for load in loads])
    for number, load in enumerate(loads):
        require_order(f"loads.{number}.after", load, loads)
    return loads
