"""Devices under threads that stand for receivers, each with a channel of its own and without the GIL."""

import os
import random
import zlib
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import lru_cache, partial
from pathlib import Path

import pytest
import trio
from reads import read_back

from zramfs.backends.registry import load_backend
from zramfs.block.closed_loop import Loop
from zramfs.block.request import Request
from zramfs.codec.run import FunctionCodec, PageCodec
from zramfs.contracts import Backend, BackendParams
from zramfs.device.device import ZramDevice
from zramfs.device.recompression import Recompression
from zramfs.device.writeback import Selection
from zramfs.errors import DeviceBusy, PastTheEnd
from zramfs.units import BytesLike

PAGE = 4096
PAGES = 48

OpenDevice = Callable[..., AbstractAsyncContextManager[ZramDevice]]

ACCELERATORS = [
    "none",
    "ideal",
    "ideal,queue_depth=16,polled_run_pages=0",
    "poc,queue_depth=3,page_ns=1000,when_full=wait",
]


class Zlib(Backend):
    """Python's, and so for the event loop's thread only."""

    name = "zlib"

    def create_context(self, params: BackendParams) -> PageCodec:
        del params
        return FunctionCodec(zlib.compress, zlib.decompress)


def do(device: ZramDevice, channel: int, operation: str, offset: int, data: BytesLike | None = None) -> int:
    """Do a request on a thread of one's own."""
    request = Request(operation, offset, data, size_bytes=PAGE, channel=channel, is_async=bool(offset & PAGE))
    request.submit(device.disk)
    request.wait()
    return request.result()


async def together(*works: Callable[[], None]) -> None:
    """Run each on a thread of its own, while the event loop goes on."""
    async with trio.open_nursery() as nursery:
        for work in works:
            nursery.start_soon(trio.to_thread.run_sync, work)


@lru_cache(1 << 14)  # of the writer, and of whoever reads it
def page_of(page: int, writer: int) -> bytes:
    return b"".join(b"page %3d writer %5d line %3d;" % (page, writer, line) for line in range(160))[:PAGE]


def assert_is_whole(page: int, contents: bytes) -> None:
    """Check that a page is all zeros, or one that a single writer wrote."""
    if contents != bytes(PAGE):
        assert contents == page_of(page, int(contents[16:21])), f"page {page} is torn"


async def assert_nothing_is_left(device: ZramDevice) -> None:
    assert device.disk.in_flight == 0
    assert device.statistics.streams().inflight == 0
    await device.punch(0, device.disksize)
    statistics = device.statistics.mm_stat()
    assert (statistics.orig_data_size, statistics.compr_data_size, statistics.mem_used_total) == (0, 0, 0)
    assert (statistics.same_pages, statistics.huge_pages) == (0, 0)


@pytest.mark.parametrize("accelerator", ACCELERATORS)
@pytest.mark.parametrize("threads", [2, 4])
async def test_overlapping_writes_of_pages_and_of_parts(
    open_device: OpenDevice, threads: int, accelerator: str
) -> None:
    """Pages of even numbers are written whole, those between in parts, where each thread has its own."""

    def write(channel: int) -> None:
        chance = random.Random(channel)
        for number in range(200):
            page = chance.randrange(0, PAGES, 2)
            pages = min(chance.choice([1, 1, 1, 9]), PAGES - page)
            data = b"".join(page_of(each, channel * 1000 + number) for each in range(page, page + pages, 2))
            for place in range(0, len(data), PAGE):
                do(device, channel, "write", (page + place // PAGE * 2) * PAGE, data[place : place + PAGE])
            odd = chance.randrange(1, PAGES, 2)
            do(device, channel, "write", odd * PAGE + channel * 100, b"thread %d of %d" % (channel, threads))
            out = bytearray(PAGE)
            do(device, channel, "read", page * PAGE, out)
            assert_is_whole(page, bytes(out))

    async with open_device(PAGES, accelerator=accelerator, receivers=threads, crew=1) as device:
        await together(*(partial(write, channel) for channel in range(1, threads + 1)))
        for page in range(0, PAGES, 2):
            assert_is_whole(page, await read_back(device, page * PAGE, PAGE))
        patched = 0
        for page in range(1, PAGES, 2):
            contents = await read_back(device, page * PAGE, PAGE)
            expected = bytearray(PAGE)
            for channel in range(1, threads + 1):
                part = b"thread %d of %d" % (channel, threads)
                if contents[channel * 100]:
                    expected[channel * 100 : channel * 100 + len(part)] = part
                    patched += 1
            assert contents == expected
        assert patched > threads * PAGES // 4
        await assert_nothing_is_left(device)


@pytest.mark.parametrize("threads", [2, 4])
async def test_large_overlapping_writes_tear_no_page(open_device: OpenDevice, threads: int) -> None:
    accelerator = "ideal,queue_depth=64,polled_run_pages=0"
    async with open_device(400, accelerator=accelerator, receivers=threads, crew=1) as device:
        loops = [
            Loop(device.disk, channel, "mixed", pages=400, size_pages=100, is_async=bool(channel % 2), verifies=True)
            for channel in range(1, threads + 1)
        ]
        await together(*(partial(loop.run, 60) for loop in loops))
        assert [(loop.done, loop.errors, loop.torn_pages) for loop in loops] == [(60, 0, 0)] * threads
        await assert_nothing_is_left(device)


@pytest.mark.parametrize("accelerator", ACCELERATORS)
@pytest.mark.parametrize("threads", [2, 4])
async def test_discards_reads_and_writes_of_the_same_pages(
    open_device: OpenDevice, threads: int, accelerator: str
) -> None:
    async with open_device(8, accelerator=accelerator, receivers=threads) as device:
        loops = [
            Loop(device.disk, channel, "mixed", pages=8, is_async=bool(channel % 2), verifies=True, seed=channel)
            for channel in range(1, threads + 1)
        ]
        await together(*(partial(loop.run, 2000) for loop in loops))
        assert [(loop.done, loop.errors, loop.torn_pages) for loop in loops] == [(2000, 0, 0)] * threads
        counts = device.statistics.request_counts()
        assert counts.read.ios + counts.write.ios + counts.discard.ios == 2000 * threads
        await assert_nothing_is_left(device)


@asynccontextmanager
async def kept_up(device: ZramDevice) -> AsyncIterator[set[str]]:
    """Compact, mark, recompress and write back again and again meanwhile; the set has the flags that pages had."""
    seen: set[str] = set()

    async def keep_up() -> None:
        while True:
            await device.upkeep.compact()
            await device.upkeep.mark_idle()
            await device.upkeep.recompress(Recompression(first_priority=1, end_priority=2, most_pages=50))
            seen.update("".join(line.split()[2] for line in "".join(device.upkeep.block_state()).splitlines()))
            await device.upkeep.write_back([Selection(0, PAGES // 2, idle=True), Selection(PAGES // 2, PAGES // 2 + 4)])
            seen.update("".join(line.split()[2] for line in "".join(device.upkeep.block_state()).splitlines()))
            await trio.lowlevel.checkpoint()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(keep_up)
        yield seen
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize(
    ("secondary", "requests", "compressed"), [("zstd", 1000, False), ("zstd", 1000, True), ("zlib", 600, True)]
)
@pytest.mark.parametrize("threads", [2, 4])
async def test_upkeep_beside_requests_loses_and_tears_nothing(
    open_device: OpenDevice, tmp_path: Path, threads: int, secondary: str, requests: int, *, compressed: bool
) -> None:
    """Where an algorithm is Python's, all requests go through the event loop, and upkeep is beside other tasks only.

    Objects are written back as they are, or as pages.
    """
    backing = tmp_path / "backing"
    backing.write_bytes(bytes(PAGES * PAGE))
    algorithm = Zlib() if secondary == "zlib" else load_backend(secondary)
    written: list[dict[int, int]] = []

    def use(channel: int) -> None:
        """Each thread has pages of its own to remember, and others that it shares."""
        chance = random.Random(channel)
        own: dict[int, int] = {}
        for number in range(requests):
            page = chance.randrange(PAGES)
            is_own = page % (threads + 1) == channel
            match chance.choice(["write", "read", "punch"]):
                case "write" if is_own or page % (threads + 1) == 0:
                    do(device, channel, "write", page * PAGE, page_of(page, channel * 10_000 + number))
                    own.update({page: channel * 10_000 + number} if is_own else {})
                case "punch" if page % (threads + 1) == 0:
                    do(device, channel, "punch", page * PAGE)
                case _:
                    out = bytearray(PAGE)
                    do(device, channel, "read", page * PAGE, out)
                    assert_is_whole(page, bytes(out))
                    assert page not in own or out == page_of(page, own[page])
        written.append(own)

    async with open_device(
        PAGES,
        receivers=threads,
        crew=1,
        accelerator="ideal",
        backing=backing,
        secondaries={1: algorithm},
        compressed_writeback=compressed,
    ) as device:
        async with kept_up(device) as seen:
            await together(*(partial(use, channel) for channel in range(1, threads + 1)))
            with trio.fail_after(20):  # a loaded machine may have left upkeep little of the time
                while not seen >= {"r", "w", "i"}:  # noqa: ASYNC110 - upkeep tells nobody
                    await trio.sleep(0.01)
        for own in written:
            for page, writer in own.items():
                assert await read_back(device, page * PAGE, PAGE) == page_of(page, writer)
        assert len(written) == threads
        await assert_nothing_is_left(device)
        assert device.writeback.statistics().bd_count == 0


@pytest.mark.parametrize("compressed", [False, True])
async def test_parts_of_pages_in_the_backing_device_are_patched_by_several_threads(
    open_device: OpenDevice, tmp_path: Path, compressible_pages: Callable[..., bytes], *, compressed: bool
) -> None:
    threads = 4
    backing = tmp_path / "backing"
    backing.write_bytes(bytes(PAGES * PAGE))
    expected = bytearray(compressible_pages(PAGES // 2) + os.urandom(PAGES // 2 * PAGE))

    def patch(channel: int) -> None:
        for page in range(PAGES):
            do(device, channel, "write", page * PAGE + channel * 500, b"%d" % channel * 100)

    async with open_device(PAGES, receivers=threads, backing=backing, compressed_writeback=compressed) as device:
        await device.write(0, expected)
        await device.upkeep.write_back([Selection(0, PAGES)])
        assert device.writeback.statistics().bd_count == PAGES
        await together(*(partial(patch, channel) for channel in range(1, threads + 1)))
        for page in range(PAGES):
            for channel in range(1, threads + 1):
                place = page * PAGE + channel * 500
                expected[place : place + 100] = b"%d" % channel * 100
        assert await read_back(device, 0, PAGES * PAGE) == expected
        assert device.writeback.statistics().bd_count == 0


async def test_reset_is_refused_under_load_and_disturbs_nothing(open_device: OpenDevice) -> None:
    async with open_device(PAGES, receivers=2) as device:
        loops = [Loop(device.disk, channel, "mixed", pages=PAGES, verifies=True) for channel in (1, 2)]
        device.open()
        async with trio.open_nursery() as nursery:

            async def try_to_reset() -> None:
                while True:
                    with pytest.raises(DeviceBusy):
                        device.reset()
                    await trio.lowlevel.checkpoint()

            nursery.start_soon(try_to_reset)
            await together(*(partial(loop.run, 3000) for loop in loops))
            nursery.cancel_scope.cancel()
        assert [(loop.errors, loop.torn_pages) for loop in loops] == [(0, 0)] * 2
        device.release()
        device.reset()
        assert device.statistics.request_counts().write.ios == 0


async def test_reset_waits_for_no_request_and_none_gets_into_what_it_takes_away(open_device: OpenDevice) -> None:
    """Nobody has the device open here, so that it may be reset between two requests."""
    resets = 0
    outcomes = {"stored": 0, "refused": 0}
    is_over = False

    def write(channel: int) -> None:
        while not is_over:
            try:
                do(device, channel, "write", channel * PAGE, page_of(channel, channel))
                outcomes["stored"] += 1
            except PastTheEnd:
                outcomes["refused"] += 1

    async with open_device(PAGES, receivers=2) as device:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(together, partial(write, 1), partial(write, 2))
            with trio.move_on_after(20):
                while resets < 30:
                    try:
                        device.reset()
                    except DeviceBusy:
                        pass
                    else:
                        resets += 1
                        device.initialise(PAGES * PAGE)
                    await trio.sleep(0.001)
            is_over = True
        assert resets > 0
        assert outcomes["stored"] > 0
        await assert_nothing_is_left(device)


@pytest.mark.parametrize("threads", [2, 4])
async def test_codecs_in_python_serve_all_threads_on_the_event_loop(open_device: OpenDevice, threads: int) -> None:
    async with open_device(PAGES, backend=Zlib(), accelerator=None, receivers=threads, crew=1) as device:
        loops = [
            Loop(device.disk, channel, "mixed", pages=PAGES, size_pages=20, verifies=True, seed=channel)
            for channel in range(1, threads + 1)
        ]
        await together(*(partial(loop.run, 50) for loop in loops))
        assert [(loop.done, loop.errors, loop.torn_pages) for loop in loops] == [(50, 0, 0)] * threads
        await assert_nothing_is_left(device)
