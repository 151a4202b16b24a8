"""A pyfuse3 file system that does nothing, with zramfs's reader: what FUSE from Python costs without any zram.

Its one file takes every write and reads as zeros. `python nothing.py MOUNTPOINT` serves until it is unmounted.
"""

import errno
import stat
import sys

import pyfuse3
import trio
from cells import DISK_BYTES, MIB

from zramfs.fuse.reader import PollingTrio

BUSY_POLL_US = 50
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


def main(mountpoint: str) -> None:
    """Serve until somebody unmounts."""
    pyfuse3.init(Nothing(), mountpoint, {"fsname=nothing"})
    pyfuse3.trio = PollingTrio(BUSY_POLL_US)  # type: ignore[attr-defined]
    trio.run(pyfuse3.main)
    pyfuse3.close()


if __name__ == "__main__":
    main(sys.argv[1])
