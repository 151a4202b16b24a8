"""Asynchronous writes: of those that managed streams have in hand nobody waits here, but their outcome is awaited."""

import random
import threading
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from functools import partial

import pytest
import trio
from reads import read
from slow import SlowLz4, on_one_cpu

from zramfs.block.request import Outcome, Request
from zramfs.contracts import StreamPolicy
from zramfs.device.device import ZramDevice
from zramfs.errors import MemoryLimitReached

PAGE = 4096

OpenDevice = Callable[..., AbstractAsyncContextManager[ZramDevice]]
Pages = Callable[..., bytes]


class Begun:
    """A write of the event loop's that has begun, and is awaited."""

    def __init__(self, device: ZramDevice, page: int, data: bytes, *, is_async: bool = True) -> None:
        self._request = Request("write", page * PAGE, data, is_async=is_async)
        self._ended = trio.Event()
        self._request.on_ended = self._ended.set
        self.outcome = self._request.submit(device.disk)

    @property
    def has_ended(self) -> bool:
        return self._request.has_ended

    def go_on(self) -> None:
        """Do all that is left for the event loop to do."""
        while self.outcome == Outcome.HAS_MORE:
            self.outcome = self._request.go_on()

    async def wait(self) -> int:
        """How many bytes were written, or the error."""
        self.go_on()
        with trio.fail_after(30):
            if not self._request.has_ended:
                await self._ended.wait()
        return self._request.result()


@pytest.mark.parametrize("accelerator", ["none", "ideal", "poc", "qpace", "qpace,queue_depth=3", "iaa"])
@pytest.mark.parametrize("pages", [1, 2, 31])
async def test_write_is_stored_when_it_has_ended(
    open_device: OpenDevice, compressible_pages: Pages, accelerator: str, pages: int
) -> None:
    source = compressible_pages(pages)
    async with open_device(64, accelerator=accelerator) as device:
        assert await Begun(device, 5, source).wait() == len(source)
        assert read(device, 5 * PAGE, len(source)) == source
        assert device.disk.in_flight == 0


async def test_write_has_not_ended_before_its_accelerator(open_device: OpenDevice, compressible_pages: Pages) -> None:
    async with open_device(8, accelerator="qpace,page_ns=5000000") as device:
        write = Begun(device, 0, compressible_pages(2))
        write.go_on()
        assert write.outcome == Outcome.BEGUN
        assert not write.has_ended
        assert device.disk.in_flight == 1
        assert read(device, 0, PAGE) == bytes(PAGE)
        await write.wait()


async def test_writes_that_wait_for_descriptors_are_all_done_in_their_order(
    open_device: OpenDevice, compressible_pages: Pages
) -> None:
    async with open_device(64, accelerator="poc,queue_depth=1,page_ns=1000,engines=1,when_full=wait") as device:
        source = compressible_pages(20)
        writes = [Begun(device, page, source[page * PAGE : (page + 1) * PAGE]) for page in range(20)]
        for write in writes:
            write.go_on()
        while not writes[-1].has_ended:
            ended = [write.has_ended for write in writes]
            assert ended == sorted(ended, reverse=True)
            await trio.lowlevel.checkpoint()
        assert read(device, 0, 20 * PAGE) == source
        statistics = device.statistics.streams()
        assert (statistics.managed_pages, statistics.fallback_pages) == (20, 0)


async def test_waiting_writes_go_on_when_they_want_no_managed_stream_any_more(
    open_device: OpenDevice, compressible_pages: Pages
) -> None:
    source = compressible_pages(8)
    async with open_device(8, accelerator="poc,queue_depth=1,page_ns=1000000,engines=1,when_full=wait") as device:
        writes = [Begun(device, page, source[page * PAGE : (page + 1) * PAGE]) for page in range(8)]
        for write in writes:
            write.go_on()
        device.settings.set_policy(StreamPolicy.PERCPU)
        for write in writes:
            await write.wait()
        assert read(device, 0, 8 * PAGE) == source
        assert device.statistics.streams().percpu_pages > 0


@pytest.mark.parametrize("when_full", ["wait", "fallback"])
async def test_write_that_finds_the_queue_full_waits_or_falls_back(
    open_device: OpenDevice, compressible_pages: Pages, when_full: str
) -> None:
    source = compressible_pages(30)
    async with open_device(64, accelerator=f"poc,queue_depth=4,page_ns=1000,when_full={when_full}") as device:
        await Begun(device, 0, source).wait()
        assert read(device, 0, len(source)) == source
        statistics = device.statistics.streams()
        assert statistics.managed_pages + statistics.fallback_pages == 30
        assert (statistics.fallback_pages == 0) is (when_full == "wait")


async def test_waiting_writes_are_done_in_software_when_the_device_goes(
    open_device: OpenDevice, compressible_pages: Pages
) -> None:
    source = compressible_pages(20)
    async with open_device(
        32, accelerator="poc,queue_depth=2,page_ns=1000000000,when_full=wait,timeout_us=60000000"
    ) as device:
        writes = [Begun(device, page, source[page * PAGE : (page + 1) * PAGE]) for page in range(20)]
        for write in writes:
            write.go_on()
        assert device.settings.accelerator is not None
        device.settings.accelerator.set("state", "offline")
        for write in writes:
            assert await write.wait() == PAGE
        assert read(device, 0, 20 * PAGE) == source
        assert device.statistics.streams().fallback_pages == 18


async def test_write_over_the_memory_limit_fails_once_with_its_error(open_device: OpenDevice) -> None:
    noise = random.Random(1).randbytes(32 * PAGE)
    async with open_device(64, accelerator="qpace", mem_limit_pages=8) as device:
        with pytest.raises(MemoryLimitReached):
            await Begun(device, 0, noise).wait()
        assert device.statistics.io_stat().failed_writes == 1
        assert device.disk.in_flight == 0
        assert device.statistics.streams().inflight == 0


async def test_write_that_a_slow_codec_would_take_long_for_leaves_turns_to_others(
    open_device: OpenDevice, compressible_pages: Pages
) -> None:
    source = compressible_pages(8)
    async with open_device(64, accelerator="none", backend=SlowLz4()) as device:
        with on_one_cpu():
            assert Begun(device, 0, source).has_ended  # nobody knows yet
            assert Begun(device, 16, source[:PAGE]).has_ended
            write = Begun(device, 24, source)
            turns = 0
            while write.outcome == Outcome.HAS_MORE:
                write.outcome = write._request.go_on()
                turns += 1
        assert write.has_ended
        assert turns >= 1
        assert read(device, 0, 8 * PAGE) == read(device, 24 * PAGE, 8 * PAGE) == source


async def test_small_write_passes_large_ones(open_device: OpenDevice, compressible_pages: Pages) -> None:
    source = compressible_pages(256)
    async with open_device(512, accelerator="none") as device:
        large = Begun(device, 0, source)
        assert large.outcome == Outcome.HAS_MORE
        assert Begun(device, 300, source[:PAGE]).has_ended
        assert not large.has_ended
        await large.wait()
        assert read(device, 0, len(source)) == source


@pytest.mark.parametrize("is_async", [True, False])
async def test_large_writes_at_once_are_all_stored(
    open_device: OpenDevice, compressible_pages: Pages, *, is_async: bool
) -> None:
    source = compressible_pages(256)
    async with open_device(1024, accelerator="poc,queue_depth=32") as device:
        async with trio.open_nursery() as nursery:
            for first in range(0, 1024, 256):
                nursery.start_soon(partial(device.write, first * PAGE, source, is_async=is_async))
        assert read(device, 0, 1024 * PAGE) == 4 * source


async def test_stalled_large_writes_go_on_when_descriptors_are_free_again(
    open_device: OpenDevice, compressible_pages: Pages
) -> None:
    source = compressible_pages(256)
    accelerator = "poc,queue_depth=8,page_ns=2000,when_full=wait"
    async with open_device(1024, accelerator=accelerator) as device:
        writes = [Begun(device, page, source) for page in range(0, 1024, 256)]
        for write in writes:
            assert await write.wait() == len(source)
        assert read(device, 0, 1024 * PAGE) == 4 * source
        statistics = device.statistics.streams()
        assert (statistics.managed_pages, statistics.fallback_pages) == (1024, 0)


async def test_stalled_large_writes_are_done_in_software_when_the_device_goes(
    open_device: OpenDevice, compressible_pages: Pages
) -> None:
    source = compressible_pages(256)
    accelerator = "poc,queue_depth=8,page_ns=1000000000,when_full=wait,timeout_us=60000000"
    async with open_device(1024, accelerator=accelerator) as device:
        writes = [Begun(device, page, source) for page in range(0, 1024, 256)]
        for write in writes:
            write.go_on()
            assert write.outcome == Outcome.BEGUN
        assert device.settings.accelerator is not None
        device.settings.accelerator.set("state", "offline")
        for write in writes:
            assert await write.wait() == len(source)
        assert read(device, 0, 1024 * PAGE) == 4 * source
        assert device.statistics.streams().fallback_pages == 1024 - 8


async def test_large_write_over_the_memory_limit_fails_once_and_lets_the_next_one_pass(
    open_device: OpenDevice,
) -> None:
    noise = random.Random(2).randbytes(256 * PAGE)
    async with open_device(512, accelerator="qpace", mem_limit_pages=8) as device:
        failing, passing = Begun(device, 0, noise), Begun(device, 256, bytes(256 * PAGE))
        with pytest.raises(MemoryLimitReached):
            await failing.wait()
        assert await passing.wait() == 256 * PAGE
        assert device.statistics.io_stat().failed_writes == 1
        assert device.statistics.streams().inflight == 0


async def test_cancelled_large_write_is_stored_all_the_same(open_device: OpenDevice, compressible_pages: Pages) -> None:
    source = compressible_pages(256)
    async with open_device(256) as device:
        with trio.CancelScope() as scope:
            scope.cancel()
            await device.write(0, source, is_async=True)
        assert read(device, 0, len(source)) == source
        assert device.disk.in_flight == 0


async def test_offline_device_still_takes_every_page(open_device: OpenDevice, compressible_pages: Pages) -> None:
    source = compressible_pages(6)
    before = threading.active_count()
    async with open_device(16, accelerator="poc,when_full=wait") as device:
        assert device.settings.accelerator is not None
        device.settings.accelerator.set("state", "offline")
        assert await Begun(device, 0, source).wait() == len(source)
        assert read(device, 0, len(source)) == source
    assert threading.active_count() == before
