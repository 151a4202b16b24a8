"""What becomes of a request in an entry, and how its reply comes into the entry, whoever ends it."""

import errno
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any, Final

import pytest
from disks import lz4_disk
from disks import read as read_disk
from fuse_kernel import FALLOCATE, GETATTR, READ, WRITE, allocating, message, reading, reply_header, size_of, writing
from receptions import Reception

from zramfs.block.closed_loop import Loop
from zramfs.receive import queue_ring, uring_requests
from zramfs.receive.entries import Entries
from zramfs.receive.handles import FIRST_OTHER_HANDLE
from zramfs.receive.receiver import KeptWrites

PAGE: Final = 4096
MIB: Final = 1 << 20
PAGES: Final = 1024
ENTRIES: Final = 240
DIRECT: Final = os.O_RDWR | os.O_DIRECT
COMMIT_AND_FETCH: Final = 2

Make = Callable[..., "Queue"]


class Queue:
    """A queue whose entries the test fills in the kernel's stead. Its ring is one of a file that is no /dev/fuse."""

    def __init__(self, doors: Any, reception: Reception) -> None:
        self.doors = doors
        self.reception = reception
        self.kept = KeptWrites()
        self.receiver = uring_requests.EntryReceiver(  # type: ignore[attr-defined]
            **reception.shared(), kept=self.kept, channel=1
        )
        self.file_fd = os.memfd_create("no /dev/fuse")
        self.ring = queue_ring.QueueRing(self.file_fd, 0)  # type: ignore[attr-defined]
        self.entries = Entries(ENTRIES)
        failure = doors.open_ring(self.ring, ENTRIES, 1000)
        if failure in (errno.ENOSYS, errno.EPERM):
            pytest.skip(f"no io_uring here: {os.strerror(failure)}")
        assert failure == 0
        doors.enter(self.ring, waits=False, timeout_ns=0)  # what ties it to its thread leaves
        assert doors.map_all(self.entries)
        doors.furnish(self.receiver, self.ring, self.entries)

    def close(self) -> None:
        self.doors.close_ring(self.ring)
        os.close(self.file_fd)

    def come(self, opcode: int, body: bytes, payload: bytes = b"", *, number: int = 0, unique: int = 2) -> None:
        """Let a request come in an entry."""
        self.doors.lay(self.entries, number, message(opcode, unique, body), payload)
        self.doors.take_entry(self.receiver, number)

    def write(self, offset: int, data: bytes, *, flags: int = os.O_RDWR, number: int = 0, unique: int = 2) -> None:
        body = writing(self.reception.handle, offset, len(data), flags=flags)
        self.come(WRITE, body, data, number=number, unique=unique)

    def read(self, offset: int, size: int, *, number: int = 0) -> None:
        self.come(READ, reading(self.reception.handle, offset, size), number=number)

    def reply(self, number: int = 0) -> tuple[int, bytes]:
        """The reply in an entry: its errno and what follows the header. It has left the receiver."""
        header, body = self.doors.reply_in(self.entries, number)
        assert header["len"] == 16 + len(body)
        assert not self.doors.is_ours(self.entries, number)
        return -header["error"], body

    def committed(self) -> list[tuple[int, int]]:
        """The entries that leave when the ring is entered, each with the request that it answers."""
        waiting = self.doors.unsubmitted(self.ring)
        assert {command for _, command, _, _ in waiting} <= {COMMIT_AND_FETCH}
        return [(number, unique) for _, _, number, unique in waiting]

    def answer_ended(self) -> None:
        """Look for what has ended, as the queue's thread does; there is something."""
        assert self.doors.take_ended(self.receiver)

    def work_off(self) -> None:
        """Work on large bios, as a channel that has begun none, until those before ours have ended."""
        Loop(self.reception.disk, 2, "read", pages=PAGES, size_pages=256).run(1)


@pytest.fixture
def make(doors: Any) -> Iterator[Make]:
    with ExitStack() as stack:

        def queue(**options: Any) -> Queue:
            disk = stack.enter_context(lz4_disk(PAGES, receivers=2))
            made = Queue(doors, Reception(disk, **options))
            stack.callback(made.close)
            return made

        yield queue


@pytest.fixture
def queue(make: Make) -> Queue:
    return make()


# ---- requests -------------------------------------------------------------------------------------------------------


def test_write_is_stored_and_its_reply_leaves_with_the_number_of_its_entry(queue: Queue) -> None:
    data = os.urandom(2 * PAGE)
    queue.write(PAGE, data, number=3, unique=44)
    assert queue.committed() == []  # the queue's thread answers when it looks for what has ended
    queue.answer_ended()
    error, body = queue.reply(3)
    assert (error, size_of(body)) == (0, 2 * PAGE)
    assert queue.committed() == [(3, 44)]
    assert read_disk(queue.reception.disk, 0, 3 * PAGE) == bytes(PAGE) + data
    assert queue.receiver.in_flight == 0


def test_read_has_its_data_in_the_entry(queue: Queue) -> None:
    data = os.urandom(PAGE)
    queue.write(0, data)
    queue.read(0, 2 * PAGE, number=1)
    queue.answer_ended()
    assert queue.reply(1) == (0, data + bytes(PAGE))


def test_what_requests_and_replies_write_to_is_counted_as_touched(queue: Queue) -> None:
    queue.write(0, bytes(PAGE))
    queue.read(0, 3 * PAGE, number=1)
    queue.answer_ended()
    assert queue.entries.memory_bytes == 4 * PAGE


def test_entry_is_ours_until_it_is_answered(queue: Queue) -> None:
    queue.write(0, bytes(PAGE))
    assert queue.doors.is_ours(queue.entries, 0)
    assert queue.receiver.in_flight == 1
    queue.answer_ended()
    assert not queue.doors.is_ours(queue.entries, 0)


def test_read_of_more_than_an_entry_holds_is_refused_at_once(queue: Queue) -> None:
    queue.read(0, MIB + 1)
    assert queue.reply() == (errno.EINVAL, b"")
    assert (queue.committed(), queue.receiver.in_flight) == ([(0, 2)], 0)
    queue.read(0, MIB, number=1)
    queue.work_off()
    queue.answer_ended()
    assert queue.reply(1) == (0, bytes(MIB))


def test_what_is_refused_is_answered_at_once(queue: Queue) -> None:
    queue.come(FALLOCATE, allocating(queue.reception.handle, 8, 0, PAGE))
    assert queue.reply() == (errno.EOPNOTSUPP, b"")
    assert queue.committed() == [(0, 2)]


def test_write_behind_the_end_is_refused_as_by_a_block_device(queue: Queue) -> None:
    queue.write(PAGES * PAGE, bytes(PAGE))
    queue.answer_ended()
    assert queue.reply() == (errno.ENOSPC, b"")


# ---- writes that end later ------------------------------------------------------------------------------------------


def test_large_write_keeps_its_memory_and_its_entry_until_it_ends(queue: Queue) -> None:
    data = os.urandom(MIB)
    queue.write(0, data, flags=DIRECT)
    assert (queue.receiver.in_flight, queue.doors.kept_writes(queue.kept)) == (1, 1)
    assert queue.reception.memory.held_bytes == MIB
    assert not queue.doors.has_ended(queue.receiver)
    queue.work_off()
    assert queue.doors.has_ended(queue.receiver)
    queue.answer_ended()
    assert size_of(queue.reply()[1]) == MIB
    assert (queue.receiver.in_flight, queue.doors.kept_writes(queue.kept)) == (0, 0)
    assert queue.reception.memory.held_bytes == 0
    assert read_disk(queue.reception.disk, 0, MIB) == data


def test_write_that_there_is_no_memory_to_keep_ends_at_once(make: Make) -> None:
    queue = make(limit_bytes=MIB - 1)
    data = os.urandom(MIB)
    queue.write(0, data, flags=DIRECT)
    assert queue.doors.has_ended(queue.receiver)
    assert queue.doors.kept_writes(queue.kept) == 0
    queue.answer_ended()
    assert size_of(queue.reply()[1]) == MIB
    assert read_disk(queue.reception.disk, 0, MIB) == data


def test_memory_that_an_earlier_request_touched_does_not_count_against_a_write(make: Make) -> None:
    queue = make(limit_bytes=MIB // 2)
    queue.read(0, PAGE)
    queue.answer_ended()
    queue.doors.touch_entry(queue.entries, 0, MIB)
    queue.write(0, os.urandom(MIB // 2), flags=DIRECT)
    assert queue.reception.memory.held_bytes == MIB // 2
    assert queue.entries.memory_bytes == MIB // 2
    queue.work_off()
    queue.answer_ended()
    assert queue.reception.memory.held_bytes == 0


def test_small_write_leaves_nothing_held(queue: Queue) -> None:
    queue.write(0, os.urandom(PAGE), flags=DIRECT)
    assert (queue.reception.memory.held_bytes, queue.doors.kept_writes(queue.kept)) == (0, 0)
    queue.answer_ended()


# ---- what is handed over --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("payload", [b"", b"data" * 1000])
def test_request_of_another_file_is_handed_over_whole(queue: Queue, payload: bytes) -> None:
    body = writing(FIRST_OTHER_HANDLE, 0, len(payload))
    queue.come(WRITE, body, payload)
    assert queue.doors.handed_over_now(queue.receiver) == 1
    expected = message(WRITE, 2, body + payload)
    assert queue.doors.read(queue.reception.handover) == expected
    assert queue.receiver.in_flight == 0


def test_reply_of_pyfuse3_leaves_in_the_entry_of_its_request(queue: Queue) -> None:
    for number in (0, 1):
        queue.come(GETATTR, bytes(16), number=number, unique=10 + number)
        queue.doors.read(queue.reception.handover)
    taken, _ = queue.doors.reply(queue.reception.handover, reply_header(11, b"answer"), b"answer")
    assert taken == 22
    assert queue.committed() == []
    queue.answer_ended()
    assert queue.reply(1) == (0, b"answer")
    assert queue.committed() == [(1, 11)]
    assert queue.doors.handed_over_now(queue.receiver) == 1
    assert queue.doors.is_ours(queue.entries, 0)


def test_error_of_pyfuse3_has_nothing_behind_its_header(queue: Queue) -> None:
    queue.come(GETATTR, bytes(16), b"payload of the request")
    queue.doors.read(queue.reception.handover)
    queue.doors.reply(queue.reception.handover, reply_header(2, error=errno.EACCES))
    queue.answer_ended()
    assert queue.reply() == (errno.EACCES, b"")


def test_parts_of_a_reply_follow_each_other(queue: Queue) -> None:
    queue.come(GETATTR, bytes(16))
    parts = [b"one, ", b"", b"two, " * 1000, b"three"]
    whole = b"".join(parts)
    assert queue.doors.reply_in_parts(queue.receiver, 0, 2, [reply_header(2, whole), *parts]) == 16 + len(whole)
    queue.answer_ended()
    assert queue.reply() == (0, whole)
    assert queue.entries.memory_bytes == len(whole)


def test_reply_that_an_entry_has_no_room_for_is_an_error_and_touches_nothing(queue: Queue) -> None:
    queue.come(GETATTR, bytes(16))
    parts = [b"x" * MIB, b"y"]
    assert queue.doors.reply_in_parts(queue.receiver, 0, 2, [reply_header(2, b"".join(parts)), *parts]) == 16
    queue.answer_ended()
    assert queue.reply() == (errno.EIO, b"")
    assert queue.entries.memory_bytes == 0
    assert queue.doors.byte_of(queue.entries, 0, 0) == 0


# ---- what ends on other threads -------------------------------------------------------------------------------------


def test_everything_that_has_ended_is_answered_at_once(queue: Queue) -> None:
    for number in range(5):
        queue.write(number * PAGE, bytes(PAGE), number=number, unique=100 + number)
    queue.answer_ended()
    assert sorted(queue.committed()) == [(number, 100 + number) for number in range(5)]
    assert not queue.doors.take_ended(queue.receiver)


def test_thread_that_sleeps_is_woken_by_the_first_that_ends(queue: Queue) -> None:
    queue.doors.push_ended(queue.receiver, 0, 1)
    assert queue.doors.wakes(queue.receiver) == 0
    queue.doors.fall_asleep(queue.receiver)
    queue.doors.push_ended(queue.receiver, 1, 3)
    assert queue.doors.wakes(queue.receiver) == 1
    assert not queue.doors.is_asleep(queue.receiver)


def test_each_entry_is_answered_once_whichever_threads_are_done_with_them(queue: Queue) -> None:
    threads, turns = 4, 40
    share = ENTRIES // threads
    with ThreadPoolExecutor(threads) as executor:
        for turn in range(turns):
            pushing = [
                executor.submit(queue.doors.push_ended, queue.receiver, thread * share, share)
                for thread in range(threads)
            ]
            while queue.doors.handed_over_now(queue.receiver) > -ENTRIES * (turn + 1):
                queue.doors.take_ended(queue.receiver)
            for pushed in pushing:
                pushed.result()
            assert sorted(number for number, _ in queue.committed()) == list(range(ENTRIES))
            while queue.doors.unsubmitted(queue.ring):
                queue.doors.enter(queue.ring, waits=False, timeout_ns=0)
    assert not queue.doors.has_ended(queue.receiver)
