"""A pyfuse3 file system that does nothing, and polls for its requests: what FUSE from Python costs without any zram.

Its one file takes every write and reads as zeros. `python nothing.py MOUNTPOINT` serves until it is unmounted.
"""

import errno
import select
import stat
import sys
from time import monotonic_ns
from types import SimpleNamespace

import pyfuse3
import trio
from cells import DISK_BYTES, MIB

BUSY_POLL_NS = 50_000
TURN_NS = 500_000
ZEROS = bytes(MIB)
DISK = pyfuse3.InodeT(pyfuse3.ROOT_INODE + 1)


class Nothing(pyfuse3.Operations):
    """A folder with one file, `disk`."""

    async def lookup(
        self, parent_inode: pyfuse3.InodeT, name: pyfuse3.FileNameT, ctx: pyfuse3.RequestContext
    ) -> pyfuse3.EntryAttributes:
        del parent_inode
        if name != b"disk":
            raise pyfuse3.FUSEError(errno.ENOENT)
        return await self.getattr(DISK, ctx)

    async def getattr(self, inode: pyfuse3.InodeT, ctx: pyfuse3.RequestContext) -> pyfuse3.EntryAttributes:
        del ctx
        entry = pyfuse3.EntryAttributes()
        entry.st_ino = inode
        entry.st_nlink = 1
        entry.attr_timeout = entry.entry_timeout = 3600
        entry.st_mode = pyfuse3.ModeT(stat.S_IFREG | 0o600 if inode == DISK else stat.S_IFDIR | 0o755)
        entry.st_size = DISK_BYTES if inode == DISK else 0
        return entry

    async def setattr(
        self,
        inode: pyfuse3.InodeT,
        attr: pyfuse3.EntryAttributes,
        fields: pyfuse3.SetattrFields,
        fh: pyfuse3.FileHandleT | None,
        ctx: pyfuse3.RequestContext,
    ) -> pyfuse3.EntryAttributes:
        del attr, fields, fh
        return await self.getattr(inode, ctx)

    async def open(self, inode: pyfuse3.InodeT, flags: pyfuse3.FlagT, ctx: pyfuse3.RequestContext) -> pyfuse3.FileInfo:
        del inode, flags, ctx
        return pyfuse3.FileInfo(fh=pyfuse3.FileHandleT(1))

    async def read(self, fh: pyfuse3.FileHandleT, off: int, size: int) -> bytes:
        del fh, off
        return ZEROS[:size]

    async def write(self, fh: pyfuse3.FileHandleT, off: int, buf: bytes) -> int:
        del fh, off
        return len(buf)


class ReadLock:
    """Lets one task at a time wait for a request. Unlike trio's, taking it when it is free is not a checkpoint."""

    def __init__(self) -> None:
        self._is_held = False
        self._waiting = trio.lowlevel.ParkingLot()

    async def __aenter__(self) -> None:
        while self._is_held:
            await self._waiting.park()
        self._is_held = True

    async def __aexit__(self, *_: object) -> None:
        self._is_held = False
        self._waiting.unpark()


class PollingTrio:
    """What pyfuse3 takes of trio, with a `wait_readable` that polls before it sleeps: twice the requests."""

    ClosedResourceError = trio.ClosedResourceError
    Lock = ReadLock
    open_nursery = staticmethod(trio.open_nursery)

    def __init__(self) -> None:
        self._poll = select.poll()
        self._is_registered = False
        self._turn_ends_ns = 0
        self.lowlevel = SimpleNamespace(
            current_task=trio.lowlevel.current_task,
            current_trio_token=trio.lowlevel.current_trio_token,
            notify_closing=trio.lowlevel.notify_closing,
            wait_readable=self.wait_readable,
        )

    async def wait_readable(self, fd: int) -> None:
        """Return when there is a request."""
        if not self._is_registered:
            self._poll.register(fd, select.POLLIN)
            self._is_registered = True
        now_ns = monotonic_ns()
        if now_ns > self._turn_ends_ns:
            await trio.lowlevel.checkpoint()
            self._turn_ends_ns = now_ns + TURN_NS
        ends_ns = now_ns + BUSY_POLL_NS
        while not self._poll.poll(0):
            if monotonic_ns() > ends_ns:
                await trio.lowlevel.wait_readable(fd)
                return


def main(mountpoint: str) -> None:
    """Serve until somebody unmounts."""
    pyfuse3.init(Nothing(), mountpoint, {"fsname=nothing"})
    pyfuse3.trio = PollingTrio()  # type: ignore[attr-defined]
    trio.run(pyfuse3.main)
    pyfuse3.close()


if __name__ == "__main__":
    main(sys.argv[1])
