# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""Draws the faults of the emulated device at the rates of `faults`: which descriptor is next. It has no lock."""

import math
import os

from libc.math cimport log
from libc.stdint cimport int64_t, uint8_t, uint64_t
from libc.stdlib cimport calloc, free

from zramfs.accel.descriptor cimport FAULT_BUS_ERROR, FAULT_CORRUPT, FAULT_STALL, FAULT_TIMEOUT, NO_FAULT
from zramfs.atomic cimport peek_u64, poke_u64

from zramfs.accel import faults

cdef extern from "<stdint.h>" nogil:
    const int64_t NEVER "(INT64_MAX / 2)"

_NUMBER_OF_KIND = {
    "timeout": FAULT_TIMEOUT,
    "bus_error": FAULT_BUS_ERROR,
    "corrupt": FAULT_CORRUPT,
    "stall": FAULT_STALL,
}
_KIND_OF_NUMBER = {number: kind for kind, number in _NUMBER_OF_KIND.items()}


cdef int number_of_kind(kind) except -1:
    return _NUMBER_OF_KIND[kind]


cdef Countdown countdown_of(rate):
    """What to draw by for a FaultRate."""
    if rate.every:
        return Countdown(every=rate.every, log_of_none=0.0, left=0)
    if rate.probability >= 1.0:
        return Countdown(every=1, log_of_none=0.0, left=0)
    return Countdown(every=0, log_of_none=math.log1p(-rate.probability), left=0)


cdef class FaultInjector:
    """Decides for each descriptor that is submitted what happens to it, and counts what it decided."""

    def __init__(self, rates=None, seed=None):
        self.rates = {kind: faults.FaultRate() for kind in faults.FAULT_KINDS}
        self.random = (seed or int.from_bytes(os.urandom(8), "little")) or 1  # of 0 nothing but 0 would follow
        for kind, rate in (rates or {}).items():
            self.set_rate(kind, rate)

    def set_rate(self, kind, rate):
        """Let a kind happen so often from the next descriptor on; the count of what happened goes on."""
        self.rates[kind] = rate
        self.set_countdown(_NUMBER_OF_KIND[kind], countdown_of(rate))

    cdef void set_countdown(self, int kind, Countdown countdown) noexcept nogil:
        cdef int each
        countdown.left = self._distance(&countdown)
        self.countdowns[kind] = countdown
        self.is_active = False
        for each in range(FAULT_TIMEOUT, FAULT_COUNT):
            self.is_active |= is_set(&self.countdowns[each])
        self.hangs = is_set(&self.countdowns[FAULT_TIMEOUT]) or is_set(&self.countdowns[FAULT_STALL])

    cdef bint draw(self, int descriptors, uint8_t *plan) noexcept nogil:
        """Decide what happens to the next descriptors, into `plan`: of two faults the first kind in the list.

        True if the device stalls, which happens to it as a whole, once, whatever else happens to the descriptors.
        """
        cdef Countdown *countdown
        cdef bint stalls = False
        cdef int64_t at
        cdef int kind
        for at in range(descriptors):
            plan[at] = NO_FAULT
        for kind in range(FAULT_TIMEOUT, FAULT_COUNT):
            countdown = &self.countdowns[kind]
            if not is_set(countdown):
                continue
            at = countdown.left
            while at <= descriptors:
                if kind == FAULT_STALL:
                    stalls = True
                elif plan[at - 1] == NO_FAULT:
                    plan[at - 1] = <uint8_t>kind
                    poke_u64(&self.counts[kind], self.counts[kind] + 1)
                at += self._distance(countdown)
            countdown.left = at - descriptors
        if stalls:
            poke_u64(&self.counts[FAULT_STALL], self.counts[FAULT_STALL] + 1)
        return stalls

    cdef int64_t _distance(self, const Countdown *countdown) noexcept nogil:
        """The distance to the next one, 1 or more; with a probability it is distributed geometrically."""
        cdef double unit, distance
        if countdown.every:
            return countdown.every
        if countdown.log_of_none == 0.0:
            return NEVER
        # xorshift64*; of its product the upper 53 bits are a number from 0 to 1.
        self.random ^= self.random >> 12
        self.random ^= self.random << 25
        self.random ^= self.random >> 27
        unit = ((self.random * <uint64_t>0x2545F4914F6CDD1D) >> 11) / 9007199254740992.0
        distance = log(1.0 - unit) / countdown.log_of_none
        return 1 + <int64_t>distance if distance < NEVER else NEVER

    def __bool__(self):
        return self.is_active

    @property
    def may_hang(self):
        """Whether a run may take longer than the device's own time, up to the driver's timeout; for tests."""
        return self.hangs

    @property
    def injected(self):
        """How often each kind of fault happened."""
        return {kind: peek_u64(&self.counts[<int>number]) for kind, number in _NUMBER_OF_KIND.items()}

    def plan(self, int descriptors):
        """What happens to the next descriptors, by number from 0; a stall of the device has the key `faults.STALL`."""
        cdef uint8_t *plan = <uint8_t *>calloc(descriptors, 1)
        cdef int i
        if plan == NULL:
            raise MemoryError
        stalls = self.draw(descriptors, plan)
        hit = {i: _KIND_OF_NUMBER[plan[i]] for i in range(descriptors) if plan[i]}
        free(plan)
        return hit | {faults.STALL: "stall"} if stalls else hit

    def __repr__(self):
        return f"<FaultInjector {', '.join(f'{kind} {rate}' for kind, rate in self.rates.items() if rate) or 'none'}>"


cdef bint is_set(const Countdown *countdown) noexcept nogil:
    return countdown.every or countdown.log_of_none != 0.0
