"""Control files, with sysfs's manners, and what they do when they are open."""

import errno
import os
import stat
from collections.abc import Awaitable, Callable, Iterator
from typing import Final

import trio

from zramfs.caller import Caller
from zramfs.contracts import Attribute
from zramfs.errors import InvalidValue, NoSuchDevice, ZramError
from zramfs.fuse.announcements import KNOWN_FOR_S
from zramfs.units import PAGE_SIZE, SECTOR_SIZE

_LONGEST_READ_BYTES: Final = 128 * 1024
"""What one read of a long text gives: a millisecond of block_state."""


class AccessDenied(ZramError):  # noqa: N818
    """An attribute is opened for what it cannot do; sysfs refuses that to root too (kernfs_fop_open)."""

    errno = errno.EACCES


class AttributeFile:
    """A control file, with sysfs's manners: 4096 bytes large, whatever it says; or as large as a long text is.

    The kernel must ask for the size at each open. It takes the end of the text for the end of the file after it has
    read by its page cache, as sendfile(2) does, and drops that page when the size is another one again.

    `on_changed` is awaited after a store that `changes_files`, before its writer goes on. `is_gone` is set when its
    device has been removed: whoever has it open then meets what kernfs_get_active tells.
    """

    is_direct_io: Final = True
    name_timeout_s: Final = KNOWN_FOR_S
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
