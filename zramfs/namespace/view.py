"""A command's view in `zramfs exec`: /dev with our zramN, the folders of /sys in which zram shows, some of /proc.

A zramN is a loop device over the block file, under another name: /dev/zramN has its numbers, and the loop device's own
names are hidden. Folders are live unions (`union.py`) of the kernel's and one of our own, served by a process of ours
(`usher.py`); the kernel need not know of zram.
"""

import os
import stat
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Final

from zramfs import kernel
from zramfs.beneath import open_folder_beneath
from zramfs.errors import MountFailed
from zramfs.loop_device import MAJOR
from zramfs.mountinfo import device_name, mount_id_of, read_mounts
from zramfs.namespace import mounts, wire
from zramfs.namespace.proc_view import ProcFiles
from zramfs.namespace.union import Union
from zramfs.namespace.usher import Usher
from zramfs.supervise import errand
from zramfs.supervise.processes import start_server

_DEV: Final = Path("/dev")
_CLASS: Final = Path("/sys/class")
_CONTROL: Final = _CLASS / "zram-control"
_DEVICES: Final = Path("/sys/devices/virtual/block")
_BY_NAME: Final = {Path("/sys/block"): "../devices/virtual/block", _CLASS / "block": "../../devices/virtual/block"}
_BY_NUMBER: Final = Path("/sys/dev/block")
_TERMINALS: Final = (0, 1, 2)
_ROOT: Final = (0, 0)


class DeviceView:
    """Builds the view in the mount namespace that this process is in, from the zramfs at `mountpoint`.

    `device` is its st_dev; MountFailed if another mount is there. `servers` are the pidfds of the processes that serve
    the view: children, without which nothing can be found in /dev.
    """

    def __init__(self, mountpoint: Path, device: int) -> None:
        self._mountpoint = mountpoint
        self._device = device
        self._unions: dict[Path, Union] = {}
        scratch = Path(tempfile.mkdtemp(prefix="zramfs-", dir="/tmp"))
        try:
            kernel.mount("tmpfs", scratch, "mode=0755")
            try:
                self._build(scratch)
            finally:
                kernel.unmount_lazily(scratch)
        finally:
            scratch.rmdir()

    def fds(self) -> set[int]:
        """Return the descriptors that `show` and `hide` take."""
        return {fd for union in self._unions.values() for fd in (union.upper, union.lower)}

    def show(self, name: str, number: int) -> None:
        """Let a loop device be zramN; its own names hide: `losetup --detach-all` and the like must not find it."""
        loop = f"loop{number}"
        dev = self._unions[_DEV]
        node = dev.find(loop).status
        dev.make(name, node.st_mode, node.st_rdev, (node.st_uid, node.st_gid))
        dev.hide(loop)
        self._unions[_DEVICES].make_folder(name, 0o755, _ROOT)
        self._bind_control_files(f"sys/block/{name}", _DEVICES / name)
        for folder, devices in _BY_NAME.items():
            self._unions[folder].make_link(name, f"{devices}/{name}", _ROOT)
            self._unions[folder].hide(loop)
        self._unions[_BY_NUMBER].make_link(f"{MAJOR}:{number}", f"../../devices/virtual/block/{name}", _ROOT)

    def hide(self, name: str, number: int) -> None:
        """Take zramN away, and let its loop device be one again."""
        kernel.unmount_lazily(_DEVICES / name)
        self._unions[_DEVICES].restore(name)
        for folder in (_DEV, *_BY_NAME):
            self._unions[folder].restore(name)
            self._unions[folder].restore(f"loop{number}")
        self._unions[_BY_NUMBER].restore(f"{MAJOR}:{number}")

    def _build(self, scratch: Path) -> None:
        covered = [] if _CONTROL.is_dir() else [_CLASS]  # before what is below it
        for folder in (*covered, _DEV, *_BY_NAME, _BY_NUMBER, _DEVICES):
            self._unions[folder] = _unite(folder, scratch)
        view, proc = scratch / "view", scratch / "proc"
        view.mkdir()
        proc.mkdir()
        kernel.mount("proc", proc)  # the one that there is may be of an exec that we are in
        proc_files = ProcFiles(self._unions[_DEV], proc)
        fuse_fd = wire.mount(view)
        usher = Usher({_place(folder): union for folder, union in self._unions.items()}, proc_files.made())
        serve = partial(wire.serve, fuse_fd, usher.answer)
        self.servers = [start_server(serve, {fuse_fd, *self.fds(), *proc_files.fds()})]
        os.close(fuse_fd)
        self._keep_what_is_no_link(view)
        for folder in self._unions:
            kernel.bind(view / _place(folder), folder)
        errand.do(partial(self._bind_control_files, "sys/class/zram-control", _CONTROL))
        self.servers.append(proc_files.cover(view, _DEV))

    def _keep_what_is_no_link(self, view: Path) -> None:
        """Bind what a union could only imitate: mounts, devices' folders in sysfs, terminals."""
        for path in (*mounts.uppermost_below(_DEV), *_not_to_be_copied(_DEV), *_folders(_DEVICES)):
            kernel.bind(path, _within(view, path))
        if _CLASS in self._unions:
            self._unions[_CLASS].make_folder(_CONTROL.name, 0o755, _ROOT)
            for path in _folders(_CLASS):
                kernel.bind(path, _within(view, path))

    def _bind_control_files(self, folder: str, target: Path) -> None:
        """Show a folder of the mount, and nothing that a link would make of its name."""
        root_fd = open_mount(self._mountpoint, self._device)
        try:
            folder_fd = open_folder_beneath(root_fd, folder, os.O_PATH)
        finally:
            os.close(root_fd)
        try:
            kernel.bind_guarded(Path(f"/proc/self/fd/{folder_fd}"), target)
        finally:
            os.close(folder_fd)


def open_mount(mountpoint: Path, device: int) -> int:
    """Open the root of the mount that has this st_dev as O_PATH; MountFailed if another one is there.

    fstat would ask the daemon.
    """
    fd = os.open(mountpoint, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    if not any(mount.device == device_name(device) for mount in read_mounts() if mount.mount_id == mount_id_of(fd)):
        os.close(fd)
        raise MountFailed(f"{mountpoint} is another mount than a moment ago")
    return fd


def _place(folder: Path) -> str:
    """Return the name of a folder's union in the view."""
    return os.fspath(folder)[1:].replace("/", "-")


def _within(view: Path, path: Path) -> Path:
    folder = next(folder for folder in (_DEV, _DEVICES, _CLASS) if folder in path.parents)
    return view / _place(folder) / path.relative_to(folder)


def _unite(folder: Path, scratch: Path) -> Union:
    """Return a union of a folder and an empty one with its attributes."""
    upper = scratch / _place(folder)
    status = folder.stat()
    upper.mkdir()
    os.chown(upper, status.st_uid, status.st_gid)
    upper.chmod(stat.S_IMODE(status.st_mode))
    return Union(*(os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC) for path in (upper, folder)))


def _not_to_be_copied(folder: Path) -> Iterator[Path]:
    """Find nodes that are used by their very inodes: our terminals (ttyname), sockets, pipes."""
    terminals = {os.ttyname(fd) for fd in _TERMINALS if os.isatty(fd)}
    for path in folder.iterdir():
        mode = path.lstat().st_mode
        if os.fspath(path) in terminals or stat.S_ISSOCK(mode) or stat.S_ISFIFO(mode):
            yield path


def _folders(folder: Path) -> Iterator[Path]:
    return (path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("zram"))
