"""Faults of the emulated device: which kind, how often, and which descriptor is next."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from random import Random
from typing import Final

from zramfs.errors import InvalidValue

FAULT_KINDS: Final = ("timeout", "bus_error", "corrupt", "stall")
"""A descriptor that never completes, one that fails, one whose output is wrong; and a device that stands still."""

STALL: Final = -1
"""The key of a stall in a plan."""

_EVERY: Final = re.compile(r"1/([1-9][0-9]{0,17})")
_PROBABILITY: Final = re.compile(r"(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]{1,3})?")
_NEVER: Final = 1 << 62


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


class _Countdown:
    """Descriptors until the next fault of one kind."""

    def __init__(self, rate: FaultRate, random: Random) -> None:
        self._rate = rate
        self._random = random
        self._left = self._draw()

    def _draw(self) -> int:
        """The distance to the next one, 1 or more; with a probability it is distributed geometrically."""
        if self._rate.every:
            return self._rate.every
        if self._rate.probability >= 1.0:
            return 1
        if self._rate.probability == 0.0:
            return _NEVER
        distance = math.log(1.0 - self._random.random()) / math.log1p(-self._rate.probability)
        return 1 + int(min(_NEVER, distance))

    def hits(self, descriptors: int) -> list[int]:
        """Return which of the next so many descriptors are hit, counted from 0."""
        found = []
        at = self._left
        while at <= descriptors:
            found.append(at - 1)
            at += self._draw()
        self._left = at - descriptors
        return found


class FaultInjector:
    """Decides for each descriptor that is submitted what happens to it, and counts what it decided."""

    def __init__(self, rates: Mapping[str, FaultRate] | None = None, random: Random | None = None) -> None:
        self._random = random or Random()  # noqa: S311 - faults, no secrets
        self.rates = {kind: FaultRate() for kind in FAULT_KINDS}
        self.injected = dict.fromkeys(FAULT_KINDS, 0)
        self._countdowns: dict[str, _Countdown] = {}
        for kind, rate in (rates or {}).items():
            self.set_rate(kind, rate)

    def set_rate(self, kind: str, rate: FaultRate) -> None:
        """Let a kind happen so often from the next descriptor on; the count of what happened goes on."""
        self.rates[kind] = rate
        countdowns = {**self._countdowns, kind: _Countdown(rate, self._random)}
        self._countdowns = {kind: countdowns[kind] for kind in FAULT_KINDS if self.rates[kind]}

    def __bool__(self) -> bool:
        return bool(self._countdowns)

    @property
    def may_hang(self) -> bool:
        """Whether a run may take longer than the device's own time, up to the driver's timeout."""
        return "timeout" in self._countdowns or "stall" in self._countdowns

    def plan(self, descriptors: int) -> dict[int, str]:
        """Return what happens to the next descriptors, by number from 0; of two faults the first kind in the list.

        A stall happens to the whole device, whatever else happens to the descriptor: its key is `STALL`.
        """
        plan: dict[int, str] = {}
        for kind, countdown in self._countdowns.items():
            hits = countdown.hits(descriptors)
            for descriptor in [STALL] if kind == "stall" and hits else hits:
                if descriptor not in plan:
                    plan[descriptor] = kind
                    self.injected[kind] += 1
        return plan

    def __repr__(self) -> str:
        return f"<FaultInjector {', '.join(f'{kind} {self.rates[kind]}' for kind in self._countdowns) or 'none'}>"
