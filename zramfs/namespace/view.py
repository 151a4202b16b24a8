"""What a command sees in `zramfs exec`: /dev with our zramN, and the folders of /sys in which zram shows.

A zramN is a loop device over the block file, under another name: /dev/zramN has its numbers, and the loop device's own
names are hidden. Where sysfs has only links to devices, a folder of links of our own stands for it; that works where
the kernel knows of no zram, too.
"""

import os
import stat
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from zramfs.loop_device import MAJOR
from zramfs.namespace import kernel

_DEV: Final = Path("/dev")
_CLASS: Final = Path("/sys/class")
_CONTROL: Final = _CLASS / "zram-control"
_DEVICES: Final = Path("/sys/devices/virtual/block")
_BY_NAME: Final = {Path("/sys/block"): "../devices/virtual/block", _CLASS / "block": "../../devices/virtual/block"}
_BY_NUMBER: Final = Path("/sys/dev/block")
_OURS: Final = "zram"  # the folder below _DEVICES where sys/block of the mount is
_TERMINALS: Final = (0, 1, 2)


class DeviceView:
    """Builds the view in the mount namespace that this process is in, from the zramfs at `mountpoint`."""

    def __init__(self, mountpoint: Path) -> None:
        self._mountpoint = mountpoint
        self._hidden: dict[int, _LoopNames] = {}
        scratch = Path(tempfile.mkdtemp(prefix="zramfs-", dir="/tmp"))
        try:
            kernel.mount("tmpfs", scratch, "mode=0755")
            try:
                _cover_dev(scratch)
                self._cover_sys(scratch)
            finally:
                kernel.unmount_lazily(scratch)
        finally:
            scratch.rmdir()

    def show(self, name: str, number: int) -> None:
        """Let a loop device be zramN."""
        hidden = self._hidden[number] = _LoopNames.hide(number)
        _make_node(_DEV / name, hidden.node)
        _link(_DEVICES / name, f"{_OURS}/{name}")
        for folder, devices in _BY_NAME.items():
            _link(folder / name, f"{devices}/{name}")
        _link(_BY_NUMBER / f"{MAJOR}:{number}", f"../../devices/virtual/block/{name}")

    def hide(self, name: str, number: int) -> None:
        """Take zramN away, and let its loop device be one again."""
        for path in (_DEV / name, _DEVICES / name, *(folder / name for folder in _BY_NAME)):
            path.unlink(missing_ok=True)
        self._hidden.pop(number).restore()

    def _cover_sys(self, scratch: Path) -> None:
        if not _CONTROL.is_dir():
            _cover_class(scratch / "class")
        kernel.bind(self._mountpoint / "sys/class/zram-control", _CONTROL)
        for number, folder in enumerate((*_BY_NAME, _BY_NUMBER)):
            copy = scratch / f"links{number}"
            copy.mkdir()
            _copy_links(folder, copy)
            kernel.bind(copy, folder)
        devices = scratch / "devices"
        _bind_folders(_DEVICES, devices)
        (devices / _OURS).mkdir()
        kernel.bind(self._mountpoint / "sys/block", devices / _OURS)
        kernel.bind(devices, _DEVICES)


@dataclass(frozen=True, slots=True)
class _LoopNames:
    """A loop device's own names while they are hidden: `losetup --detach-all` and the like must not find it."""

    path: Path
    node: os.stat_result
    links: dict[Path, str]

    @classmethod
    def hide(cls, number: int) -> Self:
        """Take the names away."""
        path = _DEV / f"loop{number}"
        candidates = [*(folder / path.name for folder in _BY_NAME), _BY_NUMBER / f"{MAJOR}:{number}"]
        links = {link: os.fspath(link.readlink()) for link in candidates if link.is_symlink()}
        node = path.stat()
        for name in (path, *links):
            name.unlink()
        return cls(path, node, links)

    def restore(self) -> None:
        """Put them back."""
        _make_node(self.path, self.node)
        for link, target in self.links.items():
            _link(link, target)


def _cover_dev(scratch: Path) -> None:
    """Lay an overlay over /dev: what comes there later still appears, and what comes here does not appear there."""
    upper, work, merged = (scratch / name for name in ("upper", "work", "dev"))
    for folder in (upper, work, merged):
        folder.mkdir()
    kernel.mount("overlay", merged, f"lowerdir={_DEV},upperdir={upper},workdir={work}")
    for node in merged.glob("zram*"):
        node.unlink()
    for path in (*_mounts_below(_DEV), *_terminals()):
        kernel.bind(path, merged / path.relative_to(_DEV))
    kernel.bind(merged, _DEV)


def _mounts_below(folder: Path) -> list[Path]:
    """Return the uppermost mounts below a folder; what is mounted below those goes with them."""
    mounted = {
        Path(os.fsdecode(line.split(b" ")[4])) for line in Path("/proc/self/mountinfo").read_bytes().splitlines()
    }
    below = [path for path in mounted if folder in path.parents]
    return [path for path in below if not any(parent in below for parent in path.parents)]


def _terminals() -> set[Path]:
    """Return our terminals that are nodes of /dev itself: ttyname(3) finds the very inode there, or nothing."""
    paths = {Path(os.ttyname(fd)) for fd in _TERMINALS if os.isatty(fd)}
    return {path for path in paths if path.parent == _DEV}


def _cover_class(copy: Path) -> None:
    """Make a place for zram-control beside the kernel's classes."""
    _bind_folders(_CLASS, copy)
    (copy / _CONTROL.name).mkdir()
    kernel.bind(copy, _CLASS)


def _bind_folders(source: Path, copy: Path) -> None:
    copy.mkdir()
    for folder in _entries(source):
        (copy / folder.name).mkdir()
        kernel.bind(folder, copy / folder.name)


def _copy_links(source: Path, copy: Path) -> None:
    for entry in _entries(source):
        target = os.fspath(entry.readlink())
        if not Path(target).name.startswith("zram"):
            (copy / entry.name).symlink_to(target)


def _entries(folder: Path) -> Iterator[Path]:
    return (entry for entry in folder.iterdir() if not entry.name.startswith("zram"))


def _make_node(path: Path, like: os.stat_result) -> None:
    path.unlink(missing_ok=True)
    os.mknod(path, like.st_mode, like.st_rdev)
    os.chown(path, like.st_uid, like.st_gid)
    path.chmod(stat.S_IMODE(like.st_mode))  # whatever the umask


def _link(path: Path, target: str) -> None:
    path.unlink(missing_ok=True)
    path.symlink_to(target)
