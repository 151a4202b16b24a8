"""The mounts of our namespace, from /proc/self/mountinfo: no file system is asked, living or dead. Level 0."""

import os
import re
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple

FILESYSTEM_TYPE: Final = "fuse.zramfs"
"""A zramfs, as mountinfo calls it."""

_MOUNTINFO: Final = Path("/proc/self/mountinfo")
_READ_BYTES: Final = 1 << 16


class MountedFilesystem(NamedTuple):
    """A line of mountinfo. `device` is major:minor of its files' st_dev; `options` are those of the file system.

    `root` is which of its folders or files shows at `point`: `/`, unless it is a bind mount of another one.
    """

    mount_id: int
    device: str
    point: Path
    kind: str
    source: str
    options: tuple[str, ...]
    root: Path = Path("/")

    def option(self, name: str) -> str | None:
        """Return the value of an option of the file system, None if it does not have it."""
        values = (option.removeprefix(f"{name}=") for option in self.options if option.startswith(f"{name}="))
        return next(values, None)


def read_mounts() -> list[MountedFilesystem]:
    """Return the mounts of our namespace; one that lies over another comes behind it."""
    return parse_mounts(_MOUNTINFO.read_bytes())


def seen_by(device: str) -> tuple[int, Path] | None:
    """Return a process in whose namespace the file system of this major:minor is mounted, and where; None if none is.

    Of processes that we may not look at nothing is known.
    """
    for process in Path("/proc").iterdir():
        if process.name.isdigit():
            with suppress(OSError):
                for mount in parse_mounts((process / "mountinfo").read_bytes()):
                    if mount.device == device:
                        return int(process.name), mount.point
    return None


def read_anew(fd: int) -> bytes:
    """Return all that an open file of /proc says now."""
    text = b""
    while some := os.pread(fd, _READ_BYTES, len(text)):
        text += some
    return text


def parse_mounts(mountinfo: bytes) -> list[MountedFilesystem]:
    """Read the lines of a mountinfo (proc_pid_mountinfo(5))."""
    return [_parse(line) for line in mountinfo.splitlines()]


def _parse(line: bytes) -> MountedFilesystem:
    fields, _, rest = line.partition(b" - ")
    mount_id, _, device, root, point, *_ = fields.split(b" ")
    kind, source, options = rest.split(b" ", 2)
    return MountedFilesystem(
        mount_id=int(mount_id),
        device=device.decode(),
        point=unescape(point),
        kind=os.fsdecode(kind),
        source=_unescaped(source),
        options=tuple(_unescaped(option) for option in options.split(b",")),
        root=unescape(root),
    )


def unescape(field: bytes) -> Path:
    """Undo mountinfo's octal escapes, of blanks for instance; any bytes may be in a path."""
    return Path(_unescaped(field))


def _unescaped(field: bytes) -> str:
    if b"\\" not in field:  # nearly always
        return os.fsdecode(field)
    return os.fsdecode(re.sub(rb"\\([0-7]{3})", lambda octal: bytes([int(octal[1], 8)]), field))


def covering(mounts: Iterable[MountedFilesystem], path: Path) -> MountedFilesystem | None:
    """Return the mount that an absolute path without links leads to, by its text alone; None if there is none."""
    found = None
    for mount in mounts:
        if path.is_relative_to(mount.point) and (found is None or mount.point.is_relative_to(found.point)):
            found = mount
    return found


def mount_id_of(fd: int) -> int:
    """Return the mount that an open file is on."""
    lines = Path(f"/proc/self/fdinfo/{fd}").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("mnt_id:"))


def device_mounted_at(fd: int) -> str:
    """Return major:minor of the file system that an open file is on; "" if it is not mounted here. Nobody is asked."""
    mount_id = mount_id_of(fd)
    return next((mount.device for mount in read_mounts() if mount.mount_id == mount_id), "")


def device_name(device: int) -> str:
    """Write an st_dev or st_rdev as mountinfo and sysfs do: major:minor."""
    return f"{os.major(device)}:{os.minor(device)}"
