"""What the file system consists of: folders, attributes and block files, and what each does when it is open."""

import errno
import os
import stat
from collections.abc import Awaitable, Callable, Iterator
from typing import Final, Protocol

import trio

from zramfs.caller import Caller
from zramfs.contracts import Attribute
from zramfs.device.device import ZramDevice
from zramfs.errors import InvalidValue, NoSuchDevice, PastTheEnd, ReadOnlyDevice, ZramError
from zramfs.units import PAGE_SIZE, SECTOR_SIZE

_TIMEOUT_S: Final = 3600.0
"""How long the kernel may trust its knowledge of a node. Names that go are announced, and so is a block file's size."""


_LONGEST_READ_BYTES: Final = 128 * 1024
"""What one read of a long text gives: a millisecond of block_state."""


class AccessDenied(ZramError):  # noqa: N818
    """An attribute is opened for what it cannot do; sysfs refuses that to root too (kernfs_fop_open)."""

    errno = errno.EACCES


class OpenFile(Protocol):
    """A file from open to release. Receivers read and write block files, so that only others are asked here."""

    async def read(self, offset_bytes: int, size_bytes: int) -> bytes:
        """Return what is there, fewer bytes only at the end."""

    async def write(self, offset_bytes: int, data: bytes) -> int:
        """Take the data; how many bytes of it."""

    def flush(self) -> None:
        """Return when everything acknowledged is stored."""

    def release(self) -> None:
        """The last close."""


class Folder:
    """A directory: names to nodes."""

    mode: Final = stat.S_IFDIR | 0o755
    is_direct_io: Final = False
    size_bytes: Final = 0
    stored_blocks: Final = 0
    name_timeout_s: Final = _TIMEOUT_S
    attributes_timeout_s: Final = _TIMEOUT_S

    def __init__(self, entries: "dict[str, Node]") -> None:
        self.entries = entries


class SymbolicLink:
    """A link to another node, by its path."""

    mode: Final = stat.S_IFLNK | 0o777
    is_direct_io: Final = False
    stored_blocks: Final = 0
    name_timeout_s: Final = _TIMEOUT_S
    attributes_timeout_s: Final = _TIMEOUT_S

    def __init__(self, target: str) -> None:
        self.target = os.fsencode(target)
        self.size_bytes = len(self.target)


class AttributeFile:
    """A control file, with sysfs's manners: 4096 bytes large, whatever it says; or as large as a long text is.

    The kernel must ask for the size at each open. It takes the end of the text for the end of the file after it has
    read by its page cache, as sendfile(2) does, and drops that page when the size is another one again.

    `on_changed` is awaited after a store that `changes_files`, before its writer goes on. `is_gone` is set when its
    device has been removed: whoever has it open then meets what kernfs_get_active tells.
    """

    is_direct_io: Final = True
    name_timeout_s: Final = _TIMEOUT_S
    attributes_timeout_s: Final = 0.0

    def __init__(self, attribute: Attribute, on_changed: Callable[[], Awaitable[None]]) -> None:
        self.attribute = attribute
        self.mode = stat.S_IFREG | attribute.mode
        self.on_changed = on_changed
        self.is_gone = False

    @property
    def is_long(self) -> bool:
        """Whether its text may be longer than a page."""
        return self.attribute.show_portions is not None

    @property
    def size_bytes(self) -> int:
        """A page; of a long text the length."""
        return self.attribute.text_bytes() if self.attribute.text_bytes else PAGE_SIZE

    @property
    def stored_blocks(self) -> int:
        """As many as its size takes: sysfs says none, and for `tar -S` a file of no blocks is all hole."""
        return -(-self.size_bytes // SECTOR_SIZE)

    def open(self, flags: int, pid: int = 0) -> "OpenAttribute":
        """Open for reading what can be shown, and for writing what can be stored; `pid` is the caller's."""
        access = flags & os.O_ACCMODE
        attribute = self.attribute
        if access != os.O_WRONLY and not (attribute.show or attribute.show_async or attribute.show_portions):
            raise AccessDenied("this attribute cannot be read")
        if access != os.O_RDONLY and attribute.store is None and attribute.store_at is None:
            raise AccessDenied("this attribute cannot be written")
        if flags & os.O_DIRECT:  # do_dentry_open(): kernfs has no direct I/O
            raise InvalidValue("an attribute has no direct I/O")
        if attribute.show_portions is not None:
            return OpenLongAttribute(self, attribute.show_portions)
        return OpenAttribute(self, Caller(pid) if attribute.store_at is not None and pid else None)


def _encoded(shown: str) -> bytes:
    """Give back the bytes of a file's name that are no UTF-8."""
    return shown.encode(errors="surrogateescape")


class OpenAttribute:
    """Reading shows the value anew, unless it goes on where it ended (seq_read_iter); each write is one value."""

    def __init__(self, file: AttributeFile, caller: Caller | None = None) -> None:
        self._file = file
        self._caller = caller
        self._shown = b""
        self._ended_at_bytes = 0

    async def read(self, offset_bytes: int, size_bytes: int) -> bytes:
        """Show the value, anew unless reading goes on, however long that takes."""
        attribute = self._present_attribute()
        if not 0 < offset_bytes == self._ended_at_bytes:
            if attribute.show_async is not None:
                self._shown = _encoded(await attribute.show_async())
            elif attribute.show is not None:
                self._shown = _encoded(attribute.show())
        portion = self._shown[offset_bytes : offset_bytes + size_bytes]
        self._ended_at_bytes = offset_bytes + len(portion)
        return portion

    def seek(self, offset_bytes: int, whence: int) -> int | None:
        """Take all for data, as sysfs does."""
        size_bytes = self._file.size_bytes
        if not 0 <= offset_bytes < size_bytes:
            return None
        return offset_bytes if whence == os.SEEK_DATA else size_bytes

    async def write(self, _offset_bytes: int, data: bytes) -> int:
        """Store the value, a page of it at the most and a C string, as kernfs does; zero bytes are no value."""
        attribute = self._present_attribute()
        value = data[:PAGE_SIZE]
        if value:
            await self._store(attribute, value.partition(b"\0")[0].decode("latin-1"))
        return len(value)

    async def _store(self, attribute: Attribute, text: str) -> None:
        if attribute.store_at is not None:
            await attribute.store_at(text, self._caller.folder() if self._caller is not None else "")
        elif attribute.store is not None:
            await attribute.store(text)
        if attribute.changes_files:
            await self._file.on_changed()

    def _present_attribute(self) -> Attribute:
        if self._file.is_gone:
            raise NoSuchDevice("the device of this attribute has been removed")
        return self._file.attribute

    def flush(self) -> None:
        """Return: what is stored is in force."""

    def release(self) -> None:
        """Forget who opened it."""
        if self._caller is not None:
            self._caller.close()


class OpenLongAttribute(OpenAttribute):
    """Reading begins anew at offset 0, and to go back; one reader at a time."""

    def __init__(self, file: AttributeFile, show_portions: Callable[[], Iterator[str]]) -> None:
        super().__init__(file)
        self._show_portions = show_portions
        self._text: _LongText | None = None
        self._one_reader = trio.Lock()

    async def read(self, offset_bytes: int, size_bytes: int) -> bytes:
        """Show what follows, as much as one read may take."""
        async with self._one_reader:
            self._present_attribute()
            if offset_bytes == 0 or self._text is None or offset_bytes < self._text.begins_at_bytes:
                self._text = _LongText(self._show_portions())
            return await self._text.read(offset_bytes, min(size_bytes, _LONGEST_READ_BYTES))


class _LongText:
    """A text that is made in portions as it is read, from its beginning on; what was read is forgotten."""

    def __init__(self, portions: Iterator[str]) -> None:
        self._portions = portions
        self._made = b""
        self.begins_at_bytes = 0
        """Where what is left of it begins."""

    async def read(self, offset_bytes: int, size_bytes: int) -> bytes:
        """Return what follows `offset_bytes`; others have their turn after each portion."""
        while self.begins_at_bytes + len(self._made) < offset_bytes + size_bytes:
            portion = next(self._portions, None)
            if portion is None:
                break
            self._forget_before(offset_bytes)
            self._made += portion.encode()
            await trio.lowlevel.checkpoint()
        self._forget_before(offset_bytes)
        return self._made[:size_bytes] if offset_bytes == self.begins_at_bytes else b""

    def _forget_before(self, offset_bytes: int) -> None:
        count = min(offset_bytes - self.begins_at_bytes, len(self._made))
        self._made = self._made[count:]
        self.begins_at_bytes += count


class BlockFile:
    """The block file of a device: as large as its disksize, and never any other size."""

    is_direct_io: Final = False

    def __init__(self, device: ZramDevice) -> None:
        self.device = device
        self.mode: Final = stat.S_IFREG | (0o444 if device.settings.is_read_only else 0o600)

    @property
    def size_bytes(self) -> int:
        """The disksize."""
        return self.device.disksize

    @property
    def stored_blocks(self) -> int:
        """What is written, as for a sparse file."""
        return self.device.statistics.mm_stat().orig_data_size // SECTOR_SIZE

    @property
    def name_timeout_s(self) -> float:
        """Until it is initialised, its size may change with the next write to disksize."""
        return _TIMEOUT_S if self.device.is_initialised else 0.0

    @property
    def attributes_timeout_s(self) -> float:
        """As long as its name's."""
        return self.name_timeout_s

    def open(self, flags: int) -> "OpenBlockFile":
        """Open in any mode, initialised or not, as a block device; ReadOnlyDevice for writing, if it is one."""
        if self.device.settings.is_read_only and flags & os.O_ACCMODE != os.O_RDONLY:
            raise ReadOnlyDevice(f"{self.device.name} is read-only")
        self.device.open()
        return OpenBlockFile(self.device, opened_async=_flags_are_async(flags))


def _flags_are_async(open_flags: int) -> bool:
    """As far as the open flags tell: O_DIRECT without O_SYNC or O_DSYNC means that nobody waits for each write."""
    return open_flags & (os.O_DIRECT | os.O_SYNC | os.O_DSYNC) == os.O_DIRECT


class OpenBlockFile:
    """An open block file; what pyfuse3 receives of it, where there are no receivers, is submitted on the event loop.

    `opened_async`: what the open flags say of a write, where nothing else does.
    """

    def __init__(self, device: ZramDevice, *, opened_async: bool) -> None:
        self.device = device
        self._opened_async = opened_async

    async def read(self, offset_bytes: int, size_bytes: int) -> bytes:
        """Read what lies before the end."""
        if offset_bytes >= self.device.disksize:
            return b""
        room = bytearray(size_bytes)
        return bytes(memoryview(room)[: await self.device.read(offset_bytes, room)])

    async def write(self, offset_bytes: int, data: bytes) -> int:
        """Write what lies before the end; PastTheEnd if nothing does."""
        if offset_bytes >= self.device.disksize:
            raise PastTheEnd(f"{offset_bytes} is past the end of {self.device.name}")
        return await self.device.write(offset_bytes, data, is_async=self._opened_async)

    def flush(self) -> None:
        """Count it: everything acknowledged is stored already."""
        self.device.flush()

    def release(self) -> None:
        """Let the device be reset again."""
        self.device.release()


Node = Folder | SymbolicLink | AttributeFile | BlockFile
"""Anything that has an inode."""
