"""Looks at all that lies beneath a file system or a block device, for our own mount.

A daemon whose backing device is, in the end, a file of its own mount waits for itself. Whoever asks that file system
waits as well: the process of a backing device, or the thread of the daemon that connects to a keeper. Such a thread
keeps /dev/fuse open, so that not even SIGKILL ends the daemon. Nothing here asks a file system before it is known to be
none of ours; /proc and /sys tell enough.
"""

import stat
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import islice
from os import fstat
from pathlib import Path
from typing import Final, Protocol

from zramfs.errors import LiesOnOwnMount
from zramfs.loop_device import LoopDevices
from zramfs.mountinfo import FILESYSTEM_TYPE, MountedFilesystem, covering, device_name, read_mounts
from zramfs.walk import walked

_SYSFS: Final = Path("/sys")
_LAYERS: Final = ("lowerdir", "lowerdir+", "datadir+", "upperdir", "workdir")  # of overlayfs
_MOST_DEVICES: Final = 1024

Way = tuple[str, ...]
"""Names from what was asked about down to our own mount."""


class Loops(Protocol):
    """What the kernel tells of its loop devices (`LoopDevices`)."""

    def file_system_of(self, number: int) -> int | None:
        """Return the st_dev of the file that a loop device is bound to; None if that cannot be told."""


@dataclass(slots=True)
class OwnMount:
    """The mount that this daemon serves; `device` is the st_dev of its files, once they are mounted."""

    device: int | None = None

    @contextmanager
    def found_elsewhere(self, path: str) -> Iterator[int]:
        """Open `path` as O_PATH; LiesOnOwnMount if it lies on this mount, however deep below.

        It may take its time. OSError as open(2) has it.
        """
        lineage = Lineage(self.device, read_mounts())

        def refuse(way: Way | None) -> None:
            if way is not None:
                raise LiesOnOwnMount(f"{path!r} lies on this mount: {' over '.join(way)}")

        with walked(path, lambda mount: refuse(lineage.way_from_mount(mount))) as fd:
            status = fstat(fd)
            if stat.S_ISBLK(status.st_mode):
                refuse(lineage.way_from_device(device_name(status.st_rdev)))
            yield fd


@dataclass(slots=True)
class Lineage:
    """Looks for the mount whose st_dev is `own`. Each `way_from_…` is None if it is not found below.

    A daemon of another kind (sshfs, nbd, iSCSI) tells nobody what it stores in; another zramfs does.
    """

    own: int | None
    mounts: Sequence[MountedFilesystem]
    sysfs: Path = _SYSFS
    loops: Loops = field(default_factory=LoopDevices)
    _seen: set[str] = field(default_factory=set)

    def way_from_mount(self, mount: MountedFilesystem) -> Way | None:
        """Look below a file system: its block devices, or what else it is made of."""
        if self.own is not None and mount.device == device_name(self.own):
            return (str(mount.point),)
        if not self._is_new(mount.device):
            return None
        return _prefixed(str(mount.point), self._first(self._ways_below(mount)))

    def way_from_device(self, device: str) -> Way | None:
        """Look below a block device, by its major:minor."""
        folder = self.sysfs / "dev/block" / device
        if not self._is_new(f"block {device}") or not folder.exists():
            return None
        folder = folder.resolve()
        return _prefixed(folder.name, self._first(self._ways_below_device(folder)))

    def _ways_below(self, mount: MountedFilesystem) -> Iterator[Way | None]:
        if not mount.device.startswith("0:"):
            yield self.way_from_device(mount.device)
            return
        for source in mount.source.split(":"):  # several of bcachefs; others have one, or no device at all
            if source.startswith("/"):
                yield self._way_from_node(Path(source))
        if mount.kind == "btrfs":
            yield from self._ways_below_btrfs(Path(mount.source).name)
        if mount.kind == "overlay":
            for layer in _layers(mount):
                yield self._way_from_path(layer)
        if mount.kind == FILESYSTEM_TYPE:
            for path in _backing_devices_of(mount.point):
                yield self._way_from_node(path)

    def _ways_below_device(self, folder: Path) -> Iterator[Way | None]:
        if (folder / "partition").exists():
            yield self._way_from_folder(folder.parent)
        if (folder / "loop/backing_file").exists():
            yield self._way_from_path(_read_path(folder / "loop/backing_file"))
            yield self._way_from_loop(int(folder.name.removeprefix("loop")))
        if (folder / "backing_dev").exists():  # of the kernel's zram
            yield self._way_from_node(_read_path(folder / "backing_dev"))
        if (folder / "slaves").is_dir():
            for slave in sorted((folder / "slaves").iterdir()):
                yield self._way_from_folder(slave)

    def _ways_below_btrfs(self, member: str) -> Iterator[Way | None]:
        """Its other devices: mountinfo names one of them."""
        for devices in self.sysfs.glob("fs/btrfs/*/devices"):
            members = sorted(devices.iterdir())
            if any(device.name == member for device in members):
                for device in members:
                    yield self._way_from_folder(device)

    def _way_from_folder(self, folder: Path) -> Way | None:
        return self.way_from_device((folder / "dev").read_text().strip())

    def _way_from_loop(self, number: int) -> Way | None:
        """Look below the file that a loop device has open, which its name need not lead to any more.

        The kernel may ask that file's system for this.
        """
        file_system = self.loops.file_system_of(number)
        if file_system is None:
            return None
        if file_system == self.own:
            return ("a file of this mount",)
        return self._first(self.way_from_mount(mount) for mount in self._mounts_of(file_system))

    def _way_from_path(self, path: Path) -> Way | None:
        """Look below the file system that a path without links leads to."""
        mount = covering(self.mounts, path)
        return None if mount is None else self.way_from_mount(mount)

    def _way_from_node(self, path: Path) -> Way | None:
        """Look below a file, or below the block device that its node stands for."""
        way = self._way_from_path(path)
        if way is not None:
            return _prefixed(str(path), way) if str(path) != way[0] else way
        with suppress(OSError):
            status = path.stat()
            if stat.S_ISBLK(status.st_mode):
                return self.way_from_device(device_name(status.st_rdev))
        return None

    def _mounts_of(self, file_system: int) -> Iterable[MountedFilesystem]:
        return islice((mount for mount in self.mounts if mount.device == device_name(file_system)), 1)

    def _is_new(self, name: str) -> bool:
        is_new = name not in self._seen
        self._seen.add(name)
        return is_new

    @staticmethod
    def _first(ways: Iterable[Way | None]) -> Way | None:
        return next((way for way in ways if way is not None), None)


def _prefixed(name: str, way: Way | None) -> Way | None:
    return None if way is None else (name, *way)


def _layers(mount: MountedFilesystem) -> Iterator[Path]:
    """Return an overlay's folders. A colon in a folder's name is escaped there, and leads nowhere here."""
    for option in mount.options:
        name, _, folders = option.partition("=")
        if name in _LAYERS:
            yield from (Path(folder) for folder in folders.split(":") if folder.startswith("/"))


def _backing_devices_of(zramfs: Path) -> Iterator[Path]:
    """Ask another zramfs what its devices are backed by, if we may."""
    with suppress(OSError):
        for attribute in islice(zramfs.glob("sys/block/zram*/backing_dev"), _MOST_DEVICES):
            path = _read_path(attribute)
            if path.is_absolute():
                yield path


def _read_path(attribute: Path) -> Path:
    """Read an attribute that shows a path; one that cannot be read shows none."""
    with suppress(OSError), attribute.open("rb") as file:
        return Path(file.read(8192).removesuffix(b"\n").decode(errors="surrogateescape"))
    return Path()
