"""What can be set of an accelerator: each setting with its unit, its limits, and when it may change."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from zramfs.accel.faults import FAULT_KINDS, FaultRate, parse_fault_rate
from zramfs.errors import InvalidValue

Value = int | str | FaultRate

_SECOND_NS: Final = 1_000_000_000
_MINUTE_US: Final = 60_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Description(ABC):
    """What a setting is. `is_of_device`: a profile states it; otherwise it has a `default`, and the user chooses.

    `is_fixed` once the device is set up.
    """

    unit: str
    is_of_device: bool = False
    is_fixed: bool = False
    default: Value = 0

    @abstractmethod
    def parse(self, text: str) -> Value:
        """Read the value as a user gives it; InvalidValue says what it must be."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Number(Description):
    """A whole number within limits."""

    least: int
    most: int

    def parse(self, text: str) -> int:
        """Read decimal digits."""
        if not text.isascii() or not text.isdigit():
            raise InvalidValue(f"{text!r} is not a whole number")
        value = int(text) if len(text) < 20 else self.most + 1
        if not self.least <= value <= self.most:
            raise InvalidValue(f"it must be {self.least} to {self.most}, not {text}")
        return value


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice(Description):
    """One of several words."""

    words: tuple[str, ...]

    def parse(self, text: str) -> str:
        """Take a word as it is."""
        if text not in self.words:
            raise InvalidValue(f"it must be {' or '.join(self.words)}, not {text!r}")
        return text


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate(Description):
    """How often a fault happens."""

    def parse(self, text: str) -> FaultRate:
        """Read 1/N, a probability, or 0."""
        return parse_fault_rate(text)


def _of_device(unit: str, least: int, most: int, *, is_fixed: bool = False) -> Number:
    return Number(unit=unit, least=least, most=most, is_of_device=True, is_fixed=is_fixed)


SETTINGS: Final[Mapping[str, Description]] = {
    "queue_depth": _of_device("descriptors, one page each", 1, 4096, is_fixed=True),
    "engines": _of_device(
        "that work at the same time; 0: a thread for each CPU but one, and no time", 0, 64, is_fixed=True
    ),
    "polled_run_pages": _of_device("pages: for runs up to this long the submitter polls, 0: for none", 0, 256),
    "batch_max_pages": _of_device("pages that an engine takes as one job", 1, 4096),
    "submit_ns": _of_device("ns of the submitter's CPU for a run", 0, _SECOND_NS // 1000),
    "job_ns": _of_device("ns of an engine for a job", 0, _SECOND_NS),
    "page_ns": _of_device("ns of an engine for each page of a job", 0, _SECOND_NS),
    "coalesce_runs": _of_device("finished runs that raise an interrupt", 1, 4096),
    "coalesce_us": _of_device("µs after the first finished run that raise one, too", 0, 1_000_000),
    "interrupt_ns": _of_device("ns from raising an interrupt to its handler", 0, _SECOND_NS // 1000),
    "timeout_us": _of_device("µs that the driver waits for a run", 1000, _MINUTE_US),
    "verify_compress": _of_device("1: compare output with input where it may be corrupt, 0: trust it", 0, 1),
    "when_full": Choice(
        unit="what a caller does who finds no descriptor", words=("fallback", "wait"), default="fallback"
    ),
    "stall_us": Number(unit="µs that a stall lasts", least=1, most=_MINUTE_US, default=10_000),
    **{
        f"fault_{kind}": Rate(unit="1/N descriptors, a probability, 0: never", default=FaultRate())
        for kind in FAULT_KINDS
    },
}
"""By name, in the order in which they are shown."""
