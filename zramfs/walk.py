"""Opens a path a name at a time, so that a file system can be refused before anything of it is looked at. Level 0."""

import errno
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from zramfs.mountinfo import MountedFilesystem, mount_id_of, read_mounts

_MOST_LINKS: Final = 40  # MAXSYMLINKS

Enter = Callable[[MountedFilesystem], None]
"""Told of each file system that the way leads to, before it is asked for anything; what it raises ends the walk."""


@contextmanager
def walked(path: str, enter: Enter) -> Iterator[int]:
    """Find an absolute path, following links; its O_PATH descriptor. OSError as open(2)'s, or what `enter` raises."""
    walk = _Walk(enter)
    try:
        walk.go(path)
        yield walk.fd
    finally:
        os.close(walk.fd)


class _Walk:
    """Where a walk has come to: `fd`."""

    def __init__(self, enter: Enter) -> None:
        self._enter = enter
        self._mounts = {mount.mount_id: mount for mount in read_mounts()}
        self._mount_id = -1
        self.fd = os.open("/", os.O_PATH | os.O_CLOEXEC)

    def go(self, path: str) -> None:
        """Go to `path` from the root on."""
        names = _names(path)
        links = 0
        self._note_mount(self.fd)
        while names:
            fd = os.open(names.pop(), os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=self.fd)
            try:
                self._note_mount(fd)
                target = os.readlink("", dir_fd=fd) if stat.S_ISLNK(os.fstat(fd).st_mode) else None
            except BaseException:
                os.close(fd)
                raise
            if target is None:
                self._move_to(fd)
                continue
            os.close(fd)
            links += 1
            if links > _MOST_LINKS:
                raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
            names += _names(target)
            if target.startswith("/"):
                self._move_to(os.open("/", os.O_PATH | os.O_CLOEXEC))
                self._note_mount(self.fd)

    def _move_to(self, fd: int) -> None:
        os.close(self.fd)
        self.fd = fd

    def _note_mount(self, fd: int) -> None:
        mount_id = mount_id_of(fd)
        if mount_id == self._mount_id:
            return
        if mount_id not in self._mounts:  # made meanwhile, by our very coming (autofs)
            self._mounts = {mount.mount_id: mount for mount in read_mounts()}
        if mount_id not in self._mounts:
            raise OSError(errno.EINVAL, "it lies on a mount that cannot be seen")
        self._enter(self._mounts[mount_id])
        self._mount_id = mount_id


def _names(path: str) -> list[str]:
    """Return the names in a path, the last one first."""
    return [name for name in reversed(path.split("/")) if name not in ("", ".")]
