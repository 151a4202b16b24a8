"""When a driver learns of its runs: at the end of their work, at their time, or because it has waited for too long.

Times are the past or far away: no test waits for one.
"""

import os
import select
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any, Final

import pytest

from zramfs.accel.contexts import ContextPool
from zramfs.accel.ring import DescriptorRing
from zramfs.accel.timing import Timing
from zramfs.accel.watch import RunWatch
from zramfs.codec.lz4 import Lz4Codec
from zramfs.codec.run import make_runs

DEPTH: Final = 8
NEVER_NS: Final = (1 << 63) - 1
DAY_NS: Final = 86_400 * 10**9
SAME_FILLED, TIMED_OUT, BUS_ERROR, GONE = 0, -2, -3, -5
AT_ONCE: Final = Timing(interrupt_ns=0, page_ns=0, coalesce_runs=1)
FAR: Final = Timing(page_ns=DAY_NS)

Watching = Callable[..., RunWatch]


@pytest.fixture
def watching(doors: Any) -> Iterator[Watching]:
    """Make watches over rings that no engine works off."""
    with ExitStack() as stack:

        def make(timing: Timing = AT_ONCE, *, timeout_ns: int = 1000 * DAY_NS) -> RunWatch:
            ring = DescriptorRing(DEPTH, ContextPool([Lz4Codec()]), [])
            watch = RunWatch(ring, make_runs(DEPTH, DEPTH), timing, DEPTH)  # type: ignore[call-arg]
            stack.callback(os.close, watch.timer.fd)
            stack.callback(ring.close)
            doors.wait_for(watch, timeout_ns)
            return watch

        yield make


# ---- runs without time ----------------------------------------------------------------------------------------------


def test_idle_watch_needs_no_attention(doors: Any, watching: Watching) -> None:
    watch = watching()
    assert (doors.needs_attention(watch), doors.next_watched_ns(watch)) == (False, NEVER_NS)
    assert doors.reap_runs(watch) == []


def test_run_without_time_is_told_of_when_its_work_is_done(doors: Any, watching: Watching) -> None:
    watch = watching()
    doors.begin(watch, 3, 4)
    assert (doors.reap_runs(watch), doors.needs_attention(watch)) == ([], False)
    doors.work(watch)
    assert doors.needs_attention(watch)
    assert doors.reap_runs(watch) == [3]
    assert doors.reap_runs(watch) == []
    assert doors.lengths_of(watch, 3) == [SAME_FILLED] * 4


def test_several_that_are_done_are_told_of_together(doors: Any, watching: Watching) -> None:
    watch = watching()
    for number in (5, 2, 7):
        doors.begin(watch, number, 1)
    doors.work(watch)
    assert sorted(doors.reap_runs(watch)) == [2, 5, 7]


# ---- runs with time -------------------------------------------------------------------------------------------------


def test_run_is_not_told_of_before_its_time_though_its_work_is_done(doors: Any, watching: Watching) -> None:
    watch = watching(FAR)
    submitted_ns, ready_ns = doors.begin_modelled(watch, 0, 2)
    assert ready_ns == submitted_ns + 2 * DAY_NS
    doors.work(watch)
    assert doors.reap_runs(watch) == []
    assert doors.next_watched_ns(watch) == ready_ns
    assert not doors.needs_attention(watch)


def test_run_whose_time_has_come_is_not_told_of_before_its_work_is_done(doors: Any, watching: Watching) -> None:
    watch = watching()
    doors.begin_modelled(watch, 0, 2)
    assert doors.needs_attention(watch)
    assert doors.reap_runs(watch) == []
    doors.work(watch)
    assert doors.reap_runs(watch) == [0]
    assert doors.next_watched_ns(watch) == NEVER_NS


def test_timer_goes_off_when_the_time_of_a_run_has_come(doors: Any, watching: Watching) -> None:
    watch = watching()
    doors.begin_modelled(watch, 0, 1)
    assert select.select([watch.timer.fd], [], [], 10)[0]


def test_end_of_work_behind_its_time_is_an_event(doors: Any, watching: Watching) -> None:
    watch = watching()
    doors.begin_modelled(watch, 0, 1, is_inline=True)
    assert doors.reap_runs(watch) == []
    assert doors.next_watched_ns(watch) == NEVER_NS
    doors.finish_inline(watch, 0)
    assert doors.next_watched_ns(watch) == 0
    assert doors.reap_runs(watch) == [0]
    assert doors.next_watched_ns(watch) == NEVER_NS


def test_end_of_work_before_its_time_is_none(doors: Any, watching: Watching) -> None:
    watch = watching(FAR)
    _, ready_ns = doors.begin_modelled(watch, 0, 1, is_inline=True)
    doors.finish_inline(watch, 0)
    assert doors.next_watched_ns(watch) == ready_ns


def test_runs_whose_time_has_come_are_told_of_beside_others(doors: Any, watching: Watching) -> None:
    watch = watching()
    doors.begin_modelled(watch, 0, 1)
    watch.timeline.change_timing(FAR)
    _, ready_ns = doors.begin_modelled(watch, 1, 1)
    watch.timeline.change_timing(AT_ONCE)
    doors.begin_modelled(watch, 2, 1, is_lost=True)
    doors.work(watch)
    assert doors.reap_runs(watch) == [0]
    assert doors.next_watched_ns(watch) <= ready_ns
    assert repr(watch).startswith("<RunWatch 2 held back")


# ---- the driver's patience ------------------------------------------------------------------------------------------


def test_driver_looks_after_the_run_that_it_has_waited_for_longest(doors: Any, watching: Watching) -> None:
    watch = watching(FAR, timeout_ns=DAY_NS // 2)
    first_ns, _ = doors.begin_modelled(watch, 4, 1)
    doors.begin_modelled(watch, 1, 1)
    assert doors.next_watched_ns(watch) == first_ns + DAY_NS // 2


def test_run_that_takes_too_long_is_given_up_with_all_its_pages_but_those_that_failed(
    doors: Any, watching: Watching
) -> None:
    watch = watching(FAR, timeout_ns=0)
    doors.begin_modelled(watch, 0, 3)
    doors.work(watch)
    doors.fail_pages(watch, 0, BUS_ERROR)
    assert doors.reap_runs(watch) == [0]
    assert doors.lengths_of(watch, 0) == [BUS_ERROR, TIMED_OUT, TIMED_OUT]
    assert len(watch.timeline) == 0


def test_lost_run_is_found_by_the_drivers_watch_and_its_other_pages_are_good(doors: Any, watching: Watching) -> None:
    watch = watching(timeout_ns=DAY_NS)
    submitted_ns, _ = doors.begin_modelled(watch, 0, 2, is_lost=True)
    doors.work(watch)
    assert doors.reap_runs(watch) == []
    assert doors.next_watched_ns(watch) == submitted_ns + DAY_NS
    doors.wait_for(watch, 0)
    assert doors.reap_runs(watch) == [0]
    assert doors.lengths_of(watch, 0) == [SAME_FILLED] * 2


def test_run_that_was_given_up_is_told_of_when_its_work_is_done(doors: Any, watching: Watching) -> None:
    watch = watching(FAR, timeout_ns=0)
    _, ready_ns = doors.begin_modelled(watch, 0, 1)
    assert doors.reap_runs(watch) == []
    assert doors.next_watched_ns(watch) == ready_ns  # nobody looks for it again and again until then
    doors.wait_for(watch, 1000 * DAY_NS)  # the watch has gone off
    doors.work(watch)
    assert select.select([watch.ring.fd], [], [], 0)[0]
    assert doors.reap_runs(watch) == [0]
    assert doors.lengths_of(watch, 0) == [TIMED_OUT]


# ---- a device that goes ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("timing", [AT_ONCE, FAR])
def test_device_that_goes_fails_what_is_queued_and_all_of_it_is_told_of(
    doors: Any, watching: Watching, timing: Timing
) -> None:
    watch = watching(timing)
    doors.begin(watch, 0, 2)
    doors.begin_modelled(watch, 1, 3)
    doors.lose_everything(watch)
    assert doors.needs_attention(watch)
    assert sorted(doors.reap_runs(watch)) == [0, 1]
    assert doors.lengths_of(watch, 0) == [GONE] * 2
    assert doors.lengths_of(watch, 1) == [GONE] * 3
    assert [doors.is_orphan(watch, number) for number in (0, 1, 2)] == [True, True, False]
    assert (len(watch.timeline), doors.next_watched_ns(watch)) == (0, NEVER_NS)


def test_run_that_is_worked_on_when_the_device_goes_is_told_of_behind_its_work(doors: Any, watching: Watching) -> None:
    watch = watching(FAR)
    doors.begin_modelled(watch, 0, 1, is_inline=True)
    doors.lose_everything(watch)
    assert doors.reap_runs(watch) == []
    doors.finish_inline(watch, 0)
    assert doors.reap_runs(watch) == [0]


def test_run_that_begins_anew_is_no_orphan(doors: Any, watching: Watching) -> None:
    watch = watching()
    doors.begin(watch, 0, 1)
    doors.lose_everything(watch)
    doors.reap_runs(watch)
    doors.begin(watch, 0, 1)
    doors.work(watch)
    assert doors.reap_runs(watch) == [0]
    assert not doors.is_orphan(watch, 0)


# ---- figures --------------------------------------------------------------------------------------------------------


def test_runs_whose_work_outlasts_their_time_are_counted_as_late(doors: Any, watching: Watching) -> None:
    watch = watching(Timing(page_ns=1))
    doors.note(watch, 3, 1000, 2000, 2000)
    doors.note(watch, 4, 1000, 2000, 2700)
    doors.note(watch, 5, 1000, 3000, 3200)
    assert doors.noted(watch) == ((3, 12), (2, 9), 700)
    assert watch.model.percentiles_us(0, 99) == [1.0, 2.0]


def test_device_without_time_has_no_late_runs(doors: Any, watching: Watching) -> None:
    watch = watching(AT_ONCE)
    doors.note(watch, 3, 1000, 2000, 9000)
    assert doors.noted(watch) == ((0, 0), (0, 0), 0)
