"""What stands at a mount point, and whether a mount can be made there. Every problem is one line with its remedy."""

import errno
import os
import re
import shlex
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from zramfs.errors import MountFailed

FILESYSTEM_TYPE: Final = "fuse.zramfs"

_FUSE_DEVICE: Final = Path("/dev/fuse")
_MOUNTINFO: Final = Path("/proc/self/mountinfo")


@dataclass(frozen=True, slots=True)
class Mount:
    """A line of /proc/self/mountinfo. `device` is its file system's major:minor, which no other living one has."""

    path: Path
    filesystem_type: str
    device: str

    @property
    def device_number(self) -> int:
        """The st_dev of its files."""
        major, _, minor = self.device.partition(":")
        return os.makedev(int(major), int(minor))

    @property
    def is_ours(self) -> bool:
        """Whether it is a zramfs."""
        return self.filesystem_type == FILESYSTEM_TYPE


def find_mount(path: Path) -> Mount | None:
    """Return what is mounted at exactly this path, the topmost if several are; symbolic links are followed."""
    return find_mount_at(absolute(path))


def find_mount_at(wanted: Path) -> Mount | None:
    """Like `find_mount`, of a resolved path, which is not looked at: the daemon must not wait for its own mount."""
    found = None
    for line in _MOUNTINFO.read_bytes().splitlines():
        fields, _, rest = line.partition(b" - ")
        _, _, device, _, target, *_ = fields.split(b" ")
        if unescape(target) == wanted:
            found = Mount(wanted, os.fsdecode(rest.split(b" ")[0]), os.fsdecode(device))
    return found


def require_mount(path: Path) -> Mount:
    """Return the living zramfs mounted at `path`, or MountFailed."""
    mount = find_mount(path)
    if mount is None or not mount.is_ours:
        raise MountFailed(f"no zramfs is mounted at {path}")
    if _is_dead(path):
        raise MountFailed(f"the zramfs at {path} is dead: its daemon ended; clean up with: {_clean_up_command(path)}")
    return mount


def prepare_mountpoint(path: Path) -> None:
    """Check that a zramfs can be mounted at `path`; take away a dead one, of a daemon that was killed."""
    take_away_if_dead(path)
    if not path.exists():
        raise MountFailed(f"{path} does not exist: create it with: mkdir -p {path}")
    if not path.is_dir():
        raise MountFailed(f"{path} is not a directory")
    mount = find_mount(path)
    if mount is not None and mount.is_ours:
        raise MountFailed(f"a zramfs is mounted at {path} already: unmount it with: zramfs umount {path}")
    try:
        is_empty = not any(path.iterdir())
    except PermissionError as error:
        raise MountFailed(f"no permission to read {path}") from error
    if not is_empty:
        raise MountFailed(f"{path} is not empty: a mount would hide what is in it")
    _require_fuse()


def take_away_if_dead(path: Path) -> None:
    """Unmount a zramfs whose daemon was killed; MountFailed if that cannot be.

    `auto_unmount` does so too, unless it comes so early that the kernel has yet to give the connection up: it then
    meets ECONNABORTED, where it expects ENOTCONN, and leaves the mount behind.
    """
    if _is_dead(path):
        _clean_up_dead_mount(path)


def unmount(mount: Mount, *, lazily: bool = False) -> None:
    """Unmount with fusermount3; MountFailed when the mount is busy or not ours to unmount."""
    command = ["fusermount3", "-u", *(["-z"] if lazily else []), str(mount.path)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode:
        reason = result.stderr.strip().splitlines()
        raise MountFailed(reason[-1] if reason else f"fusermount3 could not unmount {mount.path}")


def _clean_up_command(path: Path) -> str:
    return shlex.join(["fusermount3", "-u", "-z", str(absolute(path))])


def _is_dead(path: Path) -> bool:
    """Ask the file system itself: the kernel answers stat(2) from what it remembers, even of a dead mount."""
    try:
        os.statvfs(path)
    except OSError as error:
        return error.errno in (errno.ENOTCONN, errno.ECONNABORTED)
    return False


def _clean_up_dead_mount(path: Path) -> None:
    mount = find_mount(path)
    if mount is None or not mount.is_ours:
        raise MountFailed(f"{path} holds a dead mount of another kind: clean up with: {_clean_up_command(path)}")
    try:
        unmount(mount, lazily=True)
    except MountFailed as error:
        raise MountFailed(f"{path} holds a dead zramfs: clean up with: {_clean_up_command(path)}") from error


def _require_fuse() -> None:
    if not _FUSE_DEVICE.exists():
        raise MountFailed(f"{_FUSE_DEVICE} is missing: load the kernel's module with: modprobe fuse")
    if not os.access(_FUSE_DEVICE, os.R_OK | os.W_OK):
        raise MountFailed(f"no permission to use {_FUSE_DEVICE}: run as root, or join the group that may")
    if shutil.which("fusermount3") is None:
        raise MountFailed("fusermount3 is missing: install the package fuse3")


def absolute(path: Path) -> Path:
    """Resolve the parent only: the path itself may be a dead mount, which cannot be looked at."""
    path = Path(os.path.abspath(path))  # noqa: PTH100 - Path.absolute keeps '..'
    try:
        return path.resolve()
    except OSError:
        return path.parent.resolve() / path.name


def unescape(field: bytes) -> Path:
    """Undo mountinfo's octal escapes, of blanks for instance; any bytes may be in a path."""
    return Path(os.fsdecode(re.sub(rb"\\([0-7]{3})", lambda octal: bytes([int(octal[1], 8)]), field)))
