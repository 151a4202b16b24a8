"""Writeback: pages leave memory for the backing device, in batches, and are read from it when somebody needs them."""

import errno
from collections.abc import Sequence
from dataclasses import dataclass
from mmap import mmap
from typing import Final

import trio

from zramfs.abi import ZramAbi
from zramfs.block.blocks import BlockMap
from zramfs.block.candidates import Candidates
from zramfs.block.disk import Disk
from zramfs.block.page_upkeep import (
    WrittenBack,
    commit_written_back,
    decompress_block,
    load_candidate,
    load_object,
    written_back,
)
from zramfs.device.backing import BackingDevice, open_backing_device
from zramfs.device.lineage import OwnMount
from zramfs.errors import (
    BackingDeviceFailed,
    BackingDeviceFull,
    CorruptPage,
    NoBackingDevice,
    WritebackLimitSpent,
    ZramError,
)
from zramfs.units import PAGE_SIZE, BytesLike

_DEFAULT_BATCH_PAGES: Final = 32

_MOST_BATCH_PAGES: Final = 1024
"""A larger writeback_batch_size writes no more at a time: 4 MiB."""

_TURN_PAGES: Final = 16
"""Pages decompressed before others have their turn: 26 µs of LZ4."""


@dataclass(frozen=True, slots=True)
class BdStat:
    """`bd_stat`: what the backing device has, and the reads and writes of it, in pages. Names are the kernel's."""

    bd_count: int
    bd_reads: int
    bd_writes: int


@dataclass(frozen=True, slots=True)
class Selection:
    """Pages with an object, `first_page` to before `end_page`, that are idle, huge or incompressible if asked for."""

    first_page: int
    end_page: int
    idle: bool = False
    huge: bool = False
    incompressible: bool = False


class Writeback:
    """The backing device of one zram device, which must not lie on `own_mount`, and what may be written to it."""

    def __init__(self, own_mount: OwnMount, abi: ZramAbi) -> None:
        self._own_mount = own_mount
        self._abi = abi
        self.is_compressed = False
        """compressed_writeback: blocks have objects as they are. It is fixed while the device is initialised, because
        nothing else tells what a block has; reset leaves it."""
        self.backing: BackingDevice | None = None
        self._released: BackingDevice | None = None
        self._opening = trio.CancelScope()
        self._is_abandoned = False
        self.batch_pages = _DEFAULT_BATCH_PAGES
        """writeback_batch_size: pages in flight to the backing device."""
        self.is_limited = False
        """writeback_limit_enable."""
        self.limit_pages = 0
        """writeback_limit: how many pages may still be written, if that is limited."""

    def reset(self) -> None:
        """Let the backing device go.

        What may be written to the next one stays: zram_reset_device leaves bd_wb_limit alone, whatever zram.rst says.
        """
        self._replace_backing(None)

    async def choose_backing(self, path: str | None) -> None:
        """Open another backing device, or none; the one before is closed when this returns."""
        self._replace_backing(None if path is None else await self._open(path))
        await self.wait_until_released()

    async def _open(self, path: str) -> BackingDevice:
        with trio.CancelScope() as self._opening:
            if not self._is_abandoned:
                return await open_backing_device(path, self._own_mount, first_block=self._first_block)
        raise BackingDeviceFailed(f"{path!r} is not waited for: the daemon ends", errno.EIO)

    def abandon(self) -> None:
        """Let all that waits for the backing device, and all that will, fail at once with EIO: the daemon ends.

        Pages that are being written back stay in memory.
        """
        self._is_abandoned = True
        self._opening.cancel()
        if self.backing is not None:
            self.backing.abandon()

    def _replace_backing(self, chosen: BackingDevice | None) -> None:
        if self.backing is not None:
            self.backing.close()
            self._released = self.backing
        self.backing = chosen
        if self._is_abandoned:
            self.abandon()

    async def wait_until_released(self) -> None:
        """Return when the backing device that was let go last can be used by somebody else, or soon if it hangs."""
        if self._released is not None:
            await self._released.closed.wait()

    @property
    def _first_block(self) -> int:
        return 0 if self._abi.uses_first_block else 1

    @property
    def blocks(self) -> BlockMap | None:
        """The blocks of the backing device; None without one."""
        return self.backing.blocks if self.backing is not None else None

    def statistics(self) -> BdStat:
        """Zeros without a backing device."""
        if self.backing is None:
            return BdStat(0, 0, 0)
        return BdStat(self.backing.blocks.reserved, self.backing.reads, self.backing.writes)

    async def write_back(self, disk: Disk, selections: Sequence[Selection]) -> None:
        """Write the selected pages back, the largest objects first; one call at a time.

        A page that is accessed or freed meanwhile stays as it then is. Raises BackingDeviceFailed after all the others
        if pages could not be written; WritebackLimitSpent or BackingDeviceFull as soon as that ends it. Pages that are
        not written back stay in memory.
        """
        backing = self._required_backing()
        candidates = Candidates(disk.table)
        for selection in selections:
            page = selection.first_page
            while page < selection.end_page:
                page = candidates.add_some(
                    page,
                    selection.end_page,
                    idle=selection.idle,
                    huge=selection.huge,
                    incompressible=selection.incompressible,
                )
                await trio.lowlevel.checkpoint()
        await _Batches(self, backing, disk, candidates).write()

    async def read_into(self, disk: Disk, offset_bytes: int, out: memoryview) -> None:
        """Fill `out`: pages in the backing device are read from it first, and then all is put together in one step.

        A page that changes meanwhile is as it was or as it is, and never a mixture. Nothing is written back in the last
        step, because only the event loop does that.
        """
        first_page, end_page = offset_bytes // PAGE_SIZE, -(-(offset_bytes + len(out)) // PAGE_SIZE)
        fetched: dict[int, BytesLike] = {}
        while missing := [each for each in written_back(disk.table, first_page, end_page) if each.page not in fetched]:
            fetched.update(await self.fetch(disk, missing))
        for page in range(first_page, end_page):
            begin = max(offset_bytes, page * PAGE_SIZE)
            end = min(offset_bytes + len(out), (page + 1) * PAGE_SIZE)
            portion = out[begin - offset_bytes : end - offset_bytes]
            if page in fetched:
                portion[:] = memoryview(fetched[page])[begin % PAGE_SIZE :][: end - begin]
            elif disk.read_nowait(begin, portion):
                raise CorruptPage(f"page {page} does not decompress")

    async def fetch(self, disk: Disk, wanted: Sequence[WrittenBack]) -> dict[int, BytesLike]:
        """Return pages by their numbers, as they were when their slots said so. CorruptPage, BackingDeviceFailed.

        Their blocks are nobody else's until the caller awaits again (`BackingDevice.read`).
        """
        contents = await self._required_backing().read([each.block for each in wanted])
        blocks = (contents[place : place + PAGE_SIZE] for place in range(0, len(contents), PAGE_SIZE))
        if not self.is_compressed:
            return {each.page: block for each, block in zip(wanted, blocks, strict=True)}
        return {
            each.page: decompress_block(block, each, disk.own_codecs)
            for each, block in zip(wanted, blocks, strict=True)
        }

    def load(self, disk: Disk, page: int, room: memoryview) -> bool:
        """Fill `room` with what the block of a candidate is to have; False if it is none any more, or CorruptPage."""
        if self.is_compressed:
            return load_object(disk.table, page, room)
        return load_candidate(disk.table, page, room, disk.own_codecs)

    def commit(self, disk: Disk, page: int, block: int) -> bool:
        """Let a block that has been written stand for a candidate's object; False if it is none any more."""
        remembers = self._abi.keeps_marks_of_written_back or self.is_compressed
        return commit_written_back(disk.table, page, block, remembers=remembers)

    def _required_backing(self) -> BackingDevice:
        if self.backing is None:
            raise NoBackingDevice("there is no backing device")
        return self.backing


class _Batches:
    """The batches of one writeback. A block belongs to the batch from its reservation to the commit."""

    def __init__(self, writeback: Writeback, backing: BackingDevice, disk: Disk, candidates: Candidates) -> None:
        self._writeback = writeback
        self._backing = backing
        self._disk = disk
        self._candidates = candidates
        self._batch_pages = min(writeback.batch_pages, _MOST_BATCH_PAGES)
        self._buffer = memoryview(mmap(-1, self._batch_pages * PAGE_SIZE))
        self._pages: list[int] = []
        self._blocks: list[int] = []
        self._failure: ZramError | None = None

    async def write(self) -> None:
        is_last = False
        try:
            while not is_last:
                is_last = await self._load()
                await self._write_loaded()
        finally:
            self._give_back(self._blocks)
        if self._failure is not None:
            raise self._failure

    async def _load(self) -> bool:
        """Decompress pages until the batch is full; True if no other batch follows."""
        while len(self._pages) < self._batch_pages:
            page = self._candidates.next()
            if page is None:
                return True
            block = self._reserve()
            if block is None:
                return True
            self._blocks.append(block)
            self._load_page(page)
            if len(self._pages) % _TURN_PAGES == 0:
                await trio.lowlevel.checkpoint()
        return False

    def _reserve(self) -> int | None:
        """Take a block, and its page off the limit; None if that is not to be had, and why is noted."""
        if self._writeback.is_limited and not self._writeback.limit_pages:
            self._failure = WritebackLimitSpent("writeback_limit is spent")
            return None
        block = self._backing.blocks.reserve()
        if block is None:
            self._failure = BackingDeviceFull("the backing device is full")
        elif self._writeback.is_limited:
            self._writeback.limit_pages -= 1
        return block

    def _load_page(self, page: int) -> None:
        place = len(self._pages)
        room = self._buffer[place * PAGE_SIZE : (place + 1) * PAGE_SIZE]
        try:
            is_loaded = self._writeback.load(self._disk, page, room)
        except CorruptPage as error:
            self._failure = error
            is_loaded = False
        if is_loaded:
            self._pages.append(page)
        else:
            self._give_back([self._blocks.pop()])

    async def _write_loaded(self) -> None:
        if not self._pages:
            return
        failures = await self._backing.write(self._buffer[: len(self._pages) * PAGE_SIZE], self._blocks)
        pages, blocks = self._pages, self._blocks
        self._pages, self._blocks = [], []
        for place, (page, block) in enumerate(zip(pages, blocks, strict=True)):
            if place in failures:
                self._give_back([block])
            elif not self._writeback.commit(self._disk, page, block):
                self._backing.blocks.give_back(block)
        for error in failures.values():
            text = f"the backing device cannot be written: {error.strerror}"
            self._failure = BackingDeviceFailed(text, error.errno or errno.EIO)

    def _give_back(self, blocks: Sequence[int]) -> None:
        """Release blocks that were not written; the limit has room for their pages again."""
        for block in blocks:
            self._backing.blocks.give_back(block)
            if self._writeback.is_limited:
                self._writeback.limit_pages += 1
