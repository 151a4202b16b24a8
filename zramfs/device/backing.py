"""The backing device: a block device or a file that pages are written back to, and read again.

All I/O runs in threads, because it may take its time. It goes past the page cache where that can be: a page that
was written back would otherwise stay in memory, and an error would come when the page is gone from it.
"""

import errno
import fcntl
import logging
import os
import stat
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from mmap import mmap
from pathlib import Path
from typing import Final

import trio

from zramfs.device.blocks import BlockMap
from zramfs.device.lineage import OwnMount
from zramfs.errors import BackingDeviceFailed, LiesOnOwnMount
from zramfs.units import PAGE_SIZE

_log: Final = logging.getLogger(__name__)

_FLAGS: Final = os.O_RDWR | os.O_EXCL | os.O_CLOEXEC


class BackingDevice:
    """An open backing device. A block of it is a page; `blocks` knows which are in use."""

    def __init__(self, fd: int, block_count: int) -> None:
        self._fd = fd
        self.blocks = BlockMap(block_count)
        self.reads = 0
        """Pages read from it: bd_reads."""
        self.writes = 0
        """Pages written to it: bd_writes."""
        self.closed = trio.Event()

    @property
    def path(self) -> str:
        """Where it is, as the kernel tells it (file_path)."""
        return str(Path(f"/proc/self/fd/{self._fd}").readlink())

    async def read(self, blocks: Sequence[int]) -> memoryview:
        """Return the contents of blocks that slots own, a page each; BackingDeviceFailed if one cannot be read.

        The blocks may have been released when this returns, but until the caller awaits again nobody else has them.
        """
        pages = memoryview(mmap(-1, len(blocks) * PAGE_SIZE))
        for block in blocks:
            self.blocks.pin(block)
        try:
            await trio.to_thread.run_sync(self._read_runs, pages, blocks)
        except OSError as error:
            raise BackingDeviceFailed(f"the backing device cannot be read: {error.strerror}", errno.EIO) from error
        finally:
            for block in blocks:
                self.blocks.unpin(block)
        self.reads += len(blocks)
        return pages

    async def write(self, pages: memoryview, blocks: Sequence[int]) -> dict[int, OSError]:
        """Write pages to reserved blocks; the errors of those that failed, by their place in `blocks`.

        `pages` begin at a multiple of their size in memory, as those of an mmap do.
        """
        failures = await trio.to_thread.run_sync(self._write_runs, pages, blocks)
        self.writes += len(blocks) - len(failures)
        return failures

    def _read_runs(self, pages: memoryview, blocks: Sequence[int]) -> None:
        for first, end in _runs(blocks):
            self._transfer(os.preadv, pages[first * PAGE_SIZE : end * PAGE_SIZE], blocks[first])

    def _write_runs(self, pages: memoryview, blocks: Sequence[int]) -> dict[int, OSError]:
        failures: dict[int, OSError] = {}
        for first, end in _runs(blocks):
            if not self._write_run(pages, blocks, first, end):
                failures.update(self._write_each(pages, blocks, range(first, end)))
        return failures

    def _write_run(self, pages: memoryview, blocks: Sequence[int], first: int, end: int) -> bool:
        try:
            self._transfer(os.pwritev, pages[first * PAGE_SIZE : end * PAGE_SIZE], blocks[first])
        except OSError:
            return False
        return True

    def _write_each(self, pages: memoryview, blocks: Sequence[int], places: range) -> Iterator[tuple[int, OSError]]:
        """One page at a time, so that a bad block fails no other."""
        for place in places:
            try:
                self._transfer(os.pwritev, pages[place * PAGE_SIZE : (place + 1) * PAGE_SIZE], blocks[place])
            except OSError as error:
                yield place, error

    def _transfer(self, transfer: Callable[[int, list[memoryview], int], int], pages: memoryview, block: int) -> None:
        offset_bytes = block * PAGE_SIZE
        while pages:
            count = transfer(self._fd, [pages], offset_bytes)
            if count == 0:
                raise OSError(errno.EIO, "it has become shorter")
            pages = pages[count:]
            offset_bytes += count

    def close(self) -> None:
        """Close it, in a thread as well; nothing is in flight. `closed` is set when it is."""
        token = trio.lowlevel.current_trio_token()

        def tell(_: object) -> None:
            with suppress(trio.RunFinishedError):
                token.run_sync_soon(self.closed.set)

        trio.lowlevel.start_thread_soon(partial(os.close, self._fd), tell, name="backing device")

    def __repr__(self) -> str:
        return f"<BackingDevice {self.path} {self.blocks!r}, {self.reads} reads, {self.writes} writes>"


async def open_backing_device(path: str, own_mount: OwnMount) -> BackingDevice:
    """Open a block device or a regular file, of at least a page, that nobody else claims (backing_dev_store).

    LiesOnOwnMount if it does, and a line in the log.
    """
    try:
        fd, size_bytes = await trio.to_thread.run_sync(_open, path, own_mount)
    except LiesOnOwnMount as error:
        _log.warning("backing_dev is refused: %s", error)
        raise
    except OSError as error:
        raise BackingDeviceFailed(f"{path!r} cannot be used: {error.strerror}", error.errno or errno.EIO) from error
    return BackingDevice(fd, size_bytes // PAGE_SIZE)


def _open(path: str, own_mount: OwnMount) -> tuple[int, int]:
    """Return a descriptor and its size in bytes."""
    with own_mount.found_elsewhere(path) as found_fd:
        mode = os.fstat(found_fd).st_mode  # before it is opened, which may do something to a device of another kind
        if not stat.S_ISBLK(mode) and not stat.S_ISREG(mode):
            raise OSError(errno.ENOTBLK, os.strerror(errno.ENOTBLK))
        fd = _open_past_cache(f"/proc/self/fd/{found_fd}")
    try:
        _claim(fd, mode)
        return fd, _size_bytes(fd)
    except OSError:
        os.close(fd)
        raise


def _open_past_cache(path: str) -> int:
    try:
        return os.open(path, _FLAGS | os.O_DIRECT)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
    return os.open(path, _FLAGS | os.O_DSYNC)  # a file system without direct I/O


def _claim(fd: int, mode: int) -> None:
    """Let no other device use the same file; O_EXCL does that for block devices."""
    if stat.S_ISREG(mode):
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise OSError(errno.EBUSY, os.strerror(errno.EBUSY)) from error


def _size_bytes(fd: int) -> int:
    size_bytes = os.lseek(fd, 0, os.SEEK_END)
    if size_bytes < PAGE_SIZE:
        raise OSError(errno.EINVAL, "it has less than a page")
    return size_bytes


def _runs(blocks: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Cut places into runs whose blocks follow each other: the first place of each, and the one behind its last."""
    first = 0
    for place in range(1, len(blocks) + 1):
        if place == len(blocks) or blocks[place] != blocks[place - 1] + 1:
            yield first, place
            first = place
