"""The same writes to the kernel's zram and to ours: all statistics are equal, at any moment, for any data.

ZRAMFS_TEST_PAGES says how many pages of each kind (400 unless told otherwise), ZRAMFS_TEST_SEED which ones.
"""

import errno
import os
import random
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import pytest
import trio
from reads import read
from sample_pages import KINDS, Pages, made_pages, pages_of, real_pages
from zram_disks import PAGE, KernelZram, hot_added

from zramfs.backends.registry import load_backend
from zramfs.block.layer import BlockLayer
from zramfs.device.device import ZramDevice
from zramfs.device.serving import BioServer
from zramfs.device.settings import DeviceConfig
from zramfs.errors import MemoryLimitReached
from zramfs.kernel_stats import MmStat

PAGES = 8192
COUNT = int(os.environ.get("ZRAMFS_TEST_PAGES", "400"))
SEED = int(os.environ.get("ZRAMFS_TEST_SEED", "1"))

OpenPair = Callable[[], AbstractAsyncContextManager["Pair"]]


class Pair:
    """Does everything to both."""

    def __init__(self, kernel: KernelZram, ours: ZramDevice) -> None:
        self.kernel, self.ours = kernel, ours

    async def write(self, page: int, contents: bytes) -> bool:
        in_kernel = self._write_to_kernel(page, contents)
        try:
            await self.ours.write(page * PAGE, contents)
        except MemoryLimitReached:
            assert not in_kernel
            return False
        assert in_kernel
        return True

    def _write_to_kernel(self, page: int, contents: bytes) -> bool:
        try:
            return self.kernel.write(page * PAGE, contents) == PAGE
        except OSError as error:
            assert error.errno == errno.EIO
            return False

    async def write_all(self, contents: Pages, first_page: int = 0) -> None:
        for page, data in enumerate(contents, first_page):
            assert await self.write(page, data)

    async def discard(self, page: int, pages: int) -> None:
        self.kernel.discard(page * PAGE, pages * PAGE)
        await self.ours.punch(page * PAGE, pages * PAGE)

    async def compact(self) -> None:
        self.kernel.set("compact", "1")
        await self.ours.upkeep.compact()

    def set_mem_limit(self, limit_bytes: int) -> None:
        self.kernel.set("mem_limit", str(limit_bytes))
        self.ours.settings.set_mem_limit(limit_bytes)

    def reset_mem_used_max(self) -> None:
        self.kernel.set("mem_used_max", "0")
        self.ours.statistics.reset_mem_used_max()

    def assert_equal(self) -> None:
        assert self.ours.statistics.mm_stat() == MmStat(*self.kernel.numbers("mm_stat"))
        statistics = self.ours.statistics.io_stat()
        _, failed_writes, _, notify_free = self.kernel.numbers("io_stat")
        assert (statistics.failed_writes, statistics.notify_free) == (failed_writes, notify_free)

    def assert_same_contents(self, pages: int) -> None:
        assert all(read(self.ours, page * PAGE, PAGE) == self.kernel.read(page * PAGE, PAGE) for page in range(pages))


@pytest.fixture(params=["lz4", "lzo", "lzo-rle"])
def kernel(request: pytest.FixtureRequest) -> Iterator[KernelZram]:
    with hot_added(PAGES * PAGE, request.param) as device:
        yield device


@pytest.fixture
def open_pair(kernel: KernelZram) -> OpenPair:
    @asynccontextmanager
    async def opened() -> AsyncIterator[Pair]:
        async with trio.open_nursery() as nursery:
            config = DeviceConfig(backend=load_backend(kernel.algorithm), accelerator=None)
            server = BioServer(BlockLayer())
            ours = ZramDevice("zram0", server=server, nursery=nursery, config=config)
            ours.initialise(PAGES * PAGE)
            yield Pair(kernel, ours)
            ours.close()

    return opened


async def overwrite_and_discard(pair: Pair, pages: Pages, seed: int) -> None:
    chance = random.Random(seed)
    for _ in range(3000):
        assert await pair.write(chance.randrange(len(pages)), chance.choice(pages))
        if chance.random() < 0.2:
            await pair.discard(chance.randrange(len(pages)), chance.randint(1, 4))


async def test_data_written_once_is_equal(open_pair: OpenPair) -> None:
    async with open_pair() as pair:
        await pair.write_all(made_pages(6000, seed=1))
        pair.assert_equal()
        statistics = pair.ours.statistics.mm_stat()
        assert statistics.same_pages > 100
        assert statistics.huge_pages > 100


async def test_every_size_class_is_equal(open_pair: OpenPair) -> None:
    chance = random.Random(2)
    async with open_pair() as pair:
        for kept in range(1, PAGE, 16):
            assert await pair.write(kept % PAGES, chance.randbytes(kept) + bytes(PAGE - kept))
            pair.assert_equal()


async def test_the_border_of_the_huge_class_is_equal(open_pair: OpenPair) -> None:
    chance = random.Random(3)
    async with open_pair() as pair:
        for kept in range(3570, 3640):
            assert await pair.write(0, chance.randbytes(kept) + bytes(PAGE - kept))
            pair.assert_equal()


async def test_overwriting_and_discarding_are_equal(open_pair: OpenPair) -> None:
    pages = made_pages(4000, seed=4)
    async with open_pair() as pair:
        await pair.write_all(pages)
        for seed in range(3):
            await overwrite_and_discard(pair, pages, seed)
            pair.assert_equal()
        pair.reset_mem_used_max()
        pair.assert_equal()
        pair.assert_same_contents(len(pages))


async def test_compaction_is_equal(open_pair: OpenPair) -> None:
    pages = made_pages(4000, seed=5)
    async with open_pair() as pair:
        await pair.write_all(pages)
        for seed in range(3):
            await overwrite_and_discard(pair, pages, seed)
            await pair.compact()
            pair.assert_equal()
        assert pair.ours.statistics.mm_stat().pages_compacted > 100
        pair.assert_same_contents(len(pages))


async def test_discarding_everything_is_equal(open_pair: OpenPair) -> None:
    async with open_pair() as pair:
        await pair.write_all(made_pages(1000, seed=6))
        await pair.discard(0, PAGES)
        pair.assert_equal()
        assert pair.ours.statistics.mm_stat().mem_used_total == 0


async def test_writes_at_the_limit_fail_alike(open_pair: OpenPair) -> None:
    pages = made_pages(3000, seed=7)
    async with open_pair() as pair:
        pair.set_mem_limit(2 << 20)
        succeeded = [await pair.write(page, contents) for page, contents in enumerate(pages)]
        assert 100 < sum(succeeded) < 2900
        pair.assert_equal()
        await pair.discard(0, 200)
        succeeded = [await pair.write(page, contents) for page, contents in enumerate(pages)]
        assert 100 < sum(succeeded) < 2900
        pair.assert_equal()
        pair.set_mem_limit(0)
        await pair.write_all(pages)
        pair.assert_equal()
        pair.assert_same_contents(len(pages))


async def test_a_limit_below_what_is_stored_fails_alike(open_pair: OpenPair) -> None:
    pages = made_pages(500, seed=8)
    async with open_pair() as pair:
        await pair.write_all(pages)
        pair.set_mem_limit(8192)
        for page, contents in enumerate(pages):
            await pair.write(page + 250, contents)
        pair.assert_equal()


async def test_programs_and_sources_are_equal(open_pair: OpenPair) -> None:
    pages = real_pages(3000)
    async with open_pair() as pair:
        await pair.write_all(pages)
        pair.assert_equal()
        await overwrite_and_discard(pair, pages, seed=9)
        pair.assert_equal()
        await pair.compact()
        pair.assert_equal()
        pair.assert_same_contents(len(pages))


async def test_all_kinds_of_data_mixed_are_equal(open_pair: OpenPair) -> None:
    pages = made_pages(2000, seed=10) + real_pages(2000)
    random.Random(10).shuffle(pages)
    async with open_pair() as pair:
        await pair.write_all(pages)
        pair.assert_equal()
        await overwrite_and_discard(pair, pages, seed=11)
        await pair.compact()
        pair.assert_equal()


@pytest.mark.timeout(120 + COUNT / 20)
@pytest.mark.parametrize("kind", KINDS)
async def test_all_statistics_of_a_kind_are_equal(open_pair: OpenPair, kind: str) -> None:
    """Each page at a random place, so that later ones replace others of another length."""
    chance = random.Random(SEED)
    written = 0
    async with open_pair() as pair:
        for page in pages_of(kind, COUNT, SEED):
            assert await pair.write(chance.randrange(PAGES), page)
            written += 1
            if written % 64 == 0:
                pair.assert_equal()
        pair.assert_equal()
    print(f"mm_stat is the kernel's all along {written} {kind} pages by {pair.kernel.algorithm}")
    assert written > COUNT // 2
