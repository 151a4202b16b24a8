"""CPUs are kept awake while somebody asks for it, by threads that leave them to everybody else."""

import os
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from zramfs.receive.awake import Awake

PATIENCE_S = 10.0


def wait_until(is_so: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + PATIENCE_S
    while not is_so() and time.monotonic() < deadline:
        time.sleep(0.001)
    return is_so()


@pytest.fixture
def cpu() -> int:
    return min(os.sched_getaffinity(0))


@pytest.fixture
def awake(cpu: int) -> Iterator[Awake]:
    awake = Awake([cpu])
    assert wait_until(lambda: not awake.is_burning(cpu))
    yield awake
    awake.close()


def threads_of(awake: Awake) -> list[int]:
    del awake
    return [thread.native_id or 0 for thread in threading.enumerate() if thread.name.startswith("awake-")]


def test_a_cpu_is_kept_awake_for_the_time_that_was_asked_for(awake: Awake, cpu: int) -> None:
    awake.keep_awake(cpu, 200_000)
    assert awake.is_burning(cpu)
    assert wait_until(lambda: not awake.is_burning(cpu))


def test_a_cpu_that_nobody_asks_for_costs_nothing(awake: Awake, cpu: int) -> None:
    (thread,) = threads_of(awake)
    clock = time.pthread_getcpuclockid(threading.enumerate()[-1].ident or 0)
    before_s = time.clock_gettime(clock)
    time.sleep(0.2)
    assert thread
    assert not awake.is_burning(cpu)
    assert time.clock_gettime(clock) - before_s < 0.001


def test_its_thread_has_the_lowest_priority_and_its_cpu(awake: Awake, cpu: int) -> None:
    (thread,) = threads_of(awake)
    assert os.sched_getscheduler(thread) == os.SCHED_IDLE
    assert os.sched_getaffinity(thread) == {cpu}


def test_its_threads_end_with_it(cpu: int) -> None:
    awake = Awake([cpu])
    awake.keep_awake(cpu, 10_000_000)
    awake.close()
    assert threads_of(awake) == []
