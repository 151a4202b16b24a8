import errno
import os
import random
import threading
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from functools import partial

import pytest
import trio
from reads import read

from zramfs.accel.driver import EmulatedAccelerator
from zramfs.accel.profile import parse_accelerator
from zramfs.backends.deflate import DEFLATE
from zramfs.backends.lz4 import LZ4
from zramfs.block.layer import BlockLayer
from zramfs.codec.run import FunctionCodec, PageCodec
from zramfs.contracts import AlgorithmParams, Backend, BackendParams, StreamPolicy
from zramfs.device.device import ZramDevice
from zramfs.device.serving import BioServer
from zramfs.device.settings import DeviceConfig
from zramfs.errors import CorruptPage, DeviceBusy, InvalidValue, MemoryLimitReached, NotInitialised, ZramError
from zramfs.kernel_stats import MmStat

PAGE = 4096
MIB = 1 << 20
TIB = 1 << 40

OpenDevice = Callable[..., AbstractAsyncContextManager[ZramDevice]]
Pages = Callable[..., bytes]


class FailingBackend(Backend):
    """Compresses until it is told to fail."""

    name = "failing"
    fails = False

    def create_context(self, params: BackendParams) -> PageCodec:
        del params
        return FunctionCodec(self.work, self.work)

    def work(self, data: bytes) -> bytes:
        if self.fails:
            raise ArithmeticError
        return data[:8] * 512 if len(data) == 64 else data[:8] * 8


async def write(device: ZramDevice, offset: int, data: bytes, *, is_async: bool = False) -> None:
    await device.write(offset, data, is_async=is_async)


def uninitialised(nursery: trio.Nursery, *, channels: int = 1) -> ZramDevice:
    server = BioServer(BlockLayer(channels - 1))
    return ZramDevice("zram7", server=server, nursery=nursery, config=DeviceConfig(backend=LZ4, accelerator=None))


# ---- life ---------------------------------------------------------------------------------------------------------


async def test_an_uninitialised_device_refuses_io_by_name(nursery: trio.Nursery) -> None:
    device = uninitialised(nursery)
    assert not device.disk.is_open
    with pytest.raises(NotInitialised, match="zram7 is not initialised"):
        await write(device, 0, b"x")
    with pytest.raises(NotInitialised):
        await device.punch(0, PAGE)
    with pytest.raises(NotInitialised):
        await device.upkeep.compact()


async def test_statistics_of_an_uninitialised_device_are_zeros(nursery: trio.Nursery) -> None:
    device = uninitialised(nursery)
    device.settings.set_mem_limit(5000)
    device.statistics.reset_mem_used_max()
    assert device.statistics.mm_stat() == MmStat(0, 0, 0, 8192, 0, 0, 0, 0, 0)
    assert device.statistics.io_stat().failed_writes == device.statistics.io_stat().notify_free == 0
    assert device.statistics.streams().percpu_pages == 0
    assert device.statistics.accelerator() == {}
    assert (device.disksize, device.is_initialised) == (0, False)


async def test_disksize_is_rounded_up_to_a_page(nursery: trio.Nursery) -> None:
    device = uninitialised(nursery)
    device.initialise(16 * MIB + 1)
    assert device.disksize == 16 * MIB + PAGE
    assert device.is_initialised
    device.close()


@pytest.mark.parametrize("disksize", [0, -1])
async def test_a_size_that_is_none_is_refused(nursery: trio.Nursery, disksize: int) -> None:
    device = uninitialised(nursery)
    with pytest.raises(InvalidValue, match="is not a size for zram7"):
        device.initialise(disksize)
    assert not device.is_initialised


@pytest.mark.parametrize("disksize", [1 << 60, (1 << 60) + 1, (1 << 64) - 1])
async def test_a_size_beyond_the_address_space_is_refused(nursery: trio.Nursery, disksize: int) -> None:
    device = uninitialised(nursery)
    with pytest.raises(ZramError, match="address space") as caught:
        device.initialise(disksize)
    assert caught.value.errno == errno.ENOMEM
    assert not device.is_initialised


async def test_a_device_is_initialised_once(open_device: OpenDevice) -> None:
    async with open_device(4) as device:
        with pytest.raises(DeviceBusy, match="initialised already"):
            device.initialise(PAGE)
        with pytest.raises(DeviceBusy, match="algorithms cannot change"):
            device.settings.set_backend(LZ4)
        assert device.disksize == 4 * PAGE


async def test_reset_is_refused_while_the_device_is_open(open_device: OpenDevice) -> None:
    async with open_device(4) as device:
        device.open()
        device.open()
        device.release()
        with pytest.raises(DeviceBusy, match="in use"):
            device.reset()
        device.release()
        device.reset()
        assert not device.is_initialised


async def test_reset_is_refused_while_a_write_is_in_flight(open_device: OpenDevice, compressible_pages: Pages) -> None:
    async with open_device(200, accelerator="poc") as device:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(partial(device.write, 0, compressible_pages(128), is_async=True))
            while device.disk.in_flight == 0:
                await trio.lowlevel.checkpoint()
            with pytest.raises(DeviceBusy):
                device.reset()
        device.reset()


async def test_reset_forgets_everything(open_device: OpenDevice) -> None:
    async with open_device(4, mem_limit_pages=3) as device:
        await write(device, 0, os.urandom(2 * PAGE))
        with pytest.raises(MemoryLimitReached):
            await write(device, 2 * PAGE, os.urandom(2 * PAGE))
        await device.punch(0, PAGE)
        device.reset()
        assert device.statistics.mm_stat() == MmStat(0, 0, 0, 0, 0, 0, 0, 0, 0)
        assert device.statistics.io_stat() == type(device.statistics.io_stat())(0, 0, 0)
        assert (device.disksize, device.statistics.request_counts().write.ios) == (0, 0)


async def test_a_device_that_was_reset_starts_anew(open_device: OpenDevice) -> None:
    async with open_device(4) as device:
        await write(device, 0, os.urandom(4 * PAGE))
        device.reset()
        device.initialise(2 * PAGE)
        assert read(device, 0, 2 * PAGE) == bytes(2 * PAGE)
        await write(device, 0, b"x" * PAGE * 2, is_async=True)
        assert read(device, 0, 2 * PAGE) == b"x" * PAGE * 2


async def test_reset_right_after_initialising_is_harmless(nursery: trio.Nursery, open_device: OpenDevice) -> None:
    del nursery
    async with open_device(4) as device:
        for _ in range(5):
            device.reset()
            device.initialise(PAGE)
        await write(device, 0, os.urandom(PAGE), is_async=True)


async def test_reset_puts_the_default_algorithm_and_the_limit_back(nursery: trio.Nursery) -> None:
    device = uninitialised(nursery)
    device.settings.set_backend(FailingBackend())
    device.settings.set_mem_limit(MIB)
    device.initialise(PAGE)
    device.reset()
    assert device.settings.backend is LZ4
    assert device.statistics.mm_stat().mem_limit == 0


async def test_reset_ends_the_engines(open_device: OpenDevice) -> None:
    before = threading.active_count()
    async with open_device(4, accelerator="ideal,engines=5") as device:
        assert threading.active_count() >= before + 5
        device.reset()
        assert threading.active_count() == before


async def test_a_device_of_1_tib_costs_little_memory(
    open_device: OpenDevice, resident_bytes: Callable[[], int]
) -> None:
    before = resident_bytes()
    async with open_device(TIB // PAGE) as device:
        assert device.disksize == TIB
        await write(device, TIB - 3 * PAGE, os.urandom(3 * PAGE), is_async=True)
        assert read(device, TIB - 4 * PAGE, PAGE) == bytes(PAGE)
        assert resident_bytes() - before < 8 * MIB


# ---- reading and writing ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("is_async", [False, True])
@pytest.mark.parametrize(
    ("offset", "size"),
    [
        (0, 1),
        (0, PAGE),
        (1, PAGE),
        (100, 200),
        (PAGE - 1, 2),
        (PAGE - 1, PAGE + 2),
        (5, 3 * PAGE),
        (2 * PAGE, 3 * PAGE + 1),
        (300, 40 * PAGE),
        (PAGE, 40 * PAGE),
    ],
)
async def test_a_write_of_any_part_changes_that_part_only(
    open_device: OpenDevice, compressible_pages: Pages, offset: int, size: int, *, is_async: bool
) -> None:
    expected = bytearray(compressible_pages(48))
    async with open_device(48, accelerator="poc") as device:
        await write(device, 0, bytes(expected), is_async=is_async)
        patch = os.urandom(size)
        await write(device, offset, patch, is_async=is_async)
        expected[offset : offset + size] = patch
        assert read(device, 0, len(expected)) == expected


async def test_a_partial_write_of_zeros_can_make_a_page_same_filled(open_device: OpenDevice) -> None:
    async with open_device(1) as device:
        await write(device, 0, bytes(100) + b"x" + bytes(3995))
        assert device.statistics.mm_stat().same_pages == 0
        await write(device, 100, b"\0")
        assert device.statistics.mm_stat().same_pages == 1
        assert device.statistics.mm_stat().mem_used_total == 0


async def test_a_partial_page_takes_no_managed_stream(open_device: OpenDevice) -> None:
    async with open_device(4, accelerator="poc", policy=StreamPolicy.MANAGED) as device:
        await write(device, 10, os.urandom(2 * PAGE), is_async=True)
        statistics = device.statistics.streams()
        assert (statistics.managed_pages, statistics.percpu_pages) == (1, 2)


@pytest.mark.parametrize("policy", StreamPolicy)
@pytest.mark.parametrize("accelerator", ["none", "ideal", "poc", "poc,queue_depth=3"])
async def test_every_page_written_is_counted_by_its_stream(
    open_device: OpenDevice, policy: StreamPolicy, accelerator: str
) -> None:
    async with open_device(300, accelerator=accelerator, policy=policy) as device:
        await write(device, 0, os.urandom(300 * PAGE), is_async=True)
        await write(device, 0, os.urandom(45 * PAGE), is_async=False)
        await write(device, 1, os.urandom(2 * PAGE), is_async=True)
        statistics = device.statistics.streams()
        assert statistics.percpu_pages + statistics.managed_pages + statistics.fallback_pages == 348


async def test_accounting_counts_requests_and_sectors(open_device: OpenDevice) -> None:
    async with open_device(8) as device:
        await write(device, 0, os.urandom(3 * PAGE))
        read(device, 0, 512)
        await device.punch(0, PAGE)
        device.flush()
        accounting = device.statistics.request_counts()
        assert (accounting.write.ios, accounting.write.sectors) == (1, 24)
        assert (accounting.read.ios, accounting.read.sectors) == (1, 1)
        assert (accounting.discard.ios, accounting.discard.sectors) == (1, 8)
        assert (accounting.flush.ios, accounting.in_flight) == (1, 0)


# ---- discarding ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("offset", "size", "freed"),
    [
        (0, 4 * PAGE, 4),
        (PAGE, PAGE, 1),
        (1, 2 * PAGE, 1),
        (PAGE, 2 * PAGE - 1, 1),
        (1, PAGE, 0),
        (10, 20, 0),
        (PAGE - 1, 2, 0),
        (1, 3 * PAGE - 2, 1),
    ],
)
async def test_punch_frees_whole_pages_and_zeroes_the_edges(
    open_device: OpenDevice, offset: int, size: int, freed: int
) -> None:
    expected = bytearray(os.urandom(4 * PAGE))
    async with open_device(4) as device:
        await write(device, 0, bytes(expected))
        assert await device.punch(offset, size) == size
        expected[offset : offset + size] = bytes(size)
        assert read(device, 0, 4 * PAGE) == expected
        assert device.statistics.io_stat().notify_free == freed
        assert device.statistics.mm_stat().orig_data_size == (4 - freed) * PAGE


async def test_discard_counts_pages_that_were_empty(open_device: OpenDevice) -> None:
    async with open_device(100) as device:
        await device.punch(0, 100 * PAGE)
        await device.punch(0, PAGE)
        assert device.statistics.io_stat().notify_free == 101


async def test_find_gives_offsets_of_data_and_holes(open_device: OpenDevice) -> None:
    async with open_device(8) as device:
        await write(device, 2 * PAGE, bytes(3 * PAGE))
        assert device.find(0, data=True) == 2 * PAGE
        assert device.find(2 * PAGE + 5, data=True) == 2 * PAGE + 5
        assert device.find(2 * PAGE + 5, data=False) == 5 * PAGE
        assert device.find(5 * PAGE, data=True) is None
        assert device.find(7 * PAGE + 1, data=False) == 7 * PAGE + 1


async def test_discarding_a_large_device_lets_others_have_their_turn(open_device: OpenDevice) -> None:
    turns = 0

    async def count_turns() -> None:
        nonlocal turns
        while True:
            await trio.lowlevel.checkpoint()
            turns += 1

    async with open_device(100_000) as device:
        for first in range(0, 100_000, 5000):
            await write(device, first * PAGE, b"12345678" * 512 * 5000)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(count_turns)
            await device.punch(0, 100_000 * PAGE)
            nursery.cancel_scope.cancel()
        assert turns >= 5
        assert device.statistics.mm_stat().orig_data_size == 0
        assert device.statistics.io_stat().notify_free == 100_000


# ---- memory -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("is_async", [False, True])
async def test_over_the_limit_a_write_fails_and_old_data_stays(open_device: OpenDevice, *, is_async: bool) -> None:
    old = os.urandom(4 * PAGE)
    async with open_device(8, accelerator="poc", mem_limit_pages=4) as device:
        await write(device, 0, old, is_async=is_async)
        for page in range(8):
            with pytest.raises(MemoryLimitReached) as caught:
                await write(device, page * PAGE, os.urandom(PAGE), is_async=is_async)
            assert caught.value.errno == errno.EIO
        assert read(device, 0, 8 * PAGE) == old + bytes(4 * PAGE)
        assert device.statistics.io_stat().failed_writes == 8
        assert device.statistics.mm_stat().mem_used_total == 4 * PAGE
        assert device.statistics.mm_stat().mem_used_max == 5 * PAGE
        assert device.statistics.accelerator()["inflight"] == 0


async def test_writes_work_again_after_a_discard(open_device: OpenDevice) -> None:
    async with open_device(8, mem_limit_pages=2) as device:
        await write(device, 0, os.urandom(2 * PAGE))
        with pytest.raises(MemoryLimitReached):
            await write(device, 4 * PAGE, os.urandom(PAGE))
        await device.punch(0, PAGE)
        page = os.urandom(PAGE)
        await write(device, 4 * PAGE, page)
        assert read(device, 4 * PAGE, PAGE) == page


@pytest.mark.parametrize("limit", [0, 3 * PAGE, 2 * PAGE + 1])
async def test_writes_work_again_under_a_higher_limit(open_device: OpenDevice, limit: int) -> None:
    async with open_device(8, mem_limit_pages=2) as device:
        await write(device, 0, os.urandom(2 * PAGE))
        with pytest.raises(MemoryLimitReached):
            await write(device, 4 * PAGE, os.urandom(PAGE))
        device.settings.set_mem_limit(limit)
        await write(device, 4 * PAGE, os.urandom(PAGE))
        assert device.statistics.mm_stat().mem_used_total == 3 * PAGE
        assert device.statistics.io_stat().failed_writes == 1


async def test_a_limit_below_what_is_stored_stops_writes_only(open_device: OpenDevice) -> None:
    old = os.urandom(4 * PAGE)
    async with open_device(8) as device:
        await write(device, 0, old)
        device.settings.set_mem_limit(PAGE)
        with pytest.raises(MemoryLimitReached):
            await write(device, 0, os.urandom(PAGE))
        assert read(device, 0, 4 * PAGE) == old


async def test_over_the_limit_same_filled_pages_are_still_written(open_device: OpenDevice) -> None:
    async with open_device(8, mem_limit_pages=1) as device:
        await write(device, 0, os.urandom(PAGE))
        await write(device, 0, b"12345678" * 512 * 8)
        assert device.statistics.mm_stat().same_pages == 8
        assert device.statistics.io_stat().failed_writes == 0


@pytest.mark.parametrize("accelerator", ["none", "poc", "poc,queue_depth=512"])  # the last: in two managed runs
async def test_one_bio_over_the_limit_is_one_failed_write(open_device: OpenDevice, accelerator: str) -> None:
    async with open_device(300, accelerator=accelerator, mem_limit_pages=10) as device:
        with pytest.raises(MemoryLimitReached):
            await write(device, 0, os.urandom(300 * PAGE), is_async=True)
        assert device.statistics.io_stat().failed_writes == 1
        assert device.disk.in_flight == 0
        assert device.statistics.streams().inflight == 0
        await device.punch(0, 300 * PAGE)
        assert device.statistics.mm_stat().mem_used_total == 0


async def test_the_peak_counts_old_and_new_until_it_is_reset(open_device: OpenDevice) -> None:
    async with open_device(4) as device:
        await write(device, 0, os.urandom(PAGE))
        await write(device, 0, os.urandom(PAGE))
        assert device.statistics.mm_stat().mem_used_max == 2 * PAGE
        await device.punch(0, PAGE)
        assert device.statistics.mm_stat().mem_used_max == 2 * PAGE
        device.statistics.reset_mem_used_max()
        assert device.statistics.mm_stat().mem_used_max == 0


async def test_huge_pages_since_never_falls(open_device: OpenDevice) -> None:
    async with open_device(4) as device:
        for _ in range(3):
            await write(device, 0, os.urandom(2 * PAGE))
        await device.punch(0, PAGE)
        assert (device.statistics.mm_stat().huge_pages, device.statistics.mm_stat().huge_pages_since) == (1, 6)


async def test_compaction_gives_memory_back_and_keeps_the_data(
    open_device: OpenDevice, compressible_pages: Pages
) -> None:
    source = compressible_pages(2000)
    async with open_device(2000) as device:
        await write(device, 0, source)
        for page in range(2000):
            if page % 6:
                await device.punch(page * PAGE, PAGE)
        before = device.statistics.mm_stat()
        await device.upkeep.compact()
        after = device.statistics.mm_stat()
        assert after.mem_used_total < before.mem_used_total / 2
        assert after.pages_compacted * PAGE == before.mem_used_total - after.mem_used_total
        assert after.compr_data_size == before.compr_data_size
        for page in range(0, 2000, 6):
            assert read(device, page * PAGE, PAGE) == source[page * PAGE : (page + 1) * PAGE]


async def test_compaction_lets_writers_have_their_turn(open_device: OpenDevice, compressible_pages: Pages) -> None:
    source = compressible_pages(4000)
    expected = bytearray(len(source))
    async with open_device(4000, accelerator="ideal") as device:
        await write(device, 0, source)
        for page in range(4000):
            if page % 4:
                await device.punch(page * PAGE, PAGE)
            else:
                expected[page * PAGE : (page + 1) * PAGE] = source[page * PAGE : (page + 1) * PAGE]
        async with trio.open_nursery() as nursery:
            nursery.start_soon(device.upkeep.compact)
            for page in range(0, 400, 4):
                patch = os.urandom(3 * PAGE)
                expected[page * PAGE : (page + 3) * PAGE] = patch
                nursery.start_soon(partial(device.write, page * PAGE, patch, is_async=True))
        assert read(device, 0, len(source)) == expected


# ---- failures -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [PAGE, 100])
async def test_a_codec_that_fails_on_writing_leaves_the_old_contents(open_device: OpenDevice, size: int) -> None:
    backend = FailingBackend()
    async with open_device(4, backend=backend) as device:
        old = b"original" * 512
        await write(device, 0, old[:-1] + b"!")
        backend.fails = True
        with pytest.raises(ZramError):
            await write(device, PAGE, os.urandom(size))
        backend.fails = False
        assert device.statistics.io_stat().failed_writes == 1
        assert read(device, PAGE, PAGE) == bytes(PAGE)
        assert read(device, 0, 8) == b"original"


async def test_a_codec_that_fails_on_an_overwrite_leaves_the_old_contents(open_device: OpenDevice) -> None:
    backend = FailingBackend()
    async with open_device(1, backend=backend) as device:
        await write(device, 0, b"original" * 511 + b"another ")
        used = device.statistics.mm_stat()
        backend.fails = True
        with pytest.raises(ZramError, match="could not be compressed"):
            await write(device, 0, os.urandom(PAGE))
        backend.fails = False
        assert read(device, 0, 8) == b"original"
        assert device.statistics.mm_stat() == used


async def test_a_page_that_does_not_decompress_is_a_failed_read(open_device: OpenDevice) -> None:
    backend = FailingBackend()
    async with open_device(4, backend=backend) as device:
        await write(device, 0, b"original" * 511 + b"another ")
        backend.fails = True
        with pytest.raises(CorruptPage) as caught:
            read(device, 0, PAGE)
        assert caught.value.errno == errno.EIO
        assert device.statistics.io_stat().failed_reads == 1
        assert device.disk.in_flight == 0


async def test_a_partial_write_to_a_corrupt_page_is_a_failed_write(open_device: OpenDevice) -> None:
    backend = FailingBackend()
    async with open_device(4, backend=backend) as device:
        await write(device, 0, b"original" * 511 + b"another ")
        backend.fails = True
        with pytest.raises(CorruptPage):
            await write(device, 10, b"patch")
        assert device.statistics.io_stat().failed_writes == 1


@pytest.mark.parametrize("failing", ["ring", "thread"])
async def test_without_its_accelerator_a_device_works_per_cpu(
    open_device: OpenDevice, monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    def refuse(*_arguments: object) -> None:
        raise RuntimeError("can't start new thread")

    if failing == "thread":
        monkeypatch.setattr(threading.Thread, "start", refuse)
    else:
        monkeypatch.setattr("zramfs.accel.driver.DescriptorRing", refuse)
    source = os.urandom(40 * PAGE)
    async with open_device(40, accelerator="ideal", policy=StreamPolicy.MANAGED) as device:
        assert device.manager_error == "accelerator ideal: can't start new thread"
        await write(device, 0, source, is_async=True)
        assert read(device, 0, len(source)) == source
        statistics = device.statistics.streams()
        assert (statistics.percpu_pages, statistics.managed_streams) == (40, 0)


async def test_a_device_without_an_accelerator_has_no_manager_error(open_device: OpenDevice) -> None:
    async with open_device(1, accelerator=None) as device:
        assert device.manager_error == ""


async def test_a_level_that_the_algorithm_refuses_leaves_the_device_uninitialised(
    nursery: trio.Nursery,
) -> None:
    device = uninitialised(nursery)
    device.settings.set_backend(DEFLATE, 0)
    device.settings.algorithms.set_params(0, AlgorithmParams(level=10))
    with pytest.raises(InvalidValue, match="deflate has no level 10"):
        device.initialise(PAGE)
    assert not device.is_initialised


# ---- many at once -------------------------------------------------------------------------------------------------


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
            await write(device, page * PAGE, page_of(page, writer), is_async=bool((writer + page) % 3))
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
            await write(device, page * PAGE + at, mark, is_async=True)
            await trio.lowlevel.checkpoint()

    async with open_device(WHOLE_PAGES, accelerator=accelerator) as device:
        async with trio.open_nursery() as nursery:
            for page in range(0, WHOLE_PAGES, 2):
                for writer in range(5):
                    nursery.start_soon(write, device, page * PAGE, page_of(page, writer))
                    nursery.start_soon(partial(write, device, page * PAGE, page_of(page, writer), is_async=True))
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
            await write(device, page * PAGE, page_of(page, writer), is_async=True)
            await write(device, page * PAGE + 1000, b"patched!", is_async=True)
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
