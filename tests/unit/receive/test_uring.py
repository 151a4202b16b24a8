"""The receiver of one of the kernel's queues, step by step: its ring is open before a file that is no /dev/fuse."""

import errno
import logging
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any, Final

import pytest
from disks import lz4_disk
from fuse_kernel import (
    FALLOCATE,
    GETATTR,
    INIT,
    READ,
    WRITE,
    allocating,
    message,
    reading,
    reply_header,
    size_of,
    writing,
)
from receptions import Reception

from zramfs.receive.placement import Placement
from zramfs.receive.receiver import KeptWrites
from zramfs.receive.uring import UringReceiver
from zramfs.receive.uring_receivers import UringReceivers

PAGE: Final = 4096
MIB: Final = 1 << 20
PAGES: Final = 1024
DIRECT: Final = os.O_RDWR | os.O_DIRECT

WAKE, TICK = 0xFFFFFFFF, 0xFFFFFFFD
POLL_ADD, TIMEOUT, URING_CMD = 6, 11, 46
LEAST_ENTRIES: Final = 4160
BATCH: Final = 4
FUSE_OVER_IO_URING: Final = 1 << 41

Make = Callable[..., "Queue"]


class Queue:
    """A receiver that is set up, but for a thread, and what it was given."""

    def __init__(self, doors: Any, reception: Reception) -> None:
        self.doors = doors
        self.reception = reception
        self.file_fd = os.memfd_create("no /dev/fuse")
        self.placement = Placement([-1, -1])
        self.receiver = UringReceiver(
            self.file_fd,
            queue=1,
            **reception.shared(),
            placement=self.placement,
            kept=KeptWrites(),
            channel=1,
        )
        self.ring = doors.ring_of(self.receiver)

    def open(self) -> None:
        failure = self.doors.open_receiver(self.receiver)
        if failure in (errno.ENOSYS, errno.EPERM):
            pytest.skip(f"no io_uring here: {os.strerror(failure)}")
        assert failure == 0
        self.doors.enter(self.ring, waits=False, timeout_ns=0)  # what ties it to its thread leaves

    def close(self) -> None:
        self.doors.close_ring(self.ring)
        os.close(self.file_fd)

    def come(self, opcode: int, body: bytes, payload: bytes = b"", *, number: int = 0, unique: int = 2) -> None:
        """Let a request be there, which nobody has looked at."""
        self.doors.lay(self.receiver.entries, number, message(opcode, unique, body), payload)
        self.doors.complete_at_once(self.ring, number)

    def read(self, number: int = 0) -> None:
        self.come(READ, reading(self.reception.handle, 0, PAGE), number=number, unique=2 + number)

    def write(self, data: bytes, number: int = 0) -> None:
        body = writing(self.reception.handle, 0, len(data), flags=DIRECT)
        self.come(WRITE, body, data, number=number, unique=2 + number)

    def refuse(self, number: int) -> None:
        """Let a request be there that is answered at once."""
        self.come(FALLOCATE, allocating(self.reception.handle, 8, 0, PAGE), number=number)

    def submitting(self) -> list[tuple[int, int]]:
        """What the next call of the kernel submits, each with what it is for."""
        return [(operation, number) for operation, _, number, _ in self.doors.unsubmitted(self.ring)]


@pytest.fixture
def make(doors: Any) -> Iterator[Make]:
    with ExitStack() as stack:

        def queue(**options: Any) -> Queue:
            disk = stack.enter_context(lz4_disk(PAGES, receivers=1))
            made = Queue(doors, Reception(disk, limit_bytes=4 * MIB, **options))
            stack.callback(made.close)
            return made

        yield queue


@pytest.fixture
def queue(make: Make) -> Queue:
    made = make()
    made.open()
    return made


# ---- beginning and end ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("background", "entries"), [(64, LEAST_ENTRIES), (5000, 5064)])
def test_there_is_an_entry_for_each_background_request_and_some_for_others(
    make: Make, background: int, entries: int
) -> None:
    queue = make(background=background)
    assert queue.receiver.entries.count == entries


def test_session_that_does_not_come_to_use_rings_ends_its_threads(make: Make) -> None:
    queue = make()
    thread = threading.Thread(target=queue.receiver.run)
    thread.start()
    assert queue.receiver.is_set_up.wait(10)
    queue.receiver.stop()
    thread.join(10)
    assert not thread.is_alive()
    assert queue.receiver.failure in (0, errno.ENOSYS, errno.EPERM)


def test_kernel_that_leaves_all_to_dev_fuse_costs_a_warning_and_no_session(
    make: Make, caplog: pytest.LogCaptureFixture
) -> None:
    queue = make()
    thread = threading.Thread(target=queue.receiver.run)
    with caplog.at_level(logging.WARNING):
        thread.start()
        assert queue.receiver.is_set_up.wait(10)
        if queue.receiver.failure:
            thread.join(10)
            pytest.skip(f"no io_uring here: {os.strerror(queue.receiver.failure)}")
        queue.doors.begin(queue.receiver)
        while not caplog.records:  # as no file but /dev/fuse knows the commands
            os.sched_yield()
        queue.receiver.stop()
        while not queue.receiver.has_answered:
            os.sched_yield()
        assert thread.is_alive()
        queue.receiver.close()
        thread.join(10)
    assert not thread.is_alive()
    assert [record.message for record in caplog.records] == [
        f"queue 1 of io_uring is not used as it should be: {os.strerror(errno.EOPNOTSUPP)}"
    ]
    assert not queue.reception.handover.has_ended


@pytest.mark.parametrize(
    ("error", "lost", "has_ended"),
    [
        (errno.EINVAL, LEAST_ENTRIES, True),
        (errno.EINVAL, LEAST_ENTRIES - 1, False),
        (errno.EOPNOTSUPP, LEAST_ENTRIES, False),
        (errno.ENOTCONN, LEAST_ENTRIES, False),
        (errno.ECONNABORTED, LEAST_ENTRIES, False),
    ],
)
def test_queue_that_the_kernel_uses_without_entries_ends_the_session(
    queue: Queue, error: int, lost: int, *, has_ended: bool
) -> None:
    queue.doors.complete(queue.receiver, 0, -error, times=lost)
    assert queue.reception.handover.has_ended is has_ended


def test_receivers_of_a_session_begin_together_when_init_is_answered(queue: Queue, make: Make) -> None:
    others, handover = [queue.receiver, make().receiver], queue.reception.handover
    together = UringReceivers(others)
    together.begin_with(handover)
    assert handover.init_flags == FUSE_OVER_IO_URING
    queue.doors.hand_over(handover, message(INIT, 2, bytes(64)))
    queue.doors.read(handover)
    assert not any(map(queue.doors.has_begun, others))
    queue.doors.reply(handover, reply_header(2, bytes(64)), bytes(64))
    assert all(map(queue.doors.has_begun, others))
    assert [queue.doors.wakes(receiver) for receiver in others] == [1, 1]


def test_receiver_is_done_when_what_it_has_begun_is_answered_and_has_left(queue: Queue) -> None:
    queue.write(os.urandom(MIB))
    queue.doors.reap(queue.receiver)
    assert not queue.doors.is_done(queue.receiver)
    queue.receiver.stop()
    while queue.receiver.in_flight:
        assert not queue.doors.is_done(queue.receiver)
        queue.doors.pass_time(queue.receiver)
        queue.doors.take_ended(queue.receiver)
    assert not queue.doors.is_done(queue.receiver)  # its reply has not left
    queue.doors.enter(queue.ring, waits=False, timeout_ns=0)
    assert queue.doors.is_done(queue.receiver)


def test_answers_of_pyfuse3_are_waited_for_but_not_for_ever(queue: Queue) -> None:
    queue.come(GETATTR, bytes(16))
    queue.doors.reap(queue.receiver)
    queue.doors.enter(queue.ring, waits=False, timeout_ns=0)
    queue.receiver.stop()
    assert not queue.doors.is_done(queue.receiver)
    queue.doors.give_no_more_time(queue.receiver)
    assert queue.doors.is_done(queue.receiver)


def test_request_that_comes_behind_the_end_is_nobodys(queue: Queue) -> None:
    queue.receiver.stop()
    queue.read()
    assert queue.doors.reap(queue.receiver)
    assert queue.receiver.requests == 0
    assert queue.doors.is_done(queue.receiver)


# ---- completions ----------------------------------------------------------------------------------------------------


def test_request_that_is_there_is_counted_and_answered(queue: Queue) -> None:
    queue.write(b"x" * PAGE, number=5)
    assert queue.doors.reap(queue.receiver)
    assert queue.receiver.requests == 1
    assert queue.doors.take_ended(queue.receiver)
    assert size_of(queue.doors.reply_in(queue.receiver.entries, 5)[1]) == PAGE
    assert (URING_CMD, 5) in queue.submitting()
    assert not queue.doors.reap(queue.receiver)


def test_second_begins_with_the_first_request_alone(queue: Queue) -> None:
    for number in range(3):
        queue.read(number)
    queue.doors.reap(queue.receiver)
    assert queue.submitting().count((TIMEOUT, TICK)) == 1


def test_replies_leave_in_fours_while_there_are_more_requests(queue: Queue) -> None:
    queue.doors.tell_in(queue.ring, 1000, TICK)  # a second that has begun: nothing but replies is to leave
    queue.read(0)
    queue.doors.reap(queue.receiver)
    queue.doors.take_ended(queue.receiver)
    queue.doors.enter(queue.ring, waits=False, timeout_ns=0)
    for number in range(BATCH + 2):
        queue.refuse(number)
    queue.doors.reap(queue.receiver)
    assert queue.submitting() == [(URING_CMD, BATCH), (URING_CMD, BATCH + 1)]


def test_wake_is_looked_at_and_watched_for_anew_when_the_kernel_watches_no_more(queue: Queue) -> None:
    queue.receiver.set_io_flusher(False)
    queue.doors.complete(queue.receiver, WAKE, 1, is_last=False)
    assert queue.doors.wakes(queue.receiver) == 0
    assert queue.submitting() == []
    queue.doors.complete(queue.receiver, WAKE, 1, is_last=True)
    assert queue.submitting() == [(POLL_ADD, WAKE)]


# ---- no request -----------------------------------------------------------------------------------------------------


def test_second_without_a_request_gives_memory_back(queue: Queue) -> None:
    queue.read()
    queue.doors.reap(queue.receiver)
    queue.doors.take_ended(queue.receiver)
    assert queue.receiver.entries.memory_bytes == PAGE
    queue.doors.end_second(queue.receiver)
    assert queue.receiver.entries.memory_bytes == 0


def test_second_with_a_request_is_followed_by_another(queue: Queue) -> None:
    queue.read(0)
    queue.doors.reap(queue.receiver)
    queue.read(1)
    queue.doors.reap(queue.receiver)
    queue.doors.take_ended(queue.receiver)
    queue.doors.enter(queue.ring, waits=False, timeout_ns=0)
    queue.doors.end_second(queue.receiver)
    assert queue.receiver.entries.memory_bytes == 2 * PAGE
    assert queue.submitting() == [(TIMEOUT, TICK)]
    queue.doors.end_second(queue.receiver)
    assert queue.receiver.entries.memory_bytes == 0


def test_large_bio_is_gone_on_with_while_no_request_is_there(queue: Queue) -> None:
    queue.write(os.urandom(MIB))
    queue.doors.reap(queue.receiver)
    assert queue.doors.has_work(queue.receiver)
    while not queue.doors.has_ended(queue.receiver):
        queue.doors.pass_time(queue.receiver)
    queue.doors.take_ended(queue.receiver)
    assert queue.receiver.in_flight == 0


def test_large_bio_of_another_queue_is_left_to_it(queue: Queue, doors: Any) -> None:
    other = Queue(doors, queue.reception)
    other.open()
    other.write(os.urandom(MIB))
    doors.reap(other.receiver)
    assert doors.has_work(other.receiver)
    assert not doors.has_work(queue.receiver)
    while not doors.has_ended(other.receiver):
        doors.pass_time(other.receiver)
    doors.take_ended(other.receiver)
    other.close()


def test_replies_leave_before_the_thread_sleeps(queue: Queue) -> None:
    queue.read(0)
    queue.doors.reap(queue.receiver)
    queue.doors.take_ended(queue.receiver)
    assert queue.submitting()
    queue.doors.pass_time(queue.receiver)  # the refusal of the reply's command wakes it
    assert queue.submitting() == []


def test_thread_does_not_sleep_on_what_has_ended(queue: Queue) -> None:
    queue.doors.push_ended(queue.receiver, 0, 1)
    queue.doors.sleep(queue.receiver)  # for ever, otherwise
    assert not queue.doors.is_asleep(queue.receiver)


def test_thread_that_sleeps_is_woken_by_another(queue: Queue) -> None:
    queue.doors.wake_by_ring(queue.receiver)
    another = threading.Timer(0.05, queue.receiver.set_io_flusher, (False,))
    another.start()
    queue.doors.sleep(queue.receiver)
    another.join()
    assert queue.doors.reap(queue.receiver)
    assert queue.doors.wakes(queue.receiver) == 0


def test_thread_looks_again_soon_while_the_session_ends(queue: Queue) -> None:
    queue.receiver.stop()
    queue.doors.sleep(queue.receiver)  # for ever, otherwise: nothing is watched
    assert not queue.doors.reap(queue.receiver)
