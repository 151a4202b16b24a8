"""System calls that Python 3.11 does not have: mounts, mount namespaces, a process's parent. Level 0."""

import ctypes
import os
from pathlib import Path
from typing import Final

_CLONE_NEWNS: Final = 0x00020000
_MS_NOSUID: Final = 2
_MS_NODEV: Final = 4
_MS_REMOUNT: Final = 32
_MS_NOSYMFOLLOW: Final = 256  # since Linux 5.10; ignored before
_MS_BIND: Final = 4096
_MS_REC: Final = 16384
_MS_PRIVATE: Final = 1 << 18
_MS_SLAVE: Final = 1 << 19
_MNT_FORCE: Final = 1
_MNT_DETACH: Final = 2
_UMOUNT_NOFOLLOW: Final = 8
_PR_SET_PDEATHSIG: Final = 1
_PR_SET_CHILD_SUBREAPER: Final = 36

_libc: Final = ctypes.CDLL(None, use_errno=True)


def _check(result: int, what: object) -> None:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), str(what))


def mount(kind: str, target: Path, options: str = "") -> None:
    """Mount a new file system of the kernel; its source is named after it."""
    name = kind.encode()
    _check(_libc.mount(name, os.fsencode(target), name, 0, options.encode() or None), target)


def bind(source: Path, target: Path) -> None:
    """Show at `target` what is at `source`, with all that is mounted below it."""
    flags = _MS_BIND | _MS_REC
    _check(_libc.mount(os.fsencode(source), os.fsencode(target), None, flags, None), target)


def bind_guarded(source: Path, target: Path) -> None:
    """Show a folder at `target` whose contents somebody else decides: no link and no device of it leads anywhere.

    Nothing shows that is mounted below it, or will be: each mount has flags of its own.
    """
    _check(_libc.mount(os.fsencode(source), os.fsencode(target), None, _MS_BIND, None), target)
    _check(_libc.mount(None, os.fsencode(target), None, _MS_PRIVATE, None), target)
    flags = _MS_REMOUNT | _MS_BIND | _MS_NOSUID | _MS_NODEV | _MS_NOSYMFOLLOW
    _check(_libc.mount(None, os.fsencode(target), None, flags, None), target)


def unmount_lazily(target: Path) -> None:
    """Take a mount away from its place; what has been bound from it stays."""
    _check(_libc.umount2(os.fsencode(target), _MNT_DETACH), target)


def unmount_by_force(target: Path) -> None:
    """End the connection of a FUSE mount, and unmount it; OSError with EBUSY if only the former could be."""
    _check(_libc.umount2(os.fsencode(target), _UMOUNT_NOFOLLOW | _MNT_FORCE), target)


def unmount_nothing_linked(target: Path, *, lazily: bool) -> None:
    """Unmount, unless the last name is a link; OSError with EBUSY if the mount is in use, unless `lazily`."""
    _check(_libc.umount2(os.fsencode(target), _UMOUNT_NOFOLLOW | (_MNT_DETACH if lazily else 0)), target)


def enter_new_mount_namespace() -> None:
    """Have mounts of our own from now on: those made outside still come, none of ours goes out."""
    _check(_libc.unshare(_CLONE_NEWNS), "a new mount namespace")
    _check(_libc.mount(None, b"/", None, _MS_SLAVE | _MS_REC, None), "/")


def enter_mount_namespace(fd: int) -> None:
    """Go to the mount namespace that `fd` stands for."""
    _check(_libc.setns(fd, _CLONE_NEWNS), "the mount namespace")


def swapoff(path: Path) -> None:
    """End the swap on a block device; OSError with EINVAL if there is none."""
    _check(_libc.swapoff(os.fsencode(path)), path)


def adopt_orphans() -> None:
    """Become the parent of descendants whose parents end."""
    _check(_libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0), "orphans")


def end_with_parent(signal_number: int) -> None:
    """Be sent this signal when the parent ends."""
    _check(_libc.prctl(_PR_SET_PDEATHSIG, signal_number, 0, 0, 0), "the parent's end")
