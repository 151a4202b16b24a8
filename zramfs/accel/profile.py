"""Accelerator profiles: TOML files, each number published (with its source) or assumed (with why).

Those of the package are in `profiles/`; `settings` says what there is to set.
"""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path
from typing import Any, Final

from zramfs.accel.faults import FAULT_KINDS, FaultRate
from zramfs.accel.settings import SETTINGS, Value
from zramfs.accel.timing import Timing
from zramfs.errors import InvalidValue
from zramfs.suggestions import did_you_mean

NO_ACCELERATOR: Final = "none"

_BASES: Final = ("published", "assumed")
_FIELDS: Final = ("value", "basis", "source")
_PLAIN: Final = "a plain number in its file, without a source"
_OF_DEVICE: Final = tuple(key for key, description in SETTINGS.items() if description.is_of_device)
_NS_PER_US: Final = 1000


@dataclass(frozen=True, slots=True)
class Setting:
    """One value of a profile. `basis` is published, assumed, or given (by the user); `source` says by whom or why."""

    value: Value
    basis: str
    source: str


@dataclass(frozen=True, slots=True)
class Profile:
    """What an accelerator is like: a name, a line about it, and its settings by name."""

    name: str
    summary: str
    settings: Mapping[str, Setting]

    def number(self, key: str) -> int:
        """Return the value of a setting that is a number."""
        value = self.settings[key].value
        assert isinstance(value, int)  # noqa: S101 - by the table of settings
        return value

    @property
    def queue_depth(self) -> int:
        """Descriptors that may be in flight, one page each."""
        return self.number("queue_depth")

    @property
    def waits_when_full(self) -> bool:
        """Whether a caller waits for a descriptor instead of falling back to a per-CPU stream."""
        return self.settings["when_full"].value == "wait"

    @property
    def timing(self) -> Timing:
        """What the device costs, for its timeline."""
        return Timing(
            submit_ns=self.number("submit_ns"),
            job_ns=self.number("job_ns"),
            page_ns=self.number("page_ns"),
            engines=max(1, self.number("engines")),
            batch_max_pages=self.number("batch_max_pages"),
            coalesce_runs=self.number("coalesce_runs"),
            coalesce_ns=self.number("coalesce_us") * _NS_PER_US,
            interrupt_ns=self.number("interrupt_ns"),
        )

    @property
    def fault_rates(self) -> Mapping[str, FaultRate]:
        """How often each kind of fault happens."""
        rates = {kind: self.settings[f"fault_{kind}"].value for kind in FAULT_KINDS}
        return {kind: rate for kind, rate in rates.items() if isinstance(rate, FaultRate)}

    def with_setting(self, key: str, text: str) -> "Profile":
        """Return this profile with one value given by the user; InvalidValue if it is not one of ours."""
        description = SETTINGS.get(key)
        if description is None:
            raise InvalidValue(f"accelerator {self.name} has no setting {key!r}: {did_you_mean(key, SETTINGS)}")
        try:
            value = description.parse(text)
        except InvalidValue as error:
            raise InvalidValue(f"accelerator {self.name}: {key}: {error}") from error
        return replace(self, settings={**self.settings, key: Setting(value, "given", "by the user")})


def profile_names() -> list[str]:
    """The names of the profiles in the package, sorted."""
    return sorted(
        entry.name.removesuffix(".toml")
        for entry in resources.files(__package__).joinpath("profiles").iterdir()
        if entry.name.endswith(".toml")
    )


def load_profile(name: str) -> Profile:
    """Load a profile of the package by its name, or of a TOML file by its path.

    InvalidValue if there is none, or it is not well-formed.
    """
    if "/" in name or name.endswith(".toml"):
        return parse_profile(Path(name).name.removesuffix(".toml"), _read_file(name))
    if name not in profile_names():
        known = did_you_mean(name, [*profile_names(), NO_ACCELERATOR])
        raise InvalidValue(f"no accelerator profile {name!r}: {known}, or give a path to a .toml")
    return parse_profile(name, resources.files(__package__).joinpath("profiles", f"{name}.toml").read_text())


def _read_file(path: str) -> str:
    try:
        return Path(path).read_text()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text"
        raise InvalidValue(f"profile {path} cannot be read: {reason}") from error


def parse_profile(name: str, text: str) -> Profile:
    """Read a profile's TOML; InvalidValue names what is missing or wrong.

    A number is a table with its basis and source, or plain: then it is an assumption without a reason. The summary may
    be left out.
    """
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise InvalidValue(f"profile {name}: {error}") from error
    except RecursionError as error:
        raise InvalidValue(f"profile {name}: its tables or lists are nested too deeply") from error
    summary = table.pop("summary", "a profile without a summary")
    if not isinstance(summary, str):
        raise InvalidValue(f"profile {name}: the summary is not a text, but {summary}")
    given = {key: _checked(name, key, entry) for key, entry in table.items()}
    missing = [key for key in _OF_DEVICE if key not in given]
    if missing:
        raise InvalidValue(f"profile {name}: {', '.join(missing)} missing: a line NAME = NUMBER for each is enough")
    defaults = {
        key: Setting(description.default, "default", "not the device's: chosen for each test")
        for key, description in SETTINGS.items()
        if not description.is_of_device
    }
    return Profile(name, summary, {key: given.get(key) or defaults[key] for key in SETTINGS})


def parse_accelerator(text: str) -> Profile | None:
    """Read ``NAME[,key=value…]`` as given to --accel; None for ``none``; InvalidValue says what is wrong."""
    name, *assignments = text.split(",")
    if name == NO_ACCELERATOR:
        if assignments:
            raise InvalidValue("accelerator none has no settings")
        return None
    profile = load_profile(name)
    for assignment in assignments:
        key, equals, value = assignment.partition("=")
        if not equals:
            raise InvalidValue(f"accelerator setting {assignment!r} is not key=value")
        profile = profile.with_setting(key, value)
    return profile


def _checked(name: str, key: str, entry: Any) -> Setting:
    if key not in _OF_DEVICE:
        raise InvalidValue(f"profile {name} has no setting {key!r}: {did_you_mean(key, _OF_DEVICE)}")
    if not isinstance(entry, dict):
        entry = {"value": entry, "basis": "assumed", "source": _PLAIN}
    _check_fields(name, key, entry)
    value, basis, source = (entry.get(field) for field in _FIELDS)
    if not isinstance(value, int) or isinstance(value, bool):
        raise InvalidValue(f"profile {name}: {key} is not a whole number, but {value}")
    if basis not in _BASES or not source or not isinstance(source, str):
        raise InvalidValue(f"profile {name}: {key} must be published or assumed, and say by whom or why")
    try:
        return Setting(SETTINGS[key].parse(str(value)), basis, source)
    except InvalidValue as error:
        raise InvalidValue(f"profile {name}: {key}: {error}") from error


def _check_fields(name: str, key: str, entry: Mapping[str, Any]) -> None:
    """Refuse a table without a value, and one with more than it may have: TOML takes a line below it for its own."""
    unknown = next((field for field in entry if field not in _FIELDS), None)
    if unknown in _OF_DEVICE:
        raise InvalidValue(f"profile {name}: {unknown} is in the table [{key}]: plain numbers stand above all tables")
    if unknown is not None:
        raise InvalidValue(f"profile {name}: [{key}] has no {unknown!r}: {did_you_mean(unknown, _FIELDS)}")
    if "value" not in entry:
        raise InvalidValue(f"profile {name}: {key} is not a whole number: its table has no value")
