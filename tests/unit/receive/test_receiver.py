"""What receivers do beside requests: when they are woken, what they keep of writes, and how time passes."""

import ctypes
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

import pytest
import trio
from disks import lz4_disk
from fuse_kernel import GETATTR, message
from receptions import Reception

from zramfs.accel.driver import EmulatedAccelerator
from zramfs.accel.profile import parse_accelerator
from zramfs.block.request import Outcome, Request
from zramfs.receive.receiver import KeptWrites, Receiver

PAGE: Final = 4096
LARGE: Final = 256
US: Final = 1000
TURN_NS: Final = 500 * US
NEVER_NS: Final = (1 << 63) - 1
PR_GET_IO_FLUSHER: Final = 58

Make = Callable[..., "Receiving"]


class Receiving:
    """A receiver without a thread, and what it was given."""

    def __init__(self, reception: Reception, accelerator: EmulatedAccelerator | None) -> None:
        self.reception = reception
        self.accelerator = accelerator
        self.kept = KeptWrites()
        self.receiver = Receiver(**reception.shared(), kept=self.kept, channel=1)

    def begin_write(self, pages: int, *, is_async: bool = False) -> Request:
        request = Request("write", 0, os.urandom(pages * PAGE), channel=1, is_async=is_async)
        assert request.submit(self.reception.disk) == Outcome.BEGUN
        return request


@pytest.fixture
def make() -> Iterator[Make]:
    stack = ExitStack()

    async def close() -> None:  # a driver tells trio's tasks of its end
        stack.close()

    with stack:

        def receiving(accel: str = "none", **options: Any) -> Receiving:
            profile = parse_accelerator(accel)
            accelerator = None if profile is None else EmulatedAccelerator(profile)
            disk = stack.enter_context(lz4_disk(2 * LARGE, receivers=1, accelerator=accelerator))
            return Receiving(Reception(disk, **options), accelerator)

        yield receiving
        trio.run(close)


@pytest.fixture
def receiving(make: Make) -> Receiving:
    return make()


@pytest.fixture
def far(make: Make) -> Iterator[Receiving]:
    """Its accelerator has a run that takes a minute."""
    receiving = make("ideal,polled_run_pages=0,engines=1,page_ns=1000000000,timeout_us=60000000")
    request = receiving.begin_write(32, is_async=True)
    yield receiving
    assert receiving.accelerator is not None
    receiving.accelerator.set("state", "offline")
    request.wait()


def process_control(option: int) -> int:
    """Call prctl without arguments, for the calling thread."""
    result: int = ctypes.CDLL(None).prctl(option, *[ctypes.c_ulong(0)] * 4)
    return result


# ---- the thread ---------------------------------------------------------------------------------------------------


def test_thread_has_its_name_and_leaves_signals_to_the_main_thread(doors: Any, receiving: Receiving) -> None:
    def begin() -> tuple[str, set[int]]:
        doors.begin_thread(receiving.receiver, b"zramfs-tested")
        comm = Path(f"/proc/self/task/{threading.get_native_id()}/comm").read_text()
        return comm, set(signal.pthread_sigmask(signal.SIG_BLOCK, []))

    with ThreadPoolExecutor(1) as executor:
        name, blocked = executor.submit(begin).result()
    assert name == "zramfs-tested\n"
    assert {signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGCHLD} <= blocked


def test_stopping_wakes_the_thread(doors: Any, receiving: Receiving) -> None:
    assert doors.wakes(receiving.receiver) == 0
    receiving.receiver.stop()
    assert doors.wakes(receiving.receiver) == 1


def test_thread_that_is_woken_several_times_looks_once(doors: Any, receiving: Receiving) -> None:
    for _ in range(3):
        receiving.receiver.stop()
    doors.clear_wake(receiving.receiver)
    assert doors.wakes(receiving.receiver) == 0
    doors.clear_wake(receiving.receiver)  # which waits for nothing


def test_thread_becomes_an_io_flusher_and_no_longer_one_when_it_is_told_to(doors: Any, receiving: Receiving) -> None:
    def follow() -> int:
        doors.follow_io_flusher(receiving.receiver)
        return process_control(PR_GET_IO_FLUSHER)

    told = []
    with ThreadPoolExecutor(1) as executor:
        for wanted in (False, True, True, False):
            receiving.receiver.set_io_flusher(wanted)
            assert doors.wakes(receiving.receiver) == 1
            told.append(executor.submit(follow).result())
    if told[0] < 0:
        pytest.skip("needs CAP_SYS_RESOURCE, and Linux 5.6")
    assert told == [0, 1, 1, 0]


def test_descriptor_it_is_woken_by_is_closed_with_it(doors: Any, receiving: Receiving) -> None:
    another = Receiver(**receiving.reception.shared(), kept=receiving.kept, channel=1)
    wake_fd = doors.wake_fd(another)
    assert os.fstat(wake_fd)
    del another
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(wake_fd)


# ---- writes that end later ------------------------------------------------------------------------------------------


def test_memory_of_kept_writes_is_counted_until_they_end(doors: Any, receiving: Receiving) -> None:
    memory = receiving.reception.memory
    for size_bytes in (PAGE, 3 * PAGE):
        doors.hold(receiving.receiver, size_bytes)
    assert (doors.kept_writes(receiving.kept), memory.held_bytes) == (2, 4 * PAGE)
    doors.let_go(receiving.receiver, PAGE)
    assert (doors.kept_writes(receiving.kept), memory.held_bytes) == (1, 3 * PAGE)


@pytest.mark.parametrize(
    ("accel", "kept", "has_place"),
    [
        ("ideal,when_full=wait", 47, True),
        ("ideal,when_full=wait", 48, False),
        ("ideal,when_full=fallback", 48, True),
        ("none", 48, True),
    ],
)
def test_writes_that_may_wait_for_a_stream_leave_16_background_requests_to_reads(
    doors: Any, make: Make, accel: str, kept: int, *, has_place: bool
) -> None:
    receiving = make(accel, background=64)
    for _ in range(kept):
        doors.hold(receiving.receiver, PAGE)
    assert doors.has_place_for_write(receiving.receiver, receiving.reception.disk) == has_place


def test_there_is_place_for_the_write_of_a_disk_without_a_size_which_ends_at_once(doors: Any, make: Make) -> None:
    receiving = make("ideal,when_full=wait", background=16)
    assert not doors.has_place_for_write(receiving.receiver, receiving.reception.disk)
    receiving.reception.disk.close()
    assert doors.has_place_for_write(receiving.receiver, receiving.reception.disk)


# ---- requests of others ---------------------------------------------------------------------------------------------


def test_request_is_handed_over_whole(doors: Any, receiving: Receiving) -> None:
    request = message(GETATTR, 2, b"arguments")
    doors.hand_over_with_patience(receiving.receiver, request, b"and a payload")
    assert receiving.reception.handover.count == 1
    assert doors.read(receiving.reception.handover) == request + b"and a payload"


# ---- no request -----------------------------------------------------------------------------------------------------


def test_slice_is_for_large_bios_and_requests_have_a_turn_after_it(doors: Any, receiving: Receiving) -> None:
    request = receiving.begin_write(LARGE)
    while not request.has_ended:
        now_ns = time.monotonic_ns()
        assert doors.have_slice(receiving.receiver, now_ns)
        assert doors.turn_ends_ns(receiving.receiver) >= now_ns + TURN_NS
    turn_ends_ns = doors.turn_ends_ns(receiving.receiver)
    assert not doors.have_slice(receiving.receiver, time.monotonic_ns())
    assert doors.turn_ends_ns(receiving.receiver) == turn_ends_ns


def test_slice_that_has_no_time_is_a_share_of_a_large_bio_all_the_same(doors: Any, receiving: Receiving) -> None:
    request = receiving.begin_write(LARGE)
    slices = 0
    while not request.has_ended:
        assert doors.have_slice(receiving.receiver, -(10**9))
        slices += 1
    assert slices == LARGE // 8


def test_requests_have_the_next_turn_where_nothing_else_is_to_be_done(doors: Any, receiving: Receiving) -> None:
    doors.have_turn(receiving.receiver, 7)
    assert doors.turn_ends_ns(receiving.receiver) == 7 + TURN_NS


def test_turn_of_a_large_bio_is_a_slice(doors: Any, receiving: Receiving) -> None:
    request = receiving.begin_write(LARGE)
    doors.have_turn(receiving.receiver, NEVER_NS // 2)  # all the time that it needs
    assert request.has_ended


def test_next_request_is_polled_for_as_long_as_told_where_no_event_is_to_come(doors: Any, receiving: Receiving) -> None:
    assert doors.spin_end(receiving.receiver, 1000, 50) == 1050
    assert doors.spin_end(receiving.receiver, 1000, 0) == 1000


def test_event_is_polled_for_if_it_is_near_and_slept_for_otherwise(doors: Any, far: Receiving) -> None:
    event_ns = doors.next_event_ns(far.receiver)
    near_ns, far_ns = event_ns - 100 * US + 1, event_ns - 100 * US
    assert doors.spin_end(far.receiver, near_ns, 10**9) == event_ns
    assert doors.spin_end(far.receiver, far_ns, 10**9) == far_ns


def test_event_that_is_far_is_not_waited_for_before_the_next_request(doors: Any, far: Receiving) -> None:
    doors.await_near_event(far.receiver)
    assert doors.next_event_ns(far.receiver) > time.monotonic_ns()


def test_event_whose_time_has_come_is_attended_to_before_the_next_request(doors: Any, make: Make) -> None:
    receiving = make("ideal,polled_run_pages=0,page_ns=1")
    request = receiving.begin_write(2, is_async=True)
    while not request.has_ended:
        doors.await_near_event(receiving.receiver)
    assert doors.next_event_ns(receiving.receiver) == NEVER_NS
    assert request.result() == 2 * PAGE
