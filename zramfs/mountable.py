"""Whether a zramfs can be mounted at a place, and on this system. Each problem is one line with its remedy. Level 0."""

import os
import shutil
from pathlib import Path
from typing import Final

from zramfs.errors import MountFailed
from zramfs.mountpoint import find_mount
from zramfs.unmounting import take_away_if_dead

_FUSE_DEVICE: Final = Path("/dev/fuse")


def prepare_mountpoint(path: Path) -> None:
    """Check that a zramfs can be mounted at `path`; take away a dead one, of a daemon that was killed.

    What is mounted there is asked first, for a bounded time: nothing that follows hangs if it has answered. An
    automount point (autofs) is not looked into: whoever does waits for the very mount that is to be made.
    """
    waiting = find_mount(path)
    if waiting is not None and waiting.filesystem_type == "autofs":
        require_fuse()
        return
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
    require_fuse()


def require_fuse() -> None:
    """Check that this system can mount; MountFailed says what it lacks."""
    if not _FUSE_DEVICE.exists():
        raise MountFailed(
            f"{_FUSE_DEVICE} is missing: load the kernel's module with: modprobe fuse (a container: --device /dev/fuse)"
        )
    if not os.access(_FUSE_DEVICE, os.R_OK | os.W_OK):
        raise MountFailed(f"no permission to use {_FUSE_DEVICE}: run as root, or join the group that may")
    if shutil.which("fusermount3") is None:
        raise MountFailed("fusermount3 is missing: install the package fuse3")
