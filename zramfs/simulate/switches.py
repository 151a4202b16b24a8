"""Measures the time to go on after sleep, as a thread and as an event loop, to wake a process, and to set a timer."""

import os
import statistics
import threading
import time
from functools import partial
from time import perf_counter_ns, thread_time_ns
from typing import Final

import trio

from zramfs.accel.timer import EventTimer
from zramfs.simulate.neighbours import busy_neighbours, working_on

_SWITCHES: Final = 2000
_TURNS: Final = 400
_TURN_EVERY_S: Final = 0.0003
"""Longer than a turn takes, so that the loop sleeps before each."""

_CALLS: Final = 2000
_CALL_EVERY_NS: Final = 60_000


def measure_wake_us() -> float:
    """Half of what two threads on one CPU take to wake each other by a pipe, the calls and Python's part included."""
    there, back = os.pipe(), os.pipe()
    cpus = os.sched_getaffinity(0)

    def answer() -> None:
        for _ in range(_SWITCHES):
            os.read(there[0], 1)
            os.write(back[1], b"x")

    other = threading.Thread(target=answer)
    os.sched_setaffinity(0, {min(cpus)})
    try:
        other.start()  # which inherits the CPU
        began_ns = perf_counter_ns()
        for _ in range(_SWITCHES):
            os.write(there[1], b"x")
            os.read(back[0], 1)
        took_ns = perf_counter_ns() - began_ns
        other.join()
    finally:
        os.sched_setaffinity(0, cpus)
        for fd in (*there, *back):
            os.close(fd)
    return took_ns / _SWITCHES / 2 / 1000


def measure_ipi_us() -> float:
    """How much longer a write to an eventfd takes if a process on another, busy CPU waits for it, the median.

    0 with one CPU.
    """
    cpus = sorted(os.sched_getaffinity(0))
    if len(cpus) < 2:
        return 0.0
    awaited, ignored = os.eventfd(0), os.eventfd(0)
    try:
        with working_on({cpus[1]: partial(_read_always, awaited)}), busy_neighbours(cpus[1:2]):
            os.sched_setaffinity(0, cpus[:1])
            return statistics.median(_call_us(awaited) - _call_us(ignored) for _ in range(_CALLS))
    finally:
        os.sched_setaffinity(0, cpus)
        os.close(awaited)
        os.close(ignored)


def _read_always(fd: int) -> None:
    while True:
        os.eventfd_read(fd)


def _call_us(fd: int) -> float:
    ends_ns = perf_counter_ns() + _CALL_EVERY_NS
    while perf_counter_ns() < ends_ns:
        pass
    began_ns = perf_counter_ns()
    os.eventfd_write(fd, 1)
    return (perf_counter_ns() - began_ns) / 1000


def measure_timer_us() -> float:
    """The time to set the timer of a device's event loop, once it has gone off; the median."""
    timer = EventTimer()
    try:
        return statistics.median(_arm_us(timer) for _ in range(_CALLS))
    finally:
        os.close(timer.fd)


def _arm_us(timer: EventTimer) -> float:
    began_ns = time.monotonic_ns()
    timer.arm_at(began_ns + _CALL_EVERY_NS)
    took_ns = time.monotonic_ns() - began_ns
    while time.monotonic_ns() < began_ns + 2 * _CALL_EVERY_NS:
        pass
    return took_ns / 1000


def measure_loop_us() -> float:
    """CPU time that an event loop takes when a file becomes readable that it waits for, until it waits again."""
    fd = os.eventfd(0, os.EFD_NONBLOCK)

    def ring() -> None:
        for _ in range(_TURNS):
            time.sleep(_TURN_EVERY_S)
            os.eventfd_write(fd, 1)

    other = threading.Thread(target=ring)
    try:
        other.start()
        us = trio.run(_turn_us, fd)
        other.join()
    finally:
        os.close(fd)
    return us


async def _turn_us(fd: int) -> float:
    turns, rung = 0, 0
    began_ns = thread_time_ns()
    while rung < _TURNS:
        await trio.lowlevel.wait_readable(fd)
        rung += os.eventfd_read(fd)
        turns += 1
    return (thread_time_ns() - began_ns) / turns / 1000
