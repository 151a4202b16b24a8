"""Callers that wait for a stream, with when_full=wait: who is called, and when."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from zramfs.accel.by_hand import Caller, HeldStream, take
from zramfs.accel.driver import AcceleratorDriver, EmulatedAccelerator
from zramfs.accel.profile import parse_accelerator
from zramfs.codec.lz4 import Lz4Codec

PAGE = bytes(4096)


@contextmanager
def opened(depth: int) -> Iterator[AcceleratorDriver]:
    profile = parse_accelerator(f"ideal,queue_depth={depth},when_full=wait")
    assert profile is not None
    driver = EmulatedAccelerator(profile).attach(Lz4Codec)
    try:
        yield driver
        assert driver.queue.inflight == 0
    finally:
        driver.queue.close()


def get(driver: AcceleratorDriver) -> HeldStream:
    stream = take(driver)
    assert stream is not None
    return stream


def callers(driver: AcceleratorDriver, count: int) -> tuple[list[Caller], list[int]]:
    """Callers, and the numbers of those who were called by now."""
    called: list[int] = []
    return [Caller(driver, lambda number=number: called.append(number)) for number in range(count)], called


def test_caller_does_not_wait_for_a_stream_that_is_there_by_now() -> None:
    with opened(1) as driver:
        (caller,), called = callers(driver, 1)
        stream = get(driver)
        assert caller.take() is None
        stream.give()
        assert not caller.wait()
        assert called == []
        found = caller.take()
        assert found is not None
        found.give()


def test_as_many_are_called_as_there_are_descriptors() -> None:
    with opened(3) as driver:
        stream = get(driver)
        stream.compress(PAGE * 3, 0, 3)
        waiting, called = callers(driver, 5)
        assert all(caller.wait() for caller in waiting)
        stream.give()
        assert called == [0, 1, 2]
        taken = [waiting[number].take() for number in called]
        assert driver.queue.inflight == 3
        for each in taken:
            assert each is not None
            each.give()
        assert called == [0, 1, 2, 3, 4]


def test_caller_that_was_called_in_vain_keeps_its_place() -> None:
    with opened(1) as driver:
        stream = get(driver)
        waiting, called = callers(driver, 3)
        assert all(caller.wait() for caller in waiting)
        stream.give()
        assert called == [0]
        newcomer = get(driver)  # before caller 0 has asked
        assert waiting[0].take() is None
        assert waiting[0].wait()
        newcomer.give()
        assert called == [0, 0]
        for number, caller in enumerate(waiting):
            assert called[-1] == number
            found = caller.take()
            assert found is not None
            found.give()


def test_caller_that_never_asks_again_holds_nobody_up() -> None:
    with opened(1) as driver:
        stream = get(driver)
        waiting, called = callers(driver, 2)
        assert all(caller.wait() for caller in waiting)
        stream.give()
        assert called == [0]
        get(driver).give()
        assert called == [0, 1]


def test_caller_that_waits_again_gives_its_chance_to_one_that_came_before() -> None:
    with opened(4) as driver:
        long, short, first = get(driver), get(driver), get(driver)
        first.compress(PAGE * 2, 0, 2)
        waiting, called = callers(driver, 2)
        assert all(caller.wait() for caller in waiting)
        first.give()
        assert called == [0, 1]
        long.compress(PAGE * 3, 0, 3)
        assert [caller.take() for caller in waiting] == [None, None]
        assert waiting[0].wait()
        short.give()
        assert called == [0, 1]  # the descriptor is meant for caller 1, who has not asked again
        assert waiting[1].wait()
        assert called == [0, 1, 0]
        long.give()
        assert called == [0, 1, 0, 1]


def test_stream_that_is_given_back_while_callers_are_called_calls_the_next_and_not_from_within() -> None:
    depth = most_depth = 0
    served: list[int] = []
    with opened(1) as driver:

        def serve(number: int) -> None:
            nonlocal depth, most_depth
            depth += 1
            most_depth = max(most_depth, depth)
            served.append(number)
            get(driver).give()
            depth -= 1

        stream = get(driver)
        for number in range(100):
            assert Caller(driver, lambda number=number: serve(number)).wait()
        stream.give()
        assert served == list(range(100))
        assert most_depth == 1


@pytest.mark.parametrize("taken", [0, 1])
def test_nobody_waits_unless_told_to(taken: int) -> None:
    with opened(1) as driver:
        streams = [get(driver) for _ in range(taken)]
        driver.waits_when_full = False
        (caller,), called = callers(driver, 1)
        assert not caller.wait()
        for stream in streams:
            stream.give()
        assert called == []
