"""Which block file a loop device is over, by the names that the kernel keeps: the file system is not asked."""

import os
from pathlib import Path
from typing import Final

from zramfs.foreign import is_device_name

_NAME_BYTES: Final = 63  # of lo_file_name, and a NUL
_DIGEST_BYTES: Final = 8


def backing_name(folder: Path) -> str:
    """Return the name of the file that a loop device is bound to, as sysfs tells it without asking the file system."""
    try:
        return block_file_name((folder / "backing_file").read_bytes().removesuffix(b"\n"))
    except OSError:
        return ""  # it was unbound just now


def name_beneath(mountpoint: Path, shown: bytes, noted: bytes) -> str:
    """Return which block file of a mount a loop device is bound to, as zram0; nothing if to none.

    `shown` is its whole path, as the kernel knows it (loop/backing_file): the path within the file system once that is
    unmounted. `noted` is lo_file_name: what fits of the path when it was bound, or what `noted_name` made of it.
    """
    name = block_file_name(shown)
    if not name:
        return ""
    folder = shown.rpartition(b"/")[0]
    path = os.fspath(mountpoint / name)
    is_known = folder == os.fsencode(mountpoint) or (folder == b"" and noted.rstrip(b"\0") == noted_name(path))
    return name if is_known else ""


def block_file_name(shown: bytes) -> str:
    """Return the last name of a path, as the kernel shows it, if a device of ours may have it; else nothing."""
    name = os.fsdecode(shown.removesuffix(b" (deleted)").rpartition(b"/")[2])
    return name if is_device_name(name) else ""


def noted_name(path: str) -> bytes:
    """Return what a loop device keeps of its file's path; a digest at the end tells apart paths that are too long."""
    name = os.fsencode(path)
    if len(name) <= _NAME_BYTES:
        return name
    from hashlib import blake2s  # noqa: PLC0415 - 20 ms, with OpenSSL behind it, of each process of a backing device

    digest = b"~" + blake2s(name, digest_size=_DIGEST_BYTES).hexdigest().encode()
    return name[: _NAME_BYTES - len(digest)] + digest
