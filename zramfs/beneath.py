"""Opens files in a folder whose contents somebody else decides, and none outside of it. Level 0."""

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import PurePath
from typing import Final

_FOUND: Final = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC


def open_beneath(folder_fd: int, path: str, flags: int) -> int:
    """Open a regular file below an open folder and on the same file system, with no link on the way; its descriptor.

    OSError: ELOOP or ENOTDIR for a link, EXDEV for another file system, EINVAL for a path that leads out and for a file
    of another kind, which is not opened: that alone does something to some devices.
    """
    with _found(folder_fd, path) as found_fd:
        if not stat.S_ISREG(os.fstat(found_fd).st_mode):
            raise _error(errno.EINVAL, path)
        return os.open(f"/proc/self/fd/{found_fd}", flags | os.O_CLOEXEC)


def open_folder_beneath(folder_fd: int, path: str, flags: int = os.O_RDONLY) -> int:
    """Open a folder below an open folder likewise."""
    with _found(folder_fd, path) as found_fd:
        return os.open(".", flags | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=found_fd)


@contextmanager
def _found(folder_fd: int, path: str) -> Iterator[int]:
    """Find a file or a folder; its O_PATH descriptor."""
    names = PurePath(path).parts
    if not names or ".." in names or path.startswith("/"):
        raise _error(errno.EINVAL, path)
    device = os.fstat(folder_fd).st_dev
    fd = os.open(".", os.O_PATH | os.O_CLOEXEC, dir_fd=folder_fd)
    try:
        for name in names:
            next_fd = _step(name, fd, path)
            os.close(fd)
            fd = next_fd
            _require_here(fd, device, path)
        yield fd
    finally:
        os.close(fd)


def _step(name: str, folder_fd: int, path: str) -> int:
    try:
        return os.open(name, _FOUND, dir_fd=folder_fd)
    except OSError as error:
        raise OSError(error.errno, error.strerror, path) from error


def _require_here(fd: int, device: int, path: str) -> None:
    status = os.fstat(fd)
    if stat.S_ISLNK(status.st_mode):
        raise _error(errno.ELOOP, path)
    if status.st_dev != device:
        raise _error(errno.EXDEV, path)


def _error(number: int, path: str) -> OSError:
    return OSError(number, os.strerror(number), path)
