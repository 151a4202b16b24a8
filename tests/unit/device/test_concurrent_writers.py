"""Many writers at once: whoever is cancelled, and whatever the accelerator, no page is torn and nothing is left."""

import random
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from functools import partial

import pytest
import trio
from reads import read

from zramfs.accel.driver import EmulatedAccelerator
from zramfs.accel.profile import parse_accelerator
from zramfs.backends.lz4 import LZ4
from zramfs.block.layer import BlockLayer
from zramfs.device.device import ZramDevice
from zramfs.device.serving import BioServer
from zramfs.device.settings import DeviceConfig
from zramfs.errors import MemoryLimitReached

PAGE = 4096

OpenDevice = Callable[..., AbstractAsyncContextManager[ZramDevice]]
Pages = Callable[..., bytes]

ACCELERATORS = [
    f"{profile},queue_depth={depth},polled_run_pages={polled}"
    for profile in ("ideal", "poc")
    for depth in (1, 3, 16)
    for polled in (0, 2)
]
WHOLE_PAGES = 24


def page_of(page: int, writer: int) -> bytes:
    """Whole contents that say whose they are at every place, compressible, and not the same for two."""
    return b"".join(b"page %3d writer %5d line %3d;" % (page, writer, line) for line in range(160))[:PAGE]


def writer_of(page: int, contents: bytes) -> int | None:
    """The one writer whose page this is, None for a page never written; a torn page is an error."""
    if contents == bytes(PAGE):
        return None
    writer = int(contents[16:21])
    assert contents == page_of(page, writer), f"page {page} is torn"
    return writer


async def write_run(device: ZramDevice, writer: int, chance: random.Random) -> None:
    first = chance.randrange(WHOLE_PAGES)
    pages = chance.randint(1, min(WHOLE_PAGES - first, 9))
    data = b"".join(page_of(page, writer) for page in range(first, first + pages))
    await device.write(first * PAGE, data, is_async=chance.random() < 0.8)


def assert_no_page_is_torn(device: ZramDevice) -> list[int | None]:
    return [writer_of(page, read(device, page * PAGE, PAGE)) for page in range(WHOLE_PAGES)]


async def assert_nothing_is_left(device: ZramDevice) -> None:
    assert device.disk.in_flight == 0
    assert device.statistics.accelerator()["inflight"] == 0
    await device.punch(0, device.disksize)
    assert device.disk.table.object_count == 0
    statistics = device.statistics.mm_stat()
    assert (statistics.orig_data_size, statistics.compr_data_size, statistics.mem_used_total) == (0, 0, 0)
    assert (statistics.same_pages, statistics.huge_pages) == (0, 0)


@pytest.mark.parametrize("accelerator", ACCELERATORS)
async def test_overlapping_writers_tear_no_page(open_device: OpenDevice, accelerator: str) -> None:
    chance = random.Random(accelerator)
    async with open_device(WHOLE_PAGES, accelerator=accelerator) as device:
        async with trio.open_nursery() as nursery:
            for writer in range(150):
                nursery.start_soon(write_run, device, writer, chance)
                if chance.random() < 0.3:
                    await trio.lowlevel.checkpoint()
                    assert_no_page_is_torn(device)
        written = sum(writer is not None for writer in assert_no_page_is_torn(device))
        assert device.statistics.mm_stat().orig_data_size == written * PAGE
        assert written > WHOLE_PAGES / 2
        await assert_nothing_is_left(device)


@pytest.mark.parametrize("accelerator", ACCELERATORS)
async def test_a_write_that_returned_is_read_until_the_next(open_device: OpenDevice, accelerator: str) -> None:
    async def rewrite(device: ZramDevice, page: int) -> None:
        for writer in range(20):
            await device.write(page * PAGE, page_of(page, writer), is_async=bool((writer + page) % 3))
            assert writer_of(page, read(device, page * PAGE, PAGE)) == writer

    async with open_device(WHOLE_PAGES, accelerator=accelerator) as device:
        async with trio.open_nursery() as nursery:
            for page in range(WHOLE_PAGES):
                nursery.start_soon(rewrite, device, page)
        assert assert_no_page_is_torn(device) == [19] * WHOLE_PAGES
        await assert_nothing_is_left(device)


@pytest.mark.parametrize("accelerator", ACCELERATORS)
async def test_partial_writes_beside_managed_ones_keep_both(open_device: OpenDevice, accelerator: str) -> None:
    """Even pages are written whole; odd ones are patched, eight bytes at a time, by bios that touch them only."""

    async def patch(device: ZramDevice, page: int, mark: bytes) -> None:
        for at in range(0, PAGE, 512):
            await device.write(page * PAGE + at, mark, is_async=True)
            await trio.lowlevel.checkpoint()

    async with open_device(WHOLE_PAGES, accelerator=accelerator) as device:
        async with trio.open_nursery() as nursery:
            for page in range(0, WHOLE_PAGES, 2):
                for writer in range(5):
                    nursery.start_soon(device.write, page * PAGE, page_of(page, writer))
                    nursery.start_soon(partial(device.write, page * PAGE, page_of(page, writer), is_async=True))
                nursery.start_soon(patch, device, page + 1, b"mark %03d" % page)
        for page in range(0, WHOLE_PAGES, 2):
            assert writer_of(page, read(device, page * PAGE, PAGE)) is not None
            patched = read(device, (page + 1) * PAGE, PAGE)
            assert patched == (b"mark %03d" % page + bytes(504)) * 8
        await assert_nothing_is_left(device)


@pytest.mark.parametrize("accelerator", ACCELERATORS)
async def test_a_patch_is_never_lost_to_a_whole_write_before_it(open_device: OpenDevice, accelerator: str) -> None:
    async def write_and_patch(device: ZramDevice, page: int) -> None:
        for writer in range(10):
            await device.write(page * PAGE, page_of(page, writer), is_async=True)
            await device.write(page * PAGE + 1000, b"patched!", is_async=True)
            expected = bytearray(page_of(page, writer))
            expected[1000:1008] = b"patched!"
            assert read(device, page * PAGE, PAGE) == expected

    async with open_device(WHOLE_PAGES, accelerator=accelerator) as device:
        async with trio.open_nursery() as nursery:
            for page in range(WHOLE_PAGES):
                nursery.start_soon(write_and_patch, device, page)
        await assert_nothing_is_left(device)


@pytest.mark.parametrize("accelerator", ACCELERATORS)
async def test_cancelled_writers_tear_no_page_and_leave_nothing_behind(
    open_device: OpenDevice, accelerator: str
) -> None:
    chance = random.Random(accelerator)
    async with open_device(WHOLE_PAGES, accelerator=accelerator) as device:
        for round_ in range(25):
            async with trio.open_nursery() as nursery:
                for writer in range(20):
                    nursery.start_soon(write_run, device, 100 * round_ + writer, chance)
                for _ in range(chance.randrange(6)):
                    await trio.lowlevel.checkpoint()
                await trio.sleep(chance.choice([0, 0, 0.0005]))
                nursery.cancel_scope.cancel()
            assert device.statistics.accelerator()["inflight"] == 0
            assert_no_page_is_torn(device)
        await assert_nothing_is_left(device)


@pytest.mark.parametrize("accelerator", ACCELERATORS)
async def test_a_device_whose_nursery_is_cancelled_ends_with_its_writers(accelerator: str) -> None:
    profile = parse_accelerator(accelerator)
    assert profile is not None
    chance = random.Random(accelerator)
    for checkpoints in range(8):
        async with trio.open_nursery() as nursery:
            config = DeviceConfig(backend=LZ4, accelerator=EmulatedAccelerator(profile))
            server = BioServer(BlockLayer())
            nursery.start_soon(server.serve)
            device = ZramDevice("zram0", server=server, nursery=nursery, config=config)
            device.initialise(WHOLE_PAGES * PAGE)
            for writer in range(20):
                nursery.start_soon(write_run, device, writer, chance)
            for _ in range(checkpoints):
                await trio.lowlevel.checkpoint()
            nursery.cancel_scope.cancel()
        assert_no_page_is_torn(device)
        await assert_nothing_is_left(device)
        device.close()


@pytest.mark.parametrize("accelerator", ["poc,queue_depth=3", "ideal"])
async def test_writers_under_a_tight_limit_tear_no_page(open_device: OpenDevice, accelerator: str) -> None:
    chance = random.Random(accelerator)
    failures = 0

    async def try_to_write(device: ZramDevice, writer: int) -> None:
        nonlocal failures
        try:
            await write_run(device, writer, chance)
        except MemoryLimitReached:
            failures += 1

    async with open_device(WHOLE_PAGES, accelerator=accelerator, mem_limit_pages=2) as device:
        async with trio.open_nursery() as nursery:
            for writer in range(100):
                nursery.start_soon(try_to_write, device, writer)
        assert_no_page_is_torn(device)
        assert 0 < failures == device.statistics.io_stat().failed_writes
        await assert_nothing_is_left(device)
