"""The numbers of profiles, each with its basis and source, for reports and for JSON."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from zramfs.accel.profile import Profile
from zramfs.accel.profile import Setting as Number
from zramfs.accel.settings import SETTINGS

_GIVEN: Final = "given"


@dataclass(frozen=True, slots=True)
class DeviceFact:
    """A number of a profile: `values` has several where it differs between them."""

    key: str
    values: str
    unit: str
    basis: str
    source: str


@dataclass(frozen=True, slots=True)
class DeviceFacts:
    """A profile: its name, what it is, and all of its numbers."""

    name: str
    summary: str
    facts: list[DeviceFact]


def facts_of(profiles: Iterable[Profile]) -> list[DeviceFacts]:
    """Return each profile once, by its name; what differs between those of one name is told as varied."""
    named: dict[str, list[Profile]] = {}
    for profile in profiles:
        named.setdefault(profile.name, []).append(profile)
    return [DeviceFacts(name, same[0].summary, list(_facts(same))) for name, same in named.items()]


def _facts(same: Sequence[Profile]) -> Iterator[DeviceFact]:
    for key, description in SETTINGS.items():
        numbers: list[Number] = list(dict.fromkeys(profile.settings[key] for profile in same))
        values = " · ".join(str(number.value) for number in numbers)
        basis, source = numbers[0].basis, numbers[0].source
        if len(numbers) > 1:
            basis, source = _GIVEN, "by the user: it is varied"
        yield DeviceFact(key, values, description.unit, basis, source)


def profile_as_json(profile: Profile | None) -> dict[str, Any] | None:
    """Return a profile's numbers with basis and source, as `zramfs accel show --json` has them."""
    if profile is None:
        return None
    numbers = {
        key: {
            "value": each.value if isinstance(each.value, int) else str(each.value),
            "basis": each.basis,
            "source": each.source,
        }
        for key, each in profile.settings.items()
    }
    return {"name": profile.name, "summary": profile.summary, "settings": numbers}
