"""A device's queue of jobs: which are taken next, and when it tells of the runs that are done."""

import select
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zramfs.accel.contexts import ContextPool
from zramfs.accel.ring import DescriptorRing
from zramfs.codec.lz4 import Lz4Codec
from zramfs.codec.run import make_runs

DEPTH: Final = 16
AT_ONCE, POLLED = 0, -1
PAST_NS, NEVER_NS = 1, (1 << 63) - 1
GONE: Final = -5

Queue = Callable[..., int]


@pytest.fixture
def jobs() -> Iterator[DescriptorRing]:
    """A queue that no engine works off."""
    ring = DescriptorRing(DEPTH, ContextPool([Lz4Codec()]), [])
    yield ring
    ring.close()


@pytest.fixture
def queue(doors: Any, jobs: DescriptorRing) -> Queue:
    runs = make_runs(DEPTH, DEPTH)

    def queue_run(number: int, pages: int = 1, wanted_ns: int = AT_ONCE) -> int:
        engines: int = doors.queue(jobs, number, runs[number], bytes(range(pages)), wanted_ns)
        return engines

    return queue_run


def is_signalled(jobs: DescriptorRing) -> bool:
    return bool(select.select([jobs.fd], [], [], 0)[0])


# ---- what is taken --------------------------------------------------------------------------------------------------


def test_engine_takes_eight_at_a_time_in_their_order(doors: Any, jobs: DescriptorRing, queue: Queue) -> None:
    queue(3, 5)
    queue(1, 5)
    assert doors.take_first(jobs) == [(3, 0), (3, 1), (3, 2), (3, 3), (3, 4), (1, 0), (1, 1), (1, 2)]
    assert doors.take_first(jobs) == [(1, 3), (1, 4)]
    assert doors.take_first(jobs) == []


def test_whoever_lends_a_hand_takes_two_from_the_end(doors: Any, jobs: DescriptorRing, queue: Queue) -> None:
    queue(0, 5)
    assert doors.take_last(jobs) == [(0, 4), (0, 3)]
    assert doors.take_first(jobs) == [(0, 0), (0, 1), (0, 2)]
    assert doors.take_last(jobs) == []


def test_engines_take_few_while_somebody_polls_so_that_all_end_together(
    doors: Any, jobs: DescriptorRing, queue: Queue
) -> None:
    queue(0, 3, POLLED)
    queue(1, 8)
    assert len(doors.take_first(jobs)) == 2
    doors.finish(jobs, 0, 0, 0)
    assert len(doors.take_first(jobs)) == 8


@given(st.lists(st.sampled_from(["first", "last"]) | st.integers(1, 6), max_size=60))
def test_jobs_are_taken_from_both_ends_and_each_once(doors: Any, steps: list[str | int]) -> None:
    jobs, runs = DescriptorRing(DEPTH, ContextPool([Lz4Codec()]), []), make_runs(DEPTH, DEPTH)
    expected: deque[tuple[int, int]] = deque()
    for step in steps:
        if step == "first":
            count = min(8, len(expected))
            assert doors.take_first(jobs) == [expected.popleft() for _ in range(count)]
        elif step == "last":
            count = min(2, len(expected))
            assert doors.take_last(jobs) == [expected.pop() for _ in range(count)]
        elif isinstance(step, int) and len(expected) + step <= DEPTH:
            doors.queue(jobs, step, runs[step], bytes(range(step)), NEVER_NS)
            expected.extend((step, mark) for mark in range(step))
    assert repr(jobs) == f"<DescriptorRing of {DEPTH}, {len(expected)} queued, 0 engines>"
    jobs.close()


@pytest.mark.parametrize(
    ("pages", "idle", "woken"), [(1, 3, 1), (8, 3, 1), (9, 3, 2), (16, 3, 2), (16, 1, 1), (5, 0, 0)]
)
def test_as_many_idle_engines_are_woken_as_have_something_to_take(
    doors: Any, jobs: DescriptorRing, queue: Queue, pages: int, idle: int, woken: int
) -> None:
    doors.let_engines_idle(jobs, idle)
    assert queue(0, pages) == woken
    doors.let_engines_idle(jobs, 0)


# ---- what is told ---------------------------------------------------------------------------------------------------


def test_run_is_finished_with_its_last_page(doors: Any, jobs: DescriptorRing, queue: Queue) -> None:
    queue(7, 3)
    doors.finish(jobs, 7, 7)
    assert (doors.reap_jobs(jobs), is_signalled(jobs)) == ([], False)
    doors.finish(jobs, 7)
    assert is_signalled(jobs)
    assert doors.reap_jobs(jobs) == [7]
    assert doors.reap_jobs(jobs) == []


def test_interrupt_is_over_when_runs_were_reaped(doors: Any, jobs: DescriptorRing, queue: Queue) -> None:
    for number in (1, 2):
        queue(number)
        doors.finish(jobs, number)
        assert doors.reap_jobs(jobs) == [number]
        assert not is_signalled(jobs)
    assert jobs.counters() == {"doorbells": 2, "interrupts": 2}


def test_finished_runs_wait_for_a_few_more_while_others_are_worked_on(
    doors: Any, jobs: DescriptorRing, queue: Queue
) -> None:
    for number in range(6):
        queue(number)
    told = []
    for number in range(6):
        doors.finish(jobs, number)
        told.append(is_signalled(jobs))
    assert told == [False, False, False, True, True, True]
    assert doors.reap_jobs(jobs) == list(range(6))


def test_last_run_waits_for_nothing(doors: Any, jobs: DescriptorRing, queue: Queue) -> None:
    queue(0)
    queue(1)
    doors.finish(jobs, 1)
    assert not is_signalled(jobs)
    doors.finish(jobs, 0)
    assert is_signalled(jobs)
    assert doors.reap_jobs(jobs) == [1, 0]


def test_polled_run_is_told_of_to_nobody(doors: Any, jobs: DescriptorRing, queue: Queue) -> None:
    queue(0, 2, POLLED)
    queue(1)
    doors.finish(jobs, 0, 0)
    assert (doors.reap_jobs(jobs), is_signalled(jobs)) == ([], False)
    doors.finish(jobs, 1)
    assert is_signalled(jobs)  # as the last one
    assert doors.reap_jobs(jobs) == [1]


@pytest.mark.parametrize(("wanted_ns", "is_told"), [(NEVER_NS, False), (PAST_NS, True)])
def test_run_that_is_wanted_later_interrupts_only_behind_its_time(
    doors: Any, jobs: DescriptorRing, queue: Queue, wanted_ns: int, *, is_told: bool
) -> None:
    queue(0, wanted_ns=wanted_ns)
    queue(1, wanted_ns=NEVER_NS)
    doors.finish(jobs, 0)
    assert is_signalled(jobs) is is_told
    assert doors.reap_jobs(jobs) == [0]


def test_run_that_is_to_be_told_of_at_once_interrupts_when_it_ends_or_if_it_has(
    doors: Any, jobs: DescriptorRing, queue: Queue
) -> None:
    for number in (0, 1):
        queue(number, wanted_ns=NEVER_NS)
    doors.finish(jobs, 0)
    doors.tell_at_once(jobs, 1)
    assert not is_signalled(jobs)
    doors.tell_at_once(jobs, 0)
    assert is_signalled(jobs)
    assert doors.reap_jobs(jobs) == [0]
    doors.finish(jobs, 1)
    assert is_signalled(jobs)
    assert doors.reap_jobs(jobs) == [1]


def test_device_that_goes_fails_what_nobody_has_begun_with(doors: Any, jobs: DescriptorRing) -> None:
    runs = make_runs(2, DEPTH)
    for number, run in enumerate(runs):
        doors.queue(jobs, number, run, bytes(5), AT_ONCE)
    assert len(doors.take_first(jobs)) == 8
    doors.drop_queued(jobs, GONE)
    assert doors.statuses(runs[0], 5) == [0] * 5
    assert doors.statuses(runs[1], 5) == [0, 0, 0, GONE, GONE]
    assert doors.reap_jobs(jobs) == []
    doors.finish(jobs, *[0] * 5)
    doors.finish(jobs, *[1] * 3)
    assert doors.reap_jobs(jobs) == [0, 1]


def test_queue_that_is_closed_interrupts_no_more(jobs: DescriptorRing) -> None:
    assert jobs.fd >= 0
    jobs.close()
    assert jobs.fd == -1
