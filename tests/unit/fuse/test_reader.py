import os
import signal
from collections.abc import Iterator

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from zramfs.fuse.reader import PollingTrio, ReadLock
from zramfs.fuse.spin import wait_for_events


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    ends = os.pipe()
    yield ends
    for end in ends:
        os.close(end)


def test_spinning_tells_what_can_be_read(pipe: tuple[int, int]) -> None:
    assert not wait_for_events(pipe[0], 1000)
    os.write(pipe[1], b"x")
    assert wait_for_events(pipe[0], 0)


async def test_lock_is_held_by_one_task_at_a_time() -> None:
    lock = ReadLock()
    inside = most = 0

    async def read() -> None:
        nonlocal inside, most
        for _ in range(20):
            async with lock:
                inside += 1
                most = max(most, inside)
                await trio.lowlevel.checkpoint()
                inside -= 1

    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            for _ in range(5):
                nursery.start_soon(read)
    assert most == 1


async def test_lock_passes_on_while_its_last_holder_waits_elsewhere() -> None:
    lock = ReadLock()
    order: list[str] = []
    elsewhere = trio.Event()

    async def first() -> None:
        async with lock:
            await wait_all_tasks_blocked()
            order.append("first")
        await elsewhere.wait()

    async def second() -> None:
        async with lock:
            order.append("second")
        elsewhere.set()

    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(first)
            await trio.lowlevel.checkpoint()
            nursery.start_soon(second)
    assert sorted(order) == ["first", "second"]


@pytest.mark.parametrize("budget_us", [1, 50])
async def test_wait_returns_when_a_request_comes_later(pipe: tuple[int, int], budget_us: int) -> None:
    reader = PollingTrio(budget_us)
    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(reader.wait_readable, pipe[0])
            await trio.sleep(0.05)
            os.write(pipe[1], b"x")


async def test_others_have_their_turn_while_requests_never_end(pipe: tuple[int, int]) -> None:
    reader = PollingTrio(50)
    os.write(pipe[1], b"always readable")
    turns = 0

    async def other() -> None:
        nonlocal turns
        while True:
            await trio.lowlevel.checkpoint()
            turns += 1

    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(other)
            while turns < 20:
                await reader.wait_readable(pipe[0])
            nursery.cancel_scope.cancel()


async def test_closed_reader_ends_the_next_wait(pipe: tuple[int, int]) -> None:
    reader = PollingTrio(50)
    os.write(pipe[1], b"x")
    reader.close()
    with pytest.raises(trio.ClosedResourceError):
        await reader.wait_readable(pipe[0])


async def test_wait_ends_when_the_file_is_about_to_be_closed(pipe: tuple[int, int]) -> None:
    reader = PollingTrio(50)
    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:

            async def wait() -> None:
                with pytest.raises(trio.ClosedResourceError):
                    await reader.wait_readable(pipe[0])

            nursery.start_soon(wait)
            await wait_all_tasks_blocked()
            reader.lowlevel.notify_closing(pipe[0])


def test_signal_is_not_taken_for_a_request(pipe: tuple[int, int]) -> None:
    seen: list[int] = []
    before = signal.signal(signal.SIGALRM, lambda number, _: seen.append(number))
    try:
        for _ in range(50):
            signal.setitimer(signal.ITIMER_REAL, 0.0005)
            assert not wait_for_events(pipe[0], 2_000_000)
    finally:
        signal.signal(signal.SIGALRM, before)
    assert len(seen) == 50


async def test_end_of_the_session_is_told_without_the_companion() -> None:
    ends: list[str] = []
    reader = PollingTrio(50, session_ended=lambda: ends.append("ended"))
    other_end, given_up = os.pipe()  # its writing end has an error when nobody can read, as /dev/fuse has at the end
    os.set_blocking(given_up, False)
    os.write(given_up, bytes(1 << 16))
    try:
        with trio.fail_after(10):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(reader.wait_readable, given_up)
                await wait_all_tasks_blocked()
                assert not ends
                os.close(other_end)
    finally:
        os.close(given_up)
    assert ends == ["ended"]


async def test_devices_are_helped_after_a_request_that_waits_until_they_need_none(pipe: tuple[int, int]) -> None:
    work = [4]

    def help_devices() -> bool:
        work[0] -= 1
        return work[0] > 0

    reader = PollingTrio(50, help_devices=help_devices)
    os.write(pipe[1], b"x")
    with trio.fail_after(10):
        await reader.wait_readable(pipe[0])
        assert work == [3], "helped once, in the turn before the request"
        os.read(pipe[0], 1)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(reader.wait_readable, pipe[0])
            await wait_all_tasks_blocked()
            assert work[0] <= 0
            os.write(pipe[1], b"x")


async def test_devices_are_helped_however_many_requests_wait(pipe: tuple[int, int]) -> None:
    helped: list[bool] = []
    reader = PollingTrio(50, answer_some=lambda _, __: True, help_devices=lambda: helped.append(True) or False)
    with trio.fail_after(10):
        while len(helped) < 3:
            await reader.wait_readable(pipe[0])


async def test_others_have_their_turn_while_devices_are_helped(pipe: tuple[int, int]) -> None:
    reader = PollingTrio(50, help_devices=lambda: True)
    os.write(pipe[1], b"x")
    with trio.fail_after(10):
        await reader.wait_readable(pipe[0])
        os.read(pipe[0], 1)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(reader.wait_readable, pipe[0])
            await trio.sleep(0.01)
            os.write(pipe[1], b"x")


async def test_companion_is_asked_before_pyfuse3_sees_a_request(pipe: tuple[int, int]) -> None:
    answers = iter([None, None, True])
    reader = PollingTrio(50, answer_some=lambda _ends_ns, _spin_ns: next(answers))
    with trio.fail_after(10):
        await reader.wait_readable(pipe[0])
    assert next(answers, "none left") == "none left"
