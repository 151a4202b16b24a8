"""The timer of a device's next event: when it is set anew, and when it is left as it is."""

import os
import select
from collections.abc import Iterator
from time import monotonic_ns
from typing import Any, Final

import pytest

from zramfs.accel.timer import EventTimer

NEVER_NS: Final = (1 << 63) - 1
SECOND_NS: Final = 1_000_000_000
SLACK_NS: Final = 25_000
PATIENCE_S: Final = 10


@pytest.fixture
def timer() -> Iterator[EventTimer]:
    timer = EventTimer()
    yield timer
    os.close(timer.fd)


def goes_off(timer: EventTimer, within_s: float = 0) -> bool:
    return bool(select.select([timer.fd], [], [], within_s)[0])


def test_timer_that_nobody_has_set_is_idle(doors: Any, timer: EventTimer) -> None:
    assert (doors.armed_ns(timer), goes_off(timer)) == (NEVER_NS, False)
    assert repr(timer) == "<EventTimer idle>"
    timer.arm_at(NEVER_NS)
    assert doors.armed_ns(timer) == NEVER_NS


@pytest.mark.parametrize("delay_ns", [-SECOND_NS, 0, 1_000_000])
def test_timer_goes_off_for_an_event_that_is_over_or_near(timer: EventTimer, delay_ns: int) -> None:
    timer.arm_at(monotonic_ns() + delay_ns)
    assert goes_off(timer, PATIENCE_S)


def test_timer_that_has_gone_off_is_acknowledged_by_setting_it(doors: Any, timer: EventTimer) -> None:
    timer.arm_at(0)
    assert goes_off(timer, PATIENCE_S)
    timer.arm_at(NEVER_NS)
    assert (goes_off(timer), doors.armed_ns(timer)) == (False, NEVER_NS)


def test_event_may_be_told_of_a_little_late(doors: Any, timer: EventTimer) -> None:
    event_ns = monotonic_ns() + 1000 * SECOND_NS
    timer.arm_at(event_ns)
    assert doors.armed_ns(timer) == event_ns + SLACK_NS


def test_timer_is_set_anew_for_an_event_that_is_nearer(doors: Any, timer: EventTimer) -> None:
    event_ns = monotonic_ns() + 1000 * SECOND_NS
    timer.arm_at(event_ns)
    timer.arm_at(event_ns - SLACK_NS)  # as good as the same
    assert doors.armed_ns(timer) == event_ns + SLACK_NS
    timer.arm_at(event_ns - SLACK_NS - 1)
    assert doors.armed_ns(timer) == event_ns - 1


@pytest.mark.parametrize("later_ns", [SECOND_NS, None])
def test_timer_that_goes_off_too_early_is_left_as_it_is(doors: Any, timer: EventTimer, later_ns: int | None) -> None:
    event_ns = monotonic_ns() + 1000 * SECOND_NS
    timer.arm_at(event_ns)
    timer.arm_at(NEVER_NS if later_ns is None else event_ns + later_ns)
    assert doors.armed_ns(timer) == event_ns + SLACK_NS
