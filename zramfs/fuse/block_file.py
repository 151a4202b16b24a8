"""The block file of a device, and what it does when it is open."""

import os
import stat
from typing import Final

from zramfs.device.device import ZramDevice
from zramfs.errors import PastTheEnd, ReadOnlyDevice
from zramfs.fuse.announcements import KNOWN_FOR_S
from zramfs.units import SECTOR_SIZE


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
        return KNOWN_FOR_S if self.device.is_initialised else 0.0

    @property
    def attributes_timeout_s(self) -> float:
        """As long as its name's."""
        return self.name_timeout_s

    def open(self, flags: int) -> "OpenBlockFile":
        """Open in any mode, initialised or not. ReadOnlyDevice if a read-only device is opened for writing."""
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
