"""The backing device: a block device or a file that pages are written back to, and read again.

All I/O is done by a process of its own (`backing_process`), because it may take its time, or never end. It goes past
the page cache where that can be: a page that was written back would otherwise stay in memory, and an error would come
when the page is gone from it.
"""

import errno
import logging
import os
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import trio

from zramfs.block.blocks import BlockMap
from zramfs.device.backing_link import BackingLink, Transfer, open_link, reopen_link
from zramfs.device.backing_process import SLOT_PAGES
from zramfs.device.lineage import OwnMount
from zramfs.errors import BackingDeviceFailed, LiesOnOwnMount
from zramfs.units import PAGE_SIZE

_log: Final = logging.getLogger(__name__)

_RESTART_S: Final = 1.0
"""How often a process may be started at most."""

_MOST_WRITES: Final = 8
"""Slots that a writeback takes at most: reads need some as well."""


class BackingDevice:
    """An open backing device. A block of it is a page; `blocks` knows which are in use.

    If its process dies, the requests in its hands fail, and another one goes on.
    """

    def __init__(self, link: BackingLink, first_block: int = 0) -> None:
        self._link = link
        self._queue: deque[Transfer] = deque()
        """Those that no slot is free for."""
        self._is_linked = True
        self._refusal: OSError | None = None
        """Why nothing can be asked for; None if it can, be it that a process has to be started first."""
        self._serving = trio.CancelScope()
        self._closing = trio.Event()
        self.blocks = BlockMap(link.size_bytes // PAGE_SIZE, first_block=first_block)
        self.reads = 0
        """Pages that were to be read from it: bd_reads."""
        self.writes = 0
        """Pages written to it: bd_writes."""
        self.closed = trio.Event()
        """It can be used by somebody else, or its process hangs and may keep it as long as it does."""
        trio.lowlevel.spawn_system_task(self._serve, name="backing device")

    @property
    def path(self) -> str:
        """Where it is, as the kernel tells it (file_path)."""
        return str(Path(f"/proc/self/fd/{self._link.place_fd}").readlink())

    async def read(self, blocks: Sequence[int]) -> memoryview:
        """Return the contents of blocks that slots own, a page each; BackingDeviceFailed if one cannot be read.

        The blocks may have been released when this returns, but until the caller awaits again nobody else has them.
        """
        await self._require_usable()
        for block in blocks:
            self.blocks.pin(block)
        self.reads += len(blocks)  # whatever becomes of them (read_from_bdev)
        transfers = [Transfer(blocks[first : first + SLOT_PAGES]) for first in range(0, len(blocks), SLOT_PAGES)]
        try:
            for transfer in transfers:
                self._begin(transfer)
            for transfer in transfers:
                await transfer.wait()
        finally:
            for block in blocks:
                self.blocks.unpin(block)
        for transfer in transfers:
            for error in transfer.failures.values():
                raise BackingDeviceFailed(f"the backing device cannot be read: {error.strerror}", errno.EIO) from error
        return memoryview(b"".join(transfer.contents for transfer in transfers))

    async def write(self, pages: memoryview, blocks: Sequence[int]) -> dict[int, OSError]:
        """Write pages to reserved blocks; the errors of those that failed, by their place in `blocks`.

        BackingDeviceFailed if nothing can be written at all.
        """
        await self._require_usable()
        failures: dict[int, OSError] = {}
        under_way: deque[tuple[int, Transfer]] = deque()

        async def await_oldest() -> None:
            first, transfer = under_way.popleft()
            await transfer.wait()
            failures.update((first + place, error) for place, error in transfer.failures.items())

        for first in range(0, len(blocks), SLOT_PAGES):
            end = min(first + SLOT_PAGES, len(blocks))
            transfer = Transfer(blocks[first:end], pages[first * PAGE_SIZE : end * PAGE_SIZE])
            self._begin(transfer)
            under_way.append((first, transfer))
            if len(under_way) == _MOST_WRITES:
                await await_oldest()
        while under_way:
            await await_oldest()
        self.writes += len(blocks) - len(failures)
        return failures

    async def _require_usable(self) -> None:
        await trio.lowlevel.checkpoint_if_cancelled()  # the only place: whoever has begun waits for the end
        if self._refusal is not None:
            text = f"the backing device cannot be used: {self._refusal.strerror}"
            raise BackingDeviceFailed(text, errno.EIO) from self._refusal

    def _begin(self, transfer: Transfer) -> None:
        if self._refusal is not None:  # since some of the same call have begun
            transfer.fail(self._refusal)
            return
        self._queue.append(transfer)
        self._submit_queued()

    def _submit_queued(self) -> None:
        while self._queue and self._is_linked and self._link.has_room:
            self._link.begin(self._queue.popleft())

    # ---- its process ------------------------------------------------------------------------------------------------

    async def _serve(self) -> None:
        """Take answers, and start another process when one has died, until `abandon`."""
        try:
            with self._serving:
                while True:
                    started_s = trio.current_time()
                    await self._link.serve(self._submit_queued)
                    await self._note_death()
                    await trio.sleep_until(started_s + _RESTART_S)
                    await self._restart()
        except Exception:  # noqa: BLE001 - a system task's would end the daemon, and everybody's data with it
            _log.exception("the backing device is given up")
            self.abandon()
        finally:
            self._link.release()
        await self._link.released.wait()
        await self._closing.wait()
        os.close(self._link.place_fd)
        self.closed.set()

    async def _note_death(self) -> None:
        self._is_linked = False
        count = self._link.fail_pending(_io_error())
        _log.error("the process of %s has died: %d requests fail, and another one is started", self.path, count)
        self._link.release()
        await self._link.released.wait()

    async def _restart(self) -> None:
        """Start another process, however long that takes; requests made meanwhile fail after the first attempt."""
        while True:
            try:
                link = await reopen_link(self.path, self._link.place_fd)
            except OSError as error:
                if self._refusal is None:
                    _log.error("%s cannot be used: %s", self.path, error.strerror)
                self._refuse(OSError(errno.EIO, error.strerror))
                await trio.sleep(_RESTART_S)
            else:
                os.close(self._link.place_fd)
                self._link = link
                self._is_linked = True
                self._refusal = None
                self._submit_queued()
                return

    def _refuse(self, error: OSError) -> None:
        """Let all that waits, and all that comes, fail."""
        self._refusal = error
        while self._queue:
            self._queue.popleft().fail(error)

    def abandon(self) -> None:
        """Let all that is under way, and all that comes, fail at once with EIO: nobody shall wait any more.

        What the process has in hand may still reach the device, but nothing else will be written there.
        """
        self._refuse(_io_error())
        self._link.fail_pending(_io_error())
        self._serving.cancel()

    def close(self) -> None:
        """Let it go; nothing is in flight. `closed` is set when that has been done, which is soon in any case."""
        self.abandon()
        self._closing.set()

    def __repr__(self) -> str:
        return f"<BackingDevice {self.path} {self.blocks!r}, {self.reads} reads, {self.writes} writes>"


async def open_backing_device(path: str, own_mount: OwnMount, *, first_block: int = 0) -> BackingDevice:
    """Open a block device or a regular file, of at least a page, that nobody else claims (backing_dev_store).

    Nobody gets a block before `first_block`. LiesOnOwnMount if it does lie there, and a line in the log.
    """
    try:
        return BackingDevice(await open_link(path, own_mount), first_block)
    except LiesOnOwnMount as error:
        _log.warning("backing_dev is refused: %s", error)
        raise
    except OSError as error:
        raise BackingDeviceFailed(f"{path!r} cannot be used: {error.strerror}", error.errno or errno.EIO) from error


def _io_error() -> OSError:
    return OSError(errno.EIO, os.strerror(errno.EIO))
