"""The FUSE operations: finds the node or the open file that a request is for, and passes the request on."""

import errno
import os
import stat
import time
from collections.abc import Callable, Sequence
from typing import NoReturn

import pyfuse3
from pyfuse3 import (
    EntryAttributes,
    FileHandleT,
    FileInfo,
    FileNameT,
    FlagT,
    FUSEError,
    InodeT,
    ModeT,
    ReaddirToken,
    RequestContext,
    SetattrFields,
    StatvfsData,
    XAttrNameT,
)

from zramfs.contracts import ControlTree
from zramfs.device.device import ZramDevice
from zramfs.device.device_set import DeviceSet
from zramfs.device.lineage import OwnMount
from zramfs.fuse.announcements import Announcements
from zramfs.fuse.answering import answers_errors
from zramfs.fuse.attribute_file import AttributeFile, OpenAttribute
from zramfs.fuse.block_file import BlockFile
from zramfs.fuse.device_files import DeviceFiles, make_folder
from zramfs.fuse.node_tree import NodeTree
from zramfs.fuse.nodes import Folder, Node, OpenFile, SymbolicLink
from zramfs.receive.handles import Handles
from zramfs.units import PAGE_SIZE


class ZramFilesystem(pyfuse3.Operations):
    """Serves the block files of `devices`, the control files that stay, and for each device those of `device_tree`.

    `handles` tell receivers which block files are open. `on_ready` is called once I/O is answered. `own_mount` is told
    where they are mounted.
    """

    supports_dot_lookup = True
    enable_writeback_cache = False

    def __init__(
        self,
        devices: DeviceSet,
        *,
        control_tree: ControlTree,
        device_tree: Callable[[ZramDevice], ControlTree],
        handles: Handles,
        on_ready: Callable[[], None],
        own_mount: OwnMount | None = None,
    ) -> None:
        super().__init__()
        self.own_mount = own_mount or OwnMount()
        self._on_ready = on_ready
        self._devices = devices
        self._handles = handles
        self._owner = (os.getuid(), os.getgid())
        self._mounted_ns = time.time_ns()
        self._tree = NodeTree()
        self.announcements = Announcements(self.own_mount)
        """News for the kernel."""
        self.open_files: dict[int, OpenFile] = {}
        """By handle, from open to release."""
        self._tree.graft(make_folder(control_tree, self.announcements.sent))
        devices.watch(DeviceFiles(self._tree, self.announcements, device_tree))

    # ---- devices ------------------------------------------------------------------------------------------------

    def interrupt_devices(self) -> None:
        """Let writeback and recompression end early: the daemon is about to."""
        for device in self._devices:
            device.upkeep.interrupt()

    def abandon_devices(self) -> None:
        """Let no request wait for an accelerator or a backing device any more: the session is about to end."""
        for device in self._devices:
            device.abandon_waiting()

    def let_nobody_wait(self) -> None:
        """End all work under way: the session is over, and nobody waits for it."""
        self.interrupt_devices()
        self.abandon_devices()

    def init(self) -> None:
        """FUSE_INIT is being answered: from here on, requests are."""
        self._on_ready()

    # ---- names and attributes -----------------------------------------------------------------------------------

    @answers_errors
    async def lookup(self, parent_inode: InodeT, name: FileNameT, ctx: RequestContext) -> EntryAttributes:
        """Find a name in a folder."""
        del ctx
        folder = self._tree.folder(parent_inode)
        node = folder if name in (b".", b"..") else folder.entries.get(os.fsdecode(name))
        if node is None:
            raise FUSEError(errno.ENOENT)
        return self._attributes(node)

    @answers_errors
    async def getattr(self, inode: InodeT, ctx: RequestContext) -> EntryAttributes:
        """Answer stat(2)."""
        del ctx
        return self._attributes(self._tree.node(inode))

    @answers_errors
    async def setattr(
        self,
        inode: InodeT,
        attr: EntryAttributes,
        fields: SetattrFields,
        fh: FileHandleT | None,
        ctx: RequestContext,
    ) -> EntryAttributes:
        """Leave everything as it is: sizes are fixed, as a block device's, and so are times; owners and modes too."""
        del attr, fh, ctx
        if fields.update_mode or fields.update_uid or fields.update_gid:
            raise FUSEError(errno.EPERM)
        return self._attributes(self._tree.node(inode))

    @answers_errors
    async def statfs(self, ctx: RequestContext) -> StatvfsData:
        """Tell sizes in pages; a loop device takes its discard granularity from here."""
        del ctx
        stat_ = StatvfsData()
        stat_.f_bsize = stat_.f_frsize = PAGE_SIZE
        stat_.f_blocks = sum(device.disksize for device in self._devices) // PAGE_SIZE
        stored = sum(device.statistics.mm_stat().orig_data_size for device in self._devices) // PAGE_SIZE
        stat_.f_bfree = stat_.f_bavail = stat_.f_blocks - stored
        stat_.f_files = len(self._tree)
        stat_.f_ffree = stat_.f_favail = 0
        stat_.f_namemax = 255
        return stat_

    def _attributes(self, node: Node) -> EntryAttributes:
        entry = EntryAttributes()
        entry.st_ino = self._tree.inode(node)
        entry.st_mode = ModeT(node.mode)
        entry.st_nlink = 2 if isinstance(node, Folder) else 1
        entry.st_uid, entry.st_gid = self._owner
        entry.st_size = node.size_bytes
        entry.st_blocks = node.stored_blocks
        entry.st_blksize = PAGE_SIZE
        entry.st_atime_ns = entry.st_mtime_ns = entry.st_ctime_ns = self._mounted_ns
        entry.attr_timeout, entry.entry_timeout = node.attributes_timeout_s, node.name_timeout_s
        return entry

    @answers_errors
    async def readlink(self, inode: InodeT, ctx: RequestContext) -> FileNameT:
        """Tell where a link leads."""
        del ctx
        node = self._tree.node(inode)
        if not isinstance(node, SymbolicLink):
            raise FUSEError(errno.EINVAL)
        return FileNameT(node.target)

    @answers_errors
    async def _refuse(self, *_: object) -> NoReturn:
        """Refuse whatever would change a folder: names are fixed, as in sysfs."""
        raise FUSEError(errno.EPERM)

    mkdir = symlink = link = rename = unlink = rmdir = _refuse  # type: ignore[assignment]

    @answers_errors
    async def create(self, *_: object) -> NoReturn:
        """Refuse a new file as lookup_open() does in sysfs."""
        raise FUSEError(errno.EACCES)

    @answers_errors
    async def mknod(
        self, parent_inode: InodeT, name: FileNameT, mode: ModeT, rdev: int, ctx: RequestContext
    ) -> EntryAttributes:
        """Refuse a new file likewise, and a device as any other change."""
        del parent_inode, name, rdev, ctx
        raise FUSEError(errno.EACCES if stat.S_ISREG(mode) else errno.EPERM)

    @answers_errors
    async def listxattr(self, inode: InodeT, ctx: RequestContext) -> Sequence[XAttrNameT]:
        """Tell that there are none.

        To be asked for one by name stays unsupported, so that the kernel asks once, and not with each write of a file.
        """
        del inode, ctx
        return ()

    # ---- folders ------------------------------------------------------------------------------------------------

    @answers_errors
    async def opendir(self, inode: InodeT, ctx: RequestContext) -> FileHandleT:
        """Use the folder's inode as its handle."""
        del ctx
        self._tree.folder(inode)
        return FileHandleT(inode)

    @answers_errors
    async def readdir(self, fh: FileHandleT, start_id: int, token: ReaddirToken) -> None:
        """List a folder, from the entry behind inode `start_id` on."""
        for name, node in self._tree.entries_behind(self._tree.folder(InodeT(fh)), start_id):
            attributes = self._attributes(node)
            if not pyfuse3.readdir_reply(token, FileNameT(os.fsencode(name)), attributes, attributes.st_ino):
                return

    # ---- files --------------------------------------------------------------------------------------------------

    @answers_errors
    async def open(self, inode: InodeT, flags: FlagT, ctx: RequestContext) -> FileInfo:
        """Open a file; the kernel's page cache serves block files (mmap needs it), never attributes."""
        node = self._tree.node(inode)
        if isinstance(node, Folder):
            raise FUSEError(errno.EISDIR)
        if isinstance(node, AttributeFile) and node.is_long:
            self.announcements.contents_changed(inode)
            await self.announcements.sent()
        if isinstance(node, SymbolicLink):
            raise FUSEError(errno.ELOOP)
        handle = self._open_node(node, flags, ctx.pid)
        return FileInfo(fh=FileHandleT(handle), direct_io=node.is_direct_io)

    def _open_node(self, node: AttributeFile | BlockFile, flags: int, pid: int) -> int:
        file: OpenFile = node.open(flags) if isinstance(node, BlockFile) else node.open(flags, pid)
        try:
            handle = self._new_handle(node, flags)
        except MemoryError:
            file.release()
            raise
        self.open_files[handle] = file
        return handle

    def _new_handle(self, node: AttributeFile | BlockFile, flags: int) -> int:
        if isinstance(node, BlockFile):
            return self._handles.open_disk(node.device.disk, flags)
        return self._handles.open_other()

    @answers_errors
    async def read(self, fh: FileHandleT, off: int, size: int) -> bytes:
        """Read from an attribute; from a block file where there are no receivers."""
        return await self.open_files[fh].read(off, size)

    @answers_errors
    async def write(self, fh: FileHandleT, off: int, buf: bytes) -> int:
        """Write to an attribute; to a block file where there are no receivers."""
        return await self.open_files[fh].write(off, buf)

    def seek(self, handle: int, offset_bytes: int, whence: int) -> int | None:
        """Return the next data or hole of an attribute (SEEK_DATA or SEEK_HOLE); None if there is none."""
        file = self.open_files[handle]
        if not isinstance(file, OpenAttribute):
            raise FUSEError(errno.EINVAL)  # receivers answer for block files
        return file.seek(offset_bytes, whence)

    @answers_errors
    async def flush(self, fh: FileHandleT) -> None:
        """Answer close(2): every acknowledged write is stored."""

    @answers_errors
    async def fsync(self, fh: FileHandleT, datasync: bool) -> None:  # noqa: FBT001 - pyfuse3's signature
        """Answer fsync, and fdatasync alike."""
        del datasync
        self.open_files[fh].flush()

    @answers_errors
    async def release(self, fh: FileHandleT) -> None:
        """Answer the last close."""
        self._handles.close(fh)
        self.open_files.pop(fh).release()
