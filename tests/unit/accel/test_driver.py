import os
import random
import resource
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
import trio
from streams import completed
from trio.testing import wait_all_tasks_blocked

from zramfs.accel.by_hand import HeldStream, lend_hand, may_poll, take
from zramfs.accel.driver import AcceleratorDriver, EmulatedAccelerator
from zramfs.accel.profile import parse_accelerator
from zramfs.codec.lz4 import Lz4Codec
from zramfs.codec.run import FunctionCodec, PageCodec
from zramfs.errors import AcceleratorUnavailable

PAGE = 4096
NOISE = random.Random(2026).randbytes(16 * PAGE)  # the same each time: in other noise LZ4 finds a match now and then


def accelerator(text: str) -> EmulatedAccelerator:
    profile = parse_accelerator(text)
    assert profile is not None
    return EmulatedAccelerator(profile)


@asynccontextmanager
async def attached(text: str, create_context: Callable[[], PageCodec] = Lz4Codec) -> AsyncIterator[AcceleratorDriver]:
    async with trio.open_nursery() as nursery:
        driver = accelerator(text).attach(create_context)
        nursery.start_soon(driver.serve_completions)
        try:
            yield driver
        finally:
            driver.close()


def get(driver: AcceleratorDriver) -> HeldStream:
    stream = take(driver)
    assert stream is not None
    return stream


class Gate:
    """A codec whose compression waits until the gate is opened."""

    def __init__(self) -> None:
        self.opened = threading.Event()

    def create_context(self) -> PageCodec:
        return FunctionCodec(self.compress, bytes)

    def compress(self, page: bytes) -> bytes:
        assert self.opened.wait(20)
        return page[:100]


async def test_a_stream_completes_after_its_submission() -> None:
    async with attached("poc") as driver:
        stream = get(driver)
        assert stream.submit(NOISE, 0, 5) == 5
        assert not stream.is_complete
        await completed(stream)
        assert stream.is_complete
        assert stream.run.lengths() == [4114] * 5
        stream.give()


async def test_a_short_run_is_complete_at_submission() -> None:
    async with attached("ideal,polled_run_pages=2") as driver:
        stream = get(driver)
        assert may_poll(driver, 2)
        assert stream.compress(os.urandom(2 * PAGE), 0, 2) == 2
        assert stream.is_complete
        await completed(stream)
        stream.give()
        assert driver.statistics()["polled_pages"] == 2
        assert driver.statistics()["submitted_pages"] == 2


async def test_a_run_over_the_polled_length_is_not_polled() -> None:
    async with attached("ideal,polled_run_pages=2") as driver:
        assert not may_poll(driver, 3)
        stream = get(driver)
        stream.submit(os.urandom(3 * PAGE), 0, 3)
        assert not stream.is_complete
        await completed(stream)
        stream.give()
        assert driver.statistics()["polled_pages"] == 0


async def test_take_stream_is_none_while_every_descriptor_is_taken() -> None:
    gate = Gate()
    async with attached("poc,queue_depth=4", gate.create_context) as driver:
        stream = get(driver)
        assert stream.submit(os.urandom(8 * PAGE), 0, 8) == 4
        assert take(driver) is None
        assert driver.statistics()["queue_full"] == 1
        gate.opened.set()
        await completed(stream)
        assert take(driver) is None  # complete, but not put: its pages are still to be committed
        stream.give()
        assert take(driver) is not None


async def test_take_stream_is_none_when_every_stream_was_handed_out() -> None:
    async with attached("poc,queue_depth=3") as driver:
        streams = [get(driver) for _ in range(3)]
        assert take(driver) is None
        assert len({id(stream.run) for stream in streams}) == 3


async def test_take_stream_never_waits_for_a_device_that_hangs() -> None:
    gate = Gate()
    async with attached("poc,queue_depth=16", gate.create_context) as driver:
        streams = []
        while (stream := take(driver)) is not None:
            assert stream.submit(os.urandom(PAGE), 0, 1) == 1
            streams.append(stream)
        assert len(streams) == driver.stream_count == 16
        assert driver.statistics()["inflight"] == driver.statistics()["inflight_max"] == 16
        gate.opened.set()
        for stream in streams:
            await completed(stream)
            stream.give()
        assert driver.statistics()["inflight"] == 0


async def test_a_stream_that_is_complete_calls_back_at_once() -> None:
    called: list[str] = []
    async with attached("ideal") as driver:
        stream = get(driver)
        stream.compress(os.urandom(PAGE), 0, 1)
        stream.when_complete(lambda: called.append("now"))
        assert called == ["now"]
        stream.give()


async def test_polling_completes_what_is_done_without_the_server() -> None:
    async with attached("poc") as driver:
        stream = get(driver)
        stream.submit(os.urandom(3 * PAGE), 0, 3)
        while not stream.is_complete:
            driver.poll_completions()
        stream.give()


async def test_no_signal_is_lost_between_polling_and_the_server() -> None:
    async def write(driver: AcceleratorDriver, rounds: int) -> None:
        for _ in range(rounds):
            stream = take(driver)
            if stream is None:
                await trio.lowlevel.checkpoint()
                continue
            stream.submit(NOISE, 0, 1 + rounds % 9)
            driver.poll_completions()
            await completed(stream)
            stream.give()

    async with attached("poc,engines=3") as driver:
        with trio.fail_after(60):
            async with trio.open_nursery() as nursery:
                for number in range(20):
                    nursery.start_soon(write, driver, 300 + number)


async def test_every_waiter_is_woken_by_its_own_run() -> None:
    finished: list[int] = []

    async def write(driver: AcceleratorDriver, pages: int) -> None:
        stream = get(driver)
        assert stream.submit(NOISE, 0, pages) == pages
        await completed(stream)
        assert stream.run.lengths() == [4114] * pages
        finished.append(pages)
        stream.give()

    async with attached("poc,engines=2") as driver:
        async with trio.open_nursery() as nursery:
            for pages in range(1, 15):
                nursery.start_soon(write, driver, pages)
        assert sorted(finished) == list(range(1, 15))
        assert driver.queue.inflight == 0


async def test_serving_that_is_cancelled_first_completes_what_is_in_flight() -> None:
    gate = Gate()
    driver = accelerator("poc").attach(gate.create_context)
    stream = get(driver)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(driver.serve_completions)
        stream.submit(os.urandom(3 * PAGE), 0, 3)
        stream.when_complete(lambda: None)
        await wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
        with trio.CancelScope(shield=True):
            await wait_all_tasks_blocked()
        assert not stream.is_complete
        gate.opened.set()
    assert stream.is_complete
    stream.give()
    driver.close()


async def test_nobody_gets_a_stream_whose_completion_nobody_would_serve() -> None:
    driver = accelerator("poc").attach(Lz4Codec)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(driver.serve_completions)
        await wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert take(driver) is None
    driver.close()


async def test_close_ends_serving_and_the_engines() -> None:
    before = threading.active_count()
    async with attached("ideal,engines=3") as driver:
        await wait_all_tasks_blocked()
        assert threading.active_count() == before + 3
    assert threading.active_count() == before
    assert driver.queue.ring.fd == -1


async def test_close_before_serving_began_ends_it_too() -> None:
    driver = accelerator("ideal").attach(Lz4Codec)
    driver.close()
    await driver.serve_completions()


async def test_engines_of_0_are_one_for_each_cpu_beside_the_loops() -> None:
    async with attached("ideal,engines=0") as driver:
        assert driver.queue.ring.engine_count == max(1, len(os.sched_getaffinity(0)) - 1)


@pytest.mark.parametrize(("create_context", "any_thread"), [(Lz4Codec, True), (Gate().create_context, False)])
async def test_streams_are_for_any_thread_unless_the_codec_is_python(
    create_context: Callable[[], PageCodec], *, any_thread: bool
) -> None:
    async with attached("ideal", create_context) as driver:
        assert driver.any_thread is any_thread


def test_settings_are_the_numbers_in_force() -> None:
    settings = accelerator("ideal,queue_depth=7,engines=0").settings()
    assert settings["profile"] == "ideal"
    assert settings["queue_depth"] == "7"
    assert settings["workers"] == str(max(1, len(os.sched_getaffinity(0)) - 1))


@pytest.mark.parametrize("error", [OSError("no device"), MemoryError("no memory"), RuntimeError("no thread")])
def test_a_context_that_cannot_be_made_leaves_the_accelerator_unavailable(error: Exception) -> None:
    def create_context() -> PageCodec:
        raise error

    before = threading.active_count()
    with pytest.raises(AcceleratorUnavailable, match=f"accelerator poc: {error}"):
        accelerator("poc").attach(create_context)
    assert threading.active_count() == before


def test_a_thread_that_does_not_start_leaves_the_accelerator_unavailable(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    with pytest.raises(AcceleratorUnavailable, match="can't start new thread"):
        accelerator("ideal").attach(Lz4Codec)


def test_an_eventfd_that_is_refused_leaves_the_accelerator_unavailable() -> None:
    ideal = accelerator("ideal")
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, limits[1]))
    try:
        with pytest.raises(AcceleratorUnavailable, match="no eventfd"):
            ideal.attach(Lz4Codec)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)


async def test_the_deepest_queue_can_be_had() -> None:
    async with attached("ideal,queue_depth=4096") as driver:
        stream = get(driver)
        taken = stream.submit(bytes(300 * PAGE), 0, 300)
        assert taken == 256
        await completed(stream)
        stream.give()
        assert driver.stream_count == 4096


async def test_helping_completes_what_the_device_has_finished() -> None:
    async with attached("ideal,engines=1,polled_run_pages=0") as driver:
        stream = get(driver)
        stream.submit(NOISE, 0, 16)
        done: list[bool] = []
        stream.when_complete(lambda: done.append(True))
        while not done:
            lend_hand(driver)  # and never a turn for serve_completions
        stream.give()
