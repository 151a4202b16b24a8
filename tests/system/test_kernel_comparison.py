"""The same writes to the kernel's zram and to ours: all statistics are equal, at any moment, for any data."""

import errno
import fcntl
import mmap
import os
import random
import struct
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from itertools import islice
from pathlib import Path

import pytest
import trio
from reads import read

from zramfs.backends.lz4 import LZ4
from zramfs.bio import WriteBio
from zramfs.device.device import DeviceConfig, MmStat, ZramDevice
from zramfs.errors import MemoryLimitReached

PAGE = 4096
PAGES = 8192
BLKDISCARD = 0x1277
CONTROL = Path("/sys/class/zram-control")

Pages = list[bytes]
OpenPair = Callable[[], AbstractAsyncContextManager["Pair"]]


class KernelZram:
    """A zram device of the kernel, hot-added for one test."""

    def __init__(self, number: int) -> None:
        self._attributes = Path(f"/sys/block/zram{number}")
        self._buffer = mmap.mmap(-1, PAGE)
        self._set("comp_algorithm", "lz4")
        self._set("disksize", str(PAGES * PAGE))
        self._fd = os.open(f"/dev/zram{number}", os.O_RDWR | os.O_DIRECT)

    def close(self) -> None:
        os.close(self._fd)

    def _set(self, attribute: str, value: str) -> None:
        (self._attributes / attribute).write_text(value)

    def write(self, page: int, contents: bytes) -> bool:
        self._buffer[:] = contents
        try:
            return os.pwrite(self._fd, self._buffer, page * PAGE) == PAGE
        except OSError as error:
            assert error.errno == errno.EIO
            return False

    def read(self, page: int) -> bytes:
        os.preadv(self._fd, [self._buffer], page * PAGE)
        return self._buffer[:]

    def discard(self, page: int, pages: int) -> None:
        fcntl.ioctl(self._fd, BLKDISCARD, struct.pack("QQ", page * PAGE, pages * PAGE))

    def compact(self) -> None:
        self._set("compact", "1")

    def set_mem_limit(self, limit_bytes: int) -> None:
        self._set("mem_limit", str(limit_bytes))

    def reset_mem_used_max(self) -> None:
        self._set("mem_used_max", "0")

    def mm_stat(self) -> MmStat:
        return MmStat(*map(int, (self._attributes / "mm_stat").read_text().split()))

    def failures(self) -> tuple[int, int]:
        """Writes that failed, and pages that discards freed."""
        _, failed_writes, _, notify_free = map(int, (self._attributes / "io_stat").read_text().split())
        return failed_writes, notify_free


class Pair:
    """Does everything to both."""

    def __init__(self, kernel: KernelZram, ours: ZramDevice) -> None:
        self.kernel, self.ours = kernel, ours

    async def write(self, page: int, contents: bytes) -> bool:
        in_kernel = self.kernel.write(page, contents)
        try:
            await self.ours.write(WriteBio(page * PAGE, contents, is_async=False))
        except MemoryLimitReached:
            assert not in_kernel
            return False
        assert in_kernel
        return True

    async def write_all(self, contents: Pages, first_page: int = 0) -> None:
        for page, data in enumerate(contents, first_page):
            assert await self.write(page, data)

    async def discard(self, page: int, pages: int) -> None:
        self.kernel.discard(page, pages)
        await self.ours.discard(page * PAGE, pages * PAGE)

    async def compact(self) -> None:
        self.kernel.compact()
        await self.ours.compact()

    def set_mem_limit(self, limit_bytes: int) -> None:
        self.kernel.set_mem_limit(limit_bytes)
        self.ours.set_mem_limit(limit_bytes)

    def reset_mem_used_max(self) -> None:
        self.kernel.reset_mem_used_max()
        self.ours.reset_mem_used_max()

    def assert_equal(self) -> None:
        assert self.ours.mm_stat() == self.kernel.mm_stat()
        statistics = self.ours.io_stat()
        assert (statistics.failed_writes, statistics.notify_free) == self.kernel.failures()

    def assert_same_contents(self, pages: int) -> None:
        assert all(read(self.ours, page * PAGE, PAGE) == self.kernel.read(page) for page in range(pages))


@pytest.fixture
def kernel() -> Iterator[KernelZram]:
    if os.geteuid() != 0:
        pytest.skip("a zram device of the kernel needs root")
    if not (CONTROL / "hot_add").exists():
        pytest.skip("no zram in this kernel (/sys/class/zram-control/hot_add)")
    number = int((CONTROL / "hot_add").read_text())
    try:
        if "lz4" not in Path(f"/sys/block/zram{number}/comp_algorithm").read_text():
            pytest.skip("this kernel's zram has no lz4")
        device = KernelZram(number)
        try:
            yield device
        finally:
            device.close()
    finally:
        remove(number)


def remove(number: int) -> None:
    """Remove the device; udev may still have it open for a moment."""
    for attempt in range(50):
        try:
            (CONTROL / "hot_remove").write_text(str(number))
        except OSError as error:
            if error.errno != errno.EBUSY or attempt == 49:
                raise
            time.sleep(0.1)
        else:
            return


@pytest.fixture
def open_pair(kernel: KernelZram) -> OpenPair:
    @asynccontextmanager
    async def opened() -> AsyncIterator[Pair]:
        async with trio.open_nursery() as nursery:
            config = DeviceConfig(backend=LZ4, accelerator=None)
            ours = ZramDevice("zram0", nursery=nursery, config=config)
            ours.initialise(PAGES * PAGE)
            yield Pair(kernel, ours)
            ours.close()

    return opened


def made_pages(count: int, seed: int) -> Pages:
    """Pages of every size class, patterns, same-filled and random ones, in any order."""
    chance = random.Random(seed)
    pages = []
    for number in range(count):
        kept = chance.randrange(1, PAGE)
        pages.append(
            [
                chance.randbytes(kept) + bytes(PAGE - kept),
                chance.randbytes(PAGE),
                bytes(PAGE),
                chance.randbytes(8) * 512,
                (chance.randbytes(chance.randrange(9, 300)) * PAGE)[:PAGE],
            ][chance.choice([0, 0, 0, 0, 1, 2, 3, 4]) if number % 7 else 0]
        )
    return pages


def pages_of_files(paths: Iterator[Path], pages_each: int) -> Iterator[bytes]:
    for path in paths:
        data = path.read_bytes()
        for offset in islice(range(0, len(data) - PAGE + 1, PAGE), pages_each):
            yield data[offset : offset + PAGE]


def real_pages(count: int) -> Pages:
    """Programs and the sources of Python, in turn."""
    programs = pages_of_files((path for path in sorted(Path("/usr/bin").iterdir()) if path.is_file()), 64)
    sources = pages_of_files(iter(sorted(Path(os.__file__).parent.glob("*.py"))), 64)
    pages = [page for both in zip(programs, sources, strict=False) for page in both]
    assert len(pages) > 1000
    return pages[:count]


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
        statistics = pair.ours.mm_stat()
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
        assert pair.ours.mm_stat().pages_compacted > 100
        pair.assert_same_contents(len(pages))


async def test_discarding_everything_is_equal(open_pair: OpenPair) -> None:
    async with open_pair() as pair:
        await pair.write_all(made_pages(1000, seed=6))
        await pair.discard(0, PAGES)
        pair.assert_equal()
        assert pair.ours.mm_stat().mem_used_total == 0


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
