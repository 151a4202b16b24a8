"""Mounts as /proc/self/mountinfo lists them, and what becomes of those outside of our namespace."""

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from zramfs.namespace import kernel

_MOUNTINFO: Final = Path("/proc/self/mountinfo")
_OURS: Final = "fuse.zramfs"


@dataclass(frozen=True, slots=True)
class MountPlace:
    """Where a file system is mounted; `device` is its major:minor."""

    path: Path
    device: str
    kind: str


def parse(mountinfo: bytes) -> Iterator[MountPlace]:
    """Read mountinfo's lines."""
    for line in mountinfo.splitlines():
        fields, _, rest = line.partition(b" - ")
        _, _, device, _, path, *_ = fields.split(b" ")
        unescaped = re.sub(rb"\\([0-7]{3})", lambda octal: bytes([int(octal[1], 8)]), path)
        yield MountPlace(Path(os.fsdecode(unescaped)), device.decode(), os.fsdecode(rest.split(b" ")[0]))


def uppermost_below(folder: Path) -> list[Path]:
    """Return the uppermost mounts below a folder; what is mounted below those goes with them."""
    below = {place.path for place in parse(_MOUNTINFO.read_bytes()) if folder in place.path.parents}
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
        there = {place.device for place in parse(self._read())} | {spared}
        for place in parse(_MOUNTINFO.read_bytes()):
            if place.kind == _OURS and place.device not in there:
                kernel.unmount_lazily(place.path)

    def _read(self) -> bytes:
        text = b""
        while some := os.pread(self._fd, 1 << 16, len(text)):
            text += some
        return text
