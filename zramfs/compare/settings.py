"""What is compared: the variations that the user asks for, and the settings that they make together."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from math import prod
from typing import Final

from zramfs.accel.profile import Profile, parse_accelerator
from zramfs.accel.settings import SETTINGS
from zramfs.backends.registry import load_backend
from zramfs.contracts import StreamPolicy
from zramfs.errors import InvalidValue
from zramfs.suggestions import did_you_mean

MOST_SETTINGS: Final = 32
"""Each is a row of the table and a line of the plots, and more than these cannot be told apart."""

_POLICY: Final = "policy"
_ALGORITHM: Final = "algorithm"
_PROFILE: Final = "profile"
_TRANSPORT: Final = "transport"
_POLICIES: Final = tuple(policy.value for policy in StreamPolicy)
_TRANSPORTS: Final = ("auto", "dev", "uring")
_MOUNTS_OWN: Final = (_ALGORITHM, _TRANSPORT)
"""Keys that are options of `zramfs mount`, and no setting of an accelerator."""

_KEYS: Final = (_POLICY, _PROFILE, *_MOUNTS_OWN, *SETTINGS)


@dataclass(frozen=True, slots=True)
class Variation:
    """One thing that varies, and its values in the user's order."""

    key: str
    values: tuple[str, ...]


POLICIES: Final = Variation(_POLICY, ("percpu", "managed", "auto"))
"""What is compared unless the user says otherwise."""


@dataclass(frozen=True, slots=True)
class Setting:
    """One combination: a value for each key that varies, and the rest as `--accel` has it.

    `profile` is what `accelerator` says, as it was when the comparison began; None for no accelerator.
    """

    values: tuple[tuple[str, str], ...]
    accelerator: str
    profile: Profile | None

    @property
    def name(self) -> str:
        """``policy=auto, queue_depth=16``."""
        return ", ".join(f"{key}={value}" for key, value in self.values)

    @property
    def policy(self) -> str:
        """The stream policy."""
        return dict(self.values).get(_POLICY, StreamPolicy.AUTO.value)

    def is_baseline_of(self, other: "Setting") -> bool:
        """Tell whether this is the other setting on per-CPU streams alone."""
        rest, others = ([pair for pair in each.values if pair[0] != _POLICY] for each in (self, other))
        return rest == others and self.policy == StreamPolicy.PERCPU.value != other.policy

    @property
    def mount_options(self) -> list[str]:
        """What `zramfs mount` is given."""
        options = ["--accel", self.accelerator, "--stream-policy", self.policy]
        for key, value in self.values:
            if key in _MOUNTS_OWN:
                options += [f"--{key}", value]
        return options


def parse_variation(text: str) -> Variation:
    """Read ``KEY=VALUE,VALUE…``; InvalidValue says what is wrong."""
    key, equals, listed = text.partition("=")
    values = tuple(listed.split(","))
    if not key or not equals or "" in values:
        raise InvalidValue(f"{text!r} is not KEY=VALUE,VALUE…, such as queue_depth=16,64,256")
    if key not in _KEYS:
        raise InvalidValue(f"{key!r} is nothing that varies: {did_you_mean(key, _KEYS)}")
    if repeated := [value for value, times in Counter(values).items() if times > 1]:
        raise InvalidValue(f"{key} has the value {repeated[0]} twice")
    return Variation(key, values)


def combine(variations: Sequence[Variation], accelerator: str) -> list[Setting]:
    """Return every combination of values, on top of an ``NAME[,key=value…]`` as `--accel` takes it.

    InvalidValue if there are more than `MOST_SETTINGS`, or a mount would refuse one of them.
    """
    keys = [variation.key for variation in variations]
    if repeated := [key for key, times in Counter(keys).items() if times > 1]:
        raise InvalidValue(f"{repeated[0]} is varied twice: give all its values at once")
    count = prod(len(variation.values) for variation in variations)
    if count > MOST_SETTINGS:
        raise InvalidValue(f"{count} settings are too many: {MOST_SETTINGS} can be compared")
    return [
        _checked_setting(tuple(zip(keys, values, strict=True)), accelerator)
        for values in product(*(variation.values for variation in variations))
    ]


def _checked_setting(values: tuple[tuple[str, str], ...], accelerator: str) -> Setting:
    """Check what can be checked before the first mount: a refusal after minutes of measuring would waste them."""
    for key, value in values:
        if key == _POLICY and value not in _POLICIES:
            raise InvalidValue(f"no stream policy {value!r}: {did_you_mean(value, _POLICIES)}")
        if key == _TRANSPORT and value not in _TRANSPORTS:
            raise InvalidValue(f"no transport {value!r}: {did_you_mean(value, _TRANSPORTS)}")
        if key == _ALGORITHM:
            load_backend(value)
    varied = _vary_accelerator(accelerator, values)
    return Setting(values, varied, parse_accelerator(varied))


def _vary_accelerator(accelerator: str, values: tuple[tuple[str, str], ...]) -> str:
    """Put another profile in the base's place, and other values after its own: the last one counts."""
    profile, comma, assignments = accelerator.partition(",")
    profile = dict(values).get(_PROFILE, profile)
    own = [f"{key}={value}" for key, value in values if key not in (_POLICY, _PROFILE, *_MOUNTS_OWN)]
    return ",".join([f"{profile}{comma}{assignments}", *own])
