import random
import threading
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

import pytest
import trio
from reads import read
from slow import SlowLz4, on_one_cpu
from trio.testing import wait_all_tasks_blocked

from zramfs.bio import WriteBio
from zramfs.device.device import ZramDevice
from zramfs.device.page_store import PageStore
from zramfs.device.page_write import PageWrite, can_write_later, write_later
from zramfs.errors import MemoryLimitReached

PAGE = 4096

OpenDevice = Callable[..., AbstractAsyncContextManager[ZramDevice]]
Pages = Callable[..., bytes]


class Outcome:
    """What `on_done` was told, and how often."""

    def __init__(self) -> None:
        self.told: list[Exception | None] = []
        self._event = trio.Event()

    def __call__(self, failure: Exception | None) -> None:
        self.told.append(failure)
        self._event.set()

    async def wait(self) -> Exception | None:
        await self._event.wait()
        assert len(self.told) == 1
        return self.told[0]


def store_of(device: ZramDevice) -> PageStore:
    assert device.store is not None
    return device.store


def bio(page: int, data: bytes) -> WriteBio:
    return WriteBio(page * PAGE, data, True)  # noqa: FBT003 - is_async


def begin(device: ZramDevice, page: int, data: bytes) -> Outcome:
    outcome = Outcome()
    write_later(store_of(device), bio(page, data), outcome)
    return outcome


def begin_large_ones(device: ZramDevice, source: bytes) -> list[Outcome]:
    return [begin(device, page, source) for page in range(0, 1024, len(source) // PAGE)]


async def assert_large_ones_are_stored(device: ZramDevice, source: bytes, outcomes: list[Outcome]) -> None:
    for outcome in outcomes:
        assert await outcome.wait() is None
    assert read(device, 0, 1024 * PAGE) == len(outcomes) * source


@pytest.mark.parametrize(
    ("offset", "size", "can"),
    [(0, PAGE, True), (PAGE, 32 * PAGE, True), (0, 256 * PAGE, True), (1, PAGE, False), (0, PAGE - 1, False)],
)
def test_later_write_is_whole_pages(offset: int, size: int, *, can: bool) -> None:
    assert can_write_later(offset, size) is can


@pytest.mark.parametrize("accelerator", ["none", "ideal", "poc", "qpace", "qpace,queue_depth=3", "iaa"])
@pytest.mark.parametrize("pages", [1, 2, 31])
async def test_later_write_is_stored_when_it_is_done(
    open_device: OpenDevice, compressible_pages: Pages, accelerator: str, pages: int
) -> None:
    source = compressible_pages(pages)
    async with open_device(64, accelerator=accelerator) as device:
        assert await begin(device, 5, source).wait() is None
        assert read(device, 5 * PAGE, len(source)) == source
        assert device.accounting.in_flight == 0


async def test_later_write_is_not_done_before_its_device(open_device: OpenDevice, compressible_pages: Pages) -> None:
    async with open_device(8, accelerator="qpace,page_ns=5000000") as device:
        outcome = begin(device, 0, compressible_pages(2))
        assert outcome.told == []
        assert device.accounting.in_flight == 1
        assert read(device, 0, PAGE) == bytes(PAGE)
        await outcome.wait()


async def test_later_writes_that_wait_for_descriptors_are_all_done_in_their_order(
    open_device: OpenDevice, compressible_pages: Pages
) -> None:
    done: list[int] = []
    async with open_device(64, accelerator="poc,queue_depth=1,page_ns=1000,engines=1,when_full=wait") as device:
        source = compressible_pages(20)
        for page in range(20):
            data = source[page * PAGE : (page + 1) * PAGE]
            write_later(store_of(device), bio(page, data), lambda _, page=page: done.append(page))
        while len(done) < 20:
            await trio.lowlevel.checkpoint()
        assert done == list(range(20))
        assert read(device, 0, 20 * PAGE) == source
        statistics = device.stream_statistics()
        assert (statistics.managed_pages, statistics.fallback_pages) == (20, 0)


@pytest.mark.parametrize("when_full", ["wait", "fallback"])
async def test_write_that_finds_the_queue_full_waits_or_falls_back(
    open_device: OpenDevice, compressible_pages: Pages, when_full: str
) -> None:
    source = compressible_pages(30)
    async with open_device(64, accelerator=f"poc,queue_depth=4,page_ns=1000,when_full={when_full}") as device:
        assert await begin(device, 0, source).wait() is None
        assert read(device, 0, len(source)) == source
        statistics = device.stream_statistics()
        assert statistics.managed_pages + statistics.fallback_pages == 30
        assert (statistics.fallback_pages == 0) is (when_full == "wait")


async def test_task_that_waits_is_not_overtaken_by_those_that_came_after_it(
    open_device: OpenDevice, compressible_pages: Pages
) -> None:
    """Large writes have a task, small ones have none: who came first is served first all the same."""
    source = compressible_pages(1)
    large_is_stored: list[bool] = []
    async with open_device(64, accelerator="poc,queue_depth=1,page_ns=1000,when_full=wait,engines=1") as device:

        def note(_: Exception | None) -> None:
            large_is_stored.append(read(device, 0, PAGE) == source)

        begin(device, 50, source)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(device.write, bio(0, source))
            await wait_all_tasks_blocked()
            for page in range(10):
                write_later(store_of(device), bio(10 + page, source), note)
        while len(large_is_stored) < 10:
            await trio.lowlevel.checkpoint()
        assert all(large_is_stored)


async def test_waiting_writes_are_done_in_software_when_the_device_goes(
    open_device: OpenDevice, compressible_pages: Pages
) -> None:
    source = compressible_pages(20)
    async with open_device(
        32, accelerator="poc,queue_depth=2,page_ns=1000000000,when_full=wait,timeout_us=60000000"
    ) as device:
        outcomes = [begin(device, page, source[page * PAGE : (page + 1) * PAGE]) for page in range(20)]
        assert device.accelerator is not None
        device.accelerator.set("state", "offline")
        for outcome in outcomes:
            assert await outcome.wait() is None
        assert read(device, 0, 20 * PAGE) == source
        assert device.stream_statistics().fallback_pages == 18


async def test_write_over_the_memory_limit_fails_once_with_its_error(open_device: OpenDevice) -> None:
    noise = random.Random(1).randbytes(32 * PAGE)
    async with open_device(64, accelerator="qpace", mem_limit_pages=8) as device:
        failure = await begin(device, 0, noise).wait()
        assert isinstance(failure, MemoryLimitReached)
        assert device.io_stat().failed_writes == 1
        assert device.accounting.in_flight == 0
        assert device.stream_statistics().inflight == 0


async def test_bio_that_a_slow_codec_would_take_long_for_leaves_turns_to_others(
    open_device: OpenDevice, compressible_pages: Pages
) -> None:
    source = compressible_pages(8)
    async with open_device(64, accelerator="none", backend=SlowLz4()) as device:
        store = store_of(device)
        with on_one_cpu():
            assert store.write_nowait(bio(0, source))  # nobody knows yet
            assert not store.write_nowait(bio(8, source))
            assert store.write_nowait(bio(16, source[:PAGE]))
            outcome = begin(device, 24, source)
            turns = 0
            while not outcome.told:
                turns += device.help()
        assert outcome.told == [None]
        assert turns >= 4
        assert read(device, 0, 8 * PAGE) == read(device, 24 * PAGE, 8 * PAGE) == source
        assert read(device, 8 * PAGE, 8 * PAGE) == bytes(8 * PAGE)


async def test_large_later_writes_wait_for_somebody_to_help(open_device: OpenDevice, compressible_pages: Pages) -> None:
    source = compressible_pages(256)
    async with open_device(512, accelerator="none") as device:
        await wait_all_tasks_blocked()
        outcomes = [begin(device, first, source) for first in (0, 256)]
        await trio.lowlevel.checkpoint()
        assert [outcome.told for outcome in outcomes] == [[], []]
        while device.help():
            assert outcomes[0].told or not outcomes[1].told, "first come, first served"
        assert [outcome.told for outcome in outcomes] == [[None], [None]]
        assert read(device, 0, 512 * PAGE) == 2 * source


async def test_small_write_passes_large_ones(open_device: OpenDevice, compressible_pages: Pages) -> None:
    source = compressible_pages(256)
    async with open_device(512, accelerator="none") as device:
        await wait_all_tasks_blocked()
        large = begin(device, 0, source)
        assert device.help()
        assert await begin(device, 300, source[:PAGE]).wait() is None
        assert large.told == []
        while device.help():
            pass
        assert large.told == [None]


@pytest.mark.parametrize("is_async", [True, False])
async def test_large_writes_that_somebody_waits_for_need_no_help(
    open_device: OpenDevice, compressible_pages: Pages, *, is_async: bool
) -> None:
    source = compressible_pages(256)
    async with open_device(1024, accelerator="poc,queue_depth=32") as device:
        async with trio.open_nursery() as nursery:
            for first in range(0, 1024, 256):
                nursery.start_soon(device.write, WriteBio(first * PAGE, source, is_async))
        assert read(device, 0, 1024 * PAGE) == 4 * source


async def test_stalled_large_writes_need_no_help_when_descriptors_are_free_again(
    open_device: OpenDevice, compressible_pages: Pages
) -> None:
    """Whoever calls `help` may sleep by then: there is nothing to do until the device signals."""
    source = compressible_pages(256)
    accelerator = "poc,queue_depth=8,page_ns=2000,when_full=wait"
    async with open_device(1024, accelerator=accelerator) as device:
        outcomes = begin_large_ones(device, source)
        device.help()
        await assert_large_ones_are_stored(device, source, outcomes)
        statistics = device.stream_statistics()
        assert (statistics.managed_pages, statistics.fallback_pages) == (1024, 0)


async def test_stalled_large_writes_are_done_in_software_when_the_device_goes(
    open_device: OpenDevice, compressible_pages: Pages
) -> None:
    source = compressible_pages(256)
    accelerator = "poc,queue_depth=8,page_ns=1000000000,when_full=wait,timeout_us=60000000"
    async with open_device(1024, accelerator=accelerator) as device:
        outcomes = begin_large_ones(device, source)
        while device.help():
            pass
        assert device.accelerator is not None
        device.accelerator.set("state", "offline")
        await assert_large_ones_are_stored(device, source, outcomes)
        assert device.stream_statistics().fallback_pages == 1024 - 8


async def test_large_write_over_the_memory_limit_fails_once_and_lets_the_next_one_pass(
    open_device: OpenDevice,
) -> None:
    noise = random.Random(2).randbytes(256 * PAGE)
    async with open_device(512, accelerator="qpace", mem_limit_pages=8) as device:
        outcomes = [begin(device, 0, noise), begin(device, 256, bytes(256 * PAGE))]
        while not all(outcome.told for outcome in outcomes):
            device.help()
            await trio.lowlevel.checkpoint()
        assert isinstance(outcomes[0].told[0], MemoryLimitReached)
        assert outcomes[1].told == [None]
        assert device.io_stat().failed_writes == 1
        assert device.stream_statistics().inflight == 0


async def test_cancelled_large_write_is_stored_all_the_same(open_device: OpenDevice, compressible_pages: Pages) -> None:
    source = compressible_pages(256)
    async with open_device(256) as device:
        with trio.CancelScope() as scope:
            scope.cancel()
            await device.write(bio(0, source))
        assert read(device, 0, len(source)) == source
        assert device.accounting.in_flight == 0


async def test_write_that_is_closed_early_is_done_with_what_it_submitted(
    open_device: OpenDevice, compressible_pages: Pages
) -> None:
    source = compressible_pages(9)
    outcome = Outcome()
    async with open_device(16, accelerator="qpace,queue_depth=4") as device:
        write = PageWrite(store_of(device), source, offset_bytes=0, page=0, pages=9, is_async=True, on_done=outcome)
        assert write.submit_run()
        assert (write.page, write.has_more) == (4, True)
        write.close()
        assert await outcome.wait() is None
        assert read(device, 0, 9 * PAGE) == source[: 4 * PAGE] + bytes(5 * PAGE)


async def test_unserved_device_still_takes_every_page(open_device: OpenDevice, compressible_pages: Pages) -> None:
    source = compressible_pages(6)
    before = threading.active_count()
    async with open_device(16, accelerator="poc,when_full=wait") as device:
        assert device.accelerator is not None
        device.accelerator.set("state", "offline")
        assert await begin(device, 0, source).wait() is None
        assert read(device, 0, len(source)) == source
    assert threading.active_count() == before
