"""The upkeep of a device's pages: idle marks, compaction, writeback, recompression, and a look at all of them."""

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Final

import trio

from zramfs.block.disk import Disk
from zramfs.block.scan import describe_some, described_bytes, mark_idle_some
from zramfs.device.recompression import Recompression, recompress
from zramfs.device.settings import require_initialised, require_uninitialised
from zramfs.device.writeback import Selection, Writeback
from zramfs.errors import Interrupted
from zramfs.units import PAGE_SIZE
from zramfs.zcomp.zcomp import PercpuStream

_COMPACT_SLICE_OBJECTS: Final = 512
"""Objects moved before others have their turn: about 0.2 ms."""


class Upkeep:
    """What is done to a device's pages beside requests. All methods belong to the event loop; others have their turns.

    Writeback, recompression and the choice of a backing device run one at a time: while one does, `is_running`.
    """

    def __init__(self, disk: Disk, writeback: Writeback) -> None:
        self._disk = disk
        self._writeback = writeback
        self._one_at_a_time = trio.Lock()
        self._interruption = trio.CancelScope()
        self._secondary_streams: Mapping[int, PercpuStream] = {}

    def begin(self, secondary_streams: Mapping[int, PercpuStream]) -> None:
        """Recompress with these streams, by priority: the device has been initialised."""
        self._secondary_streams = secondary_streams

    def end(self) -> None:
        """Let go of them: the device is closed."""
        self._secondary_streams = {}

    @property
    def is_running(self) -> bool:
        """Whether one of those runs: the device must stay as it is."""
        return self._one_at_a_time.locked()

    async def compact(self) -> None:
        """Move objects together and give the memory that falls empty back."""
        table = require_initialised(self._disk).table
        while self._disk.is_open and table.compact_some(_COMPACT_SLICE_OBJECTS):
            await trio.lowlevel.checkpoint()

    async def mark_idle(self, age_s: int | None = None) -> None:
        """Mark pages idle that were not accessed for `age_s` seconds, or all."""
        table = require_initialised(self._disk).table
        page = 0
        while self._disk.is_open and page < table.page_count:
            page = mark_idle_some(table, page, age_s)
            await trio.lowlevel.checkpoint()

    async def choose_backing(self, path: str | None) -> None:
        """Choose the backing device, or none; only before the device is initialised, which it cannot be meanwhile."""
        async with self._one_at_a_time:
            require_uninitialised(self._disk, "its backing device cannot change")
            await self._writeback.choose_backing(path)

    async def write_back(self, selections: Sequence[Selection]) -> None:
        """Move the selected pages to the backing device (`Writeback.write_back`)."""
        async with self._alone():
            await self._writeback.write_back(require_initialised(self._disk), selections)

    async def recompress(self, wanted: Recompression) -> None:
        """Make objects smaller by the algorithms of recompression (`recompress`)."""
        async with self._alone():
            await recompress(require_initialised(self._disk), self._secondary_streams, wanted)

    @asynccontextmanager
    async def _alone(self) -> AsyncIterator[None]:
        """Let one run at a time; Interrupted if it does not come to its end."""
        async with self._one_at_a_time:
            with trio.CancelScope() as self._interruption:
                yield
            if self._interruption.cancelled_caught:
                raise Interrupted(f"{self._disk.name}: the daemon ends")

    def interrupt(self) -> None:
        """End the writeback or recompression that runs after the pages that it has in hand."""
        self._interruption.cancel()

    def block_state(self) -> Iterator[str]:
        """Tell of each page in use, in the kernel's lines, some pages at a time."""
        page = 0
        while page * PAGE_SIZE < self._disk.size_bytes:
            lines, page = describe_some(require_initialised(self._disk).table, page)
            yield lines

    def block_state_bytes(self) -> int:
        """How long the text of `block_state` is."""
        return described_bytes(self._disk.table) if self._disk.is_open else 0
