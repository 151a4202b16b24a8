"""Faults of the emulated device: which kinds there are, and how often each happens. `injector` draws them."""

import math
import re
from dataclasses import dataclass
from typing import Final

from zramfs.errors import InvalidValue

FAULT_KINDS: Final = ("timeout", "bus_error", "corrupt", "stall")
"""A descriptor that never completes, one that fails, one whose output is wrong; and a device that stands still."""

STALL: Final = -1
"""The key of a stall in a plan."""

_EVERY: Final = re.compile(r"1/([1-9][0-9]{0,17})")
_PROBABILITY: Final = re.compile(r"(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]{1,3})?")


@dataclass(frozen=True, slots=True)
class FaultRate:
    """How often a fault happens: at every n-th descriptor, or at each with a probability; neither: never."""

    every: int = 0
    probability: float = 0.0

    def __str__(self) -> str:
        return f"1/{self.every}" if self.every else f"{self.probability:g}"

    def __bool__(self) -> bool:
        return bool(self.every or self.probability)


def parse_fault_rate(text: str) -> FaultRate:
    """Read ``1/1000`` (every thousandth descriptor), ``0.001`` (each with this probability) or ``0`` (never)."""
    every = _EVERY.fullmatch(text)
    if every is not None:
        return FaultRate(every=int(every[1]))
    probability = float(text) if _PROBABILITY.fullmatch(text) else math.inf
    if probability > 1.0:
        raise InvalidValue(f"{text!r} is no fault rate: give 1/N for every N-th descriptor, a probability, or 0")
    return FaultRate(probability=probability)
