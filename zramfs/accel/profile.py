"""Accelerator profiles: TOML files in `profiles/`, each number published (with its source) or assumed (with why)."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib import resources
from typing import Any, Final

from zramfs.errors import InvalidValue

NO_ACCELERATOR: Final = "none"

_BASES: Final = ("published", "assumed", "given")


@dataclass(frozen=True, slots=True)
class _Limits:
    unit: str
    least: int
    most: int


_SETTINGS: Final[Mapping[str, _Limits]] = {
    "queue_depth": _Limits("descriptors, one page each", 1, 4096),
    "engines": _Limits("that work at the same time, 0 = one for each CPU but one", 0, 64),
    "polled_run_pages": _Limits("pages: a run up to this long is complete at submission", 0, 256),
}


@dataclass(frozen=True, slots=True)
class Setting:
    """One number of a profile. `basis` is published, assumed, or given (by the user); `source` says by whom or why."""

    value: int
    basis: str
    source: str


@dataclass(frozen=True, slots=True)
class Profile:
    """What an accelerator is like: a name, a line about it, and its settings by name."""

    name: str
    summary: str
    settings: Mapping[str, Setting]

    @property
    def queue_depth(self) -> int:
        """Descriptors that may be in flight, one page each."""
        return self.settings["queue_depth"].value

    @property
    def engines(self) -> int:
        """Engines that work in parallel; 0 means one for each CPU."""
        return self.settings["engines"].value

    @property
    def polled_run_pages(self) -> int:
        """The longest run, in pages, that is complete at submission."""
        return self.settings["polled_run_pages"].value

    def with_setting(self, key: str, text: str) -> "Profile":
        """Return this profile with one number given by the user; InvalidValue if it is not one of ours."""
        setting = _checked(
            self.name,
            key,
            {"value": _integer(self.name, key, text), "basis": "given", "source": "by the user"},
        )
        return replace(self, settings={**self.settings, key: setting})


def setting_unit(key: str) -> str:
    """What the number of this setting counts."""
    return _SETTINGS[key].unit


def profile_names() -> list[str]:
    """The names of the profiles in the package, sorted."""
    return sorted(
        entry.name.removesuffix(".toml")
        for entry in resources.files(__package__).joinpath("profiles").iterdir()
        if entry.name.endswith(".toml")
    )


def load_profile(name: str) -> Profile:
    """Load a profile of the package by its name; InvalidValue if there is none, or it is not well-formed."""
    if name not in profile_names():
        raise InvalidValue(f"no accelerator profile {name!r}: there are {', '.join(profile_names())}, and none")
    text = resources.files(__package__).joinpath("profiles", f"{name}.toml").read_text()
    return parse_profile(name, text)


def parse_profile(name: str, text: str) -> Profile:
    """Read a profile's TOML; InvalidValue names what is missing or wrong."""
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise InvalidValue(f"profile {name}: {error}") from error
    summary = str(table.pop("summary", ""))
    settings = {key: _checked(name, key, entry) for key, entry in table.items()}
    missing = sorted(_SETTINGS.keys() - settings.keys())
    if missing:
        raise InvalidValue(f"profile {name}: {', '.join(missing)} missing")
    return Profile(name, summary, settings)


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


def _integer(name: str, key: str, text: str) -> int:
    if not text.isascii() or not text.isdigit():
        raise InvalidValue(f"profile {name}: {key}={text} is not a whole number")
    return int(text)


def _checked(name: str, key: str, entry: Any) -> Setting:
    limits = _SETTINGS.get(key)
    if limits is None:
        raise InvalidValue(f"profile {name} has no setting {key!r}: there are {', '.join(_SETTINGS)}")
    value, basis, source = (
        (entry.get(field) for field in ("value", "basis", "source")) if isinstance(entry, dict) else (None,) * 3
    )
    if not isinstance(value, int) or not limits.least <= value <= limits.most:
        raise InvalidValue(f"profile {name}: {key} must be {limits.least} to {limits.most}, not {value}")
    if basis not in _BASES or not source:
        raise InvalidValue(f"profile {name}: {key} must be published or assumed, and say by whom or why")
    return Setting(value, basis, source)
