"""The mounts below a folder, and those outside of our namespace."""

import os
from collections.abc import Iterable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Final

from zramfs import kernel
from zramfs.errors import CommandFailed
from zramfs.mountinfo import FILESYSTEM_TYPE, MountedFilesystem, mount_id_of, parse_mounts, read_anew, read_mounts
from zramfs.supervise import errand

_MOUNTINFO: Final = Path("/proc/self/mountinfo")


def uppermost_below(folder: Path) -> list[Path]:
    """Return the uppermost mounts below a folder; mounts below those go with them."""
    below = {mount.point for mount in read_mounts() if folder in mount.point.parents}
    return [path for path in below if not any(parent in below for parent in path.parents)]


class OutsideMounts:
    """The mounts of the namespace in which this object was made. A poll for POLLPRI tells that there are others."""

    def __init__(self) -> None:
        self._fd = os.open(_MOUNTINFO, os.O_RDONLY | os.O_CLOEXEC)
        self._followed = self._devices()

    def fileno(self) -> int:
        """Return what to poll."""
        return self._fd

    def follow(self, spared: str) -> None:
        """Unmount each zramfs here that has been mounted there, and is no longer: ours would keep its daemon alive.

        Where mounts are shared the kernel does so. The one that has the device `spared` stays, and so does whatever has
        been mounted here only.
        """
        there = self._devices()
        left = outlived(read_mounts(), self._followed - there - {spared})
        if left:
            with suppress(CommandFailed):  # the way to it leads over a mount that hangs
                errand.do(partial(_unmount_all, left))
        self._followed = there | {mount.device for mount in outlived(read_mounts(), self._followed - there)}

    def _devices(self) -> set[str]:
        return {mount.device for mount in parse_mounts(read_anew(self._fd)) if mount.kind == FILESYSTEM_TYPE}


def outlived(mounts: Iterable[MountedFilesystem], devices: set[str]) -> list[MountedFilesystem]:
    """Return the mounts of a zramfs that is one of `devices`, the uppermost first."""
    return [mount for mount in mounts if mount.kind == FILESYSTEM_TYPE and mount.device in devices][::-1]


def _unmount_all(mounts: Iterable[MountedFilesystem]) -> None:
    for mount in mounts:
        with suppress(OSError):  # it has gone
            unmount_exactly(mount)


def unmount_exactly(mount: MountedFilesystem) -> None:
    """Unmount a mount lazily, unless another one lies over it; OSError if that cannot be."""
    fd = os.open(mount.point, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        if mount_id_of(fd) == mount.mount_id:
            kernel.unmount_lazily(Path(f"/proc/self/fd/{fd}"))
    finally:
        os.close(fd)
