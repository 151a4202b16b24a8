"""The ring of one of the kernel's queues, before a file that is no /dev/fuse: what completes, and when."""

import errno
import os
from collections.abc import Iterator
from typing import Any

import pytest

from zramfs.receive import queue_ring

ENTRIES = 256
ANCHOR, OURS = 1000, 7
SECOND_NS = 1_000_000_000


@pytest.fixture
def ring(doors: Any) -> Iterator[Any]:
    file_fd = os.memfd_create("no /dev/fuse")
    ring = queue_ring.QueueRing(file_fd, 1)  # type: ignore[attr-defined]
    failure = doors.open_ring(ring, ENTRIES, ANCHOR)
    if failure in (errno.ENOSYS, errno.EPERM):
        pytest.skip(f"no io_uring here: {os.strerror(failure)}")
    assert failure == 0
    yield ring
    doors.close_ring(ring)
    os.close(file_fd)


def test_what_ties_it_to_its_thread_never_completes(doors: Any, ring: Any) -> None:
    assert doors.enter(ring, waits=True, timeout_ns=SECOND_NS // 100) == []


def test_an_alarm_completes_when_its_time_is_over(doors: Any, ring: Any) -> None:
    doors.tell_in(ring, 0, OURS)
    (completed,) = doors.enter(ring, waits=True, timeout_ns=10 * SECOND_NS)
    assert completed[0] == OURS


def test_a_file_that_is_watched_completes_each_time_that_it_can_be_read(doors: Any, ring: Any) -> None:
    read_fd, write_fd = os.pipe()
    doors.watch(ring, read_fd, OURS)
    assert doors.enter(ring, waits=False, timeout_ns=0) == []
    for _ in range(3):
        os.write(write_fd, b"x")
        assert [which for which, _ in doors.enter(ring, waits=True, timeout_ns=10 * SECOND_NS)] == [OURS]
        os.read(read_fd, 1)
    os.close(read_fd)
    os.close(write_fd)


def test_commands_that_the_file_does_not_know_complete_with_an_error(doors: Any, ring: Any) -> None:
    doors.answer(ring, 3, 12)
    ((which, result),) = doors.enter(ring, waits=True, timeout_ns=10 * SECOND_NS)
    assert which == 3
    assert result < 0


def test_more_commands_than_may_wait_are_submitted_in_between(doors: Any, ring: Any) -> None:
    for number in range(300):  # beside the one that ties it to its thread; 256 at a time
        doors.answer(ring, number % 16, 12)
    assert repr(ring) == "<QueueRing of queue 1, 45 to submit>"
