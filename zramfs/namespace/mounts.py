"""The mounts below a folder, and those outside of our namespace."""

import os
from pathlib import Path
from typing import Final

from zramfs.mountinfo import parse_mounts, read_mounts
from zramfs.namespace import kernel

_MOUNTINFO: Final = Path("/proc/self/mountinfo")
_OURS: Final = "fuse.zramfs"


def uppermost_below(folder: Path) -> list[Path]:
    """Return the uppermost mounts below a folder; mounts below those go with them."""
    below = {mount.point for mount in read_mounts() if folder in mount.point.parents}
    return [path for path in below if not any(parent in below for parent in path.parents)]


class OutsideMounts:
    """The mounts of the namespace in which this object was made. A poll for POLLPRI tells that there are others."""

    def __init__(self) -> None:
        self._fd = os.open(_MOUNTINFO, os.O_RDONLY | os.O_CLOEXEC)

    def fileno(self) -> int:
        """Return what to poll."""
        return self._fd

    def follow(self, spared: str) -> None:
        """Unmount each zramfs here that is no longer mounted there: ours would keep its daemon from ending.

        Where mounts are shared the kernel does so. The one that has the device `spared` stays.
        """
        there = {mount.device for mount in parse_mounts(self._read())} | {spared}
        for mount in read_mounts():
            if mount.kind == _OURS and mount.device not in there:
                kernel.unmount_lazily(mount.point)

    def _read(self) -> bytes:
        text = b""
        while some := os.pread(self._fd, 1 << 16, len(text)):
            text += some
        return text
