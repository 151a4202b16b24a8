"""The kernel's loop devices, by their ioctls (linux/loop.h)."""

import errno
import fcntl
import os
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple

from zramfs.block_device import opened
from zramfs.errors import CommandFailed
from zramfs.foreign import is_device_name
from zramfs.loop_names import backing_name, block_file_name, name_beneath, noted_name
from zramfs.patience import ask_patiently
from zramfs.units import PAGE_SIZE

MAJOR: Final = 7  # LOOP_MAJOR

_CLR_FD: Final = 0x4C01
_SET_STATUS64: Final = 0x4C04
_GET_STATUS64: Final = 0x4C05
_SET_CAPACITY: Final = 0x4C07
_CONFIGURE: Final = 0x4C0A  # since Linux 5.8
_CTL_GET_FREE: Final = 0x4C82

FILE_FLAGS: Final = os.O_RDWR | os.O_DIRECT
"""How to open a file for `attach`: a FUSE file system learns from these flags that the writes are direct."""

_GLANCES: Final = 10
_GLANCE_S: Final = 0.02
"""How often, and how long after each other, a loop device is looked at again before it counts as in use."""

_FLAGS_READ_ONLY: Final = 1
_FLAGS_AUTOCLEAR: Final = 4
_FLAGS_DIRECT_IO: Final = 16

_INFO: Final = struct.Struct("=5Q4I64s64s32s2Q")
"""loop_info64: lo_device, lo_inode, lo_rdevice, lo_offset, lo_sizelimit, lo_number, lo_encrypt_type, its key's size,
lo_flags, lo_file_name, lo_crypt_name, the key, lo_init."""
_FLAGS_FIELD: Final = 8
_NAME_FIELD: Final = 9

_CONFIG: Final = struct.Struct(f"=2I{_INFO.size}s64x")
"""loop_config: fd, block_size, loop_info64, reserved."""

_BLOCK_DEVICES: Final = Path("/sys/block")


class BackingFile(NamedTuple):
    """The file of a loop device: its file system's st_dev, and its inode."""

    device: int
    inode: int


class LoopShape(NamedTuple):
    """How a loop device shows its file: from `offset_bytes` on, in sectors of 512 bytes to a page."""

    is_read_only: bool = False
    sector_bytes: int = PAGE_SIZE
    offset_bytes: int = 0

    @property
    def file_flags(self) -> int:
        """How to open the file."""
        return FILE_FLAGS & ~os.O_ACCMODE | os.O_RDONLY if self.is_read_only else FILE_FLAGS


_WHOLE: Final = LoopShape()


class LoopDevices:
    """All loop devices, by number. `folder` is where their nodes are."""

    def __init__(self, folder: Path = Path("/dev")) -> None:
        self._folder = folder

    def path(self, number: int) -> Path:
        """Return the node of a loop device."""
        return self._folder / f"loop{number}"

    def attach(self, file_fd: int, name: str, *, prefer: int | None = None, shape: LoopShape = _WHOLE) -> int:
        """Bind a free loop device to an open file, with direct I/O; return its number.

        `file_fd` is opened with the shape's flags, `name` is the file's whole path. `prefer` is taken if it is free.
        CommandFailed if there is no loop device.
        """
        while True:
            number = self._free_number() if prefer is None else prefer
            prefer = None
            try:
                with opened(self.path(number), os.O_RDWR) as fd:
                    fcntl.ioctl(fd, _CONFIGURE, _configuration(file_fd, name, shape))
            except OSError as error:
                if error.errno != errno.EBUSY:  # somebody was faster
                    raise CommandFailed(f"cannot attach {name} to /dev/loop{number}: {error.strerror}") from error
            else:
                return number

    def bound(self) -> list[tuple[int, Path]]:
        """Return the loop devices over files named as block files are, with these files' paths. Nobody is asked."""
        found = []
        for folder in _BLOCK_DEVICES.glob("loop*/loop"):
            with suppress(OSError):
                shown = (folder / "backing_file").read_bytes().removesuffix(b"\n")
                if block_file_name(shown):
                    found.append((int(folder.parent.name.removeprefix("loop")), Path(os.fsdecode(shown))))
        return sorted(found)

    def shape(self, number: int) -> LoopShape:
        """Return how a loop device shows its file; OSError if it is bound no more."""
        folder = _BLOCK_DEVICES / f"loop{number}"
        return LoopShape(
            is_read_only=(folder / "ro").read_text().strip() == "1",
            sector_bytes=int((folder / "queue/logical_block_size").read_text()),
            offset_bytes=int((folder / "loop/offset").read_text()),
        )

    def detach(self, number: int) -> bool:
        """Unbind a loop device; False, and nothing has changed, if it is open, mounted or used for swap.

        A device that udev, lsblk or our own verbs open for a moment does not count as open. LOOP_CLR_FD on a device in
        use asks the kernel to unbind it later (LO_FLAGS_AUTOCLEAR); that is undone here.
        """
        with opened(self.path(number)) as fd:
            for wait_s in (*[_GLANCE_S] * _GLANCES, 0.0):
                try:
                    fcntl.ioctl(fd, _CLR_FD)
                    info = list(_INFO.unpack(_status(fd)))
                except OSError as error:
                    if error.errno != errno.ENXIO:
                        raise
                    return True
                time.sleep(wait_s)
            info[_FLAGS_FIELD] &= ~_FLAGS_AUTOCLEAR
            fcntl.ioctl(fd, _SET_STATUS64, _INFO.pack(*info))
        return False

    def detach_when_unused(self, number: int) -> None:
        """Unbind a loop device as soon as nobody uses it; now, if nobody does."""
        with suppress(OSError), opened(self.path(number)) as fd:
            fcntl.ioctl(fd, _CLR_FD)

    def numbers_over(self, device: int) -> list[int]:
        """Return the loop devices over block files of the mount that has this st_dev.

        Those over files of other names are not asked, nor are their file systems: these may hang.
        """
        return [number for number, backing in self._bound(is_device_name) if backing.device == device]

    def numbers_of(self, file: BackingFile, name: str) -> list[int]:
        """Return the loop devices over a file of this name. Those of other files of this name are asked too."""
        return [number for number, backing in self._bound(name.__eq__) if backing == file]

    def numbers_named_beneath(self, mountpoint: Path, device: str | None = None) -> list[int]:
        """Return the loop devices over block files of a mount, by name: daemon and mount may be gone.

        `mountpoint` is not looked at: it is absolute and free of symbolic links. `device` chooses one, as zram0. No
        file system is asked for longer than a process is waited for (`patience`).
        """
        return [
            number
            for number, shown, noted in self._names()
            if (name := name_beneath(mountpoint, shown, noted)) and device in (None, name)
        ]

    def file_system_of(self, number: int) -> int | None:
        """Return the st_dev of the file that a loop device is bound to; None if that cannot be told."""
        with suppress(OSError), opened(self.path(number)) as fd:
            device, *_ = _INFO.unpack(_status(fd))
            return int(device)
        return None

    def refresh_capacity(self, file: BackingFile, name: str) -> None:
        """Tell every loop device over a file of this name that its size has changed, as `losetup --set-capacity` does.

        The kernel asks the file system for the size meanwhile. Loop devices that we may not open stay as they are.
        """
        for number in self.numbers_of(file, name):
            with suppress(OSError), opened(self.path(number)) as fd:
                fcntl.ioctl(fd, _SET_CAPACITY)

    def _bound(self, is_wanted: Callable[[str], bool]) -> Iterator[tuple[int, BackingFile]]:
        """Find those that are bound to a file whose name is wanted.

        To ask for it makes the kernel's idea of its size fresh: its file system is asked, which may hang.
        """
        for folder in _BLOCK_DEVICES.glob("loop*/loop"):
            number = int(folder.parent.name.removeprefix("loop"))
            if not is_wanted(backing_name(folder)):
                continue
            with suppress(OSError), opened(self.path(number)) as fd:
                device, inode, *_ = _INFO.unpack(_status(fd))
                yield number, BackingFile(device, inode)

    def _names(self) -> Iterator[tuple[int, bytes, bytes]]:
        """Find those that are bound to a block file: the path that the kernel shows, and the name noted when bound.

        The note is read only of a file whose file system is unmounted: the kernel asks that one, which may hang.
        """
        for folder in _BLOCK_DEVICES.glob("loop*/loop"):
            number = int(folder.parent.name.removeprefix("loop"))
            with suppress(OSError):
                shown = (folder / "backing_file").read_bytes().removesuffix(b"\n")
                if block_file_name(shown):
                    yield number, shown, self._noted_name(number) if shown.rfind(b"/") == 0 else b""

    def _noted_name(self, number: int) -> bytes:
        """Return lo_file_name; nothing if the file system does not answer in time."""
        try:
            return ask_patiently(lambda: self._read_note(number))
        except TimeoutError:
            return b""

    def _read_note(self, number: int) -> bytes:
        with opened(self.path(number)) as fd:
            name: bytes = _INFO.unpack(_status(fd))[_NAME_FIELD]
            return name

    def _free_number(self) -> int:
        try:
            with opened(self._folder / "loop-control", os.O_RDWR) as fd:
                return fcntl.ioctl(fd, _CTL_GET_FREE)
        except PermissionError as error:
            raise CommandFailed("loop devices need root; the block file can be used without one") from error
        except OSError as error:
            raise CommandFailed(f"no loop device can be had from /dev/loop-control: {error.strerror}") from error


def _configuration(file_fd: int, name: str, shape: LoopShape) -> bytes:
    flags = _FLAGS_DIRECT_IO | (_FLAGS_READ_ONLY if shape.is_read_only else 0)
    info = _INFO.pack(0, 0, 0, shape.offset_bytes, 0, 0, 0, 0, flags, noted_name(name), b"", b"", 0, 0)
    return _CONFIG.pack(file_fd, shape.sector_bytes, info)


def _status(fd: int) -> bytes:
    """Return an open loop device's loop_info64; ENXIO if it is not bound."""
    return fcntl.ioctl(fd, _GET_STATUS64, bytes(_INFO.size))
