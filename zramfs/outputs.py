"""Opens files for writing, by names that a user chose, in folders that others may write to as well. Level 0.

It follows the rules of fs.protected_symlinks and its relatives (proc(5)), even where they are off: somebody who guesses
the name of a log in /tmp must not choose the file that root then writes to.
"""

import errno
import os
import stat
from pathlib import Path
from typing import Final

_OTHERS_WRITE: Final = stat.S_IWGRP | stat.S_IWOTH | stat.S_ISVTX
_ROOT: Final = 0


def open_output(path: Path, flags: int = 0, mode: int = 0o666) -> int:
    """Open a file for writing, which is made if need be; OSError, and EACCES for one that others have laid there.

    A link is followed only in a folder of root's or ours, to which nobody else may write.
    """
    flags |= os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC
    folder_fd = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        if _is_private(os.fstat(folder_fd)):
            return os.open(path.name, flags, mode, dir_fd=folder_fd)
        return _open_among_others(path, folder_fd, flags, mode)
    finally:
        os.close(folder_fd)


def _is_private(folder: os.stat_result) -> bool:
    return folder.st_uid in (_ROOT, os.geteuid()) and not folder.st_mode & _OTHERS_WRITE


def _open_among_others(path: Path, folder_fd: int, flags: int, mode: int) -> int:
    """O_TRUNC comes last: a file that is not ours stays as it is."""
    try:
        fd = os.open(path.name, flags & ~os.O_TRUNC | os.O_NOFOLLOW | os.O_NONBLOCK, mode, dir_fd=folder_fd)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENXIO):  # a link; a pipe
            raise _not_ours(path) from error
        raise
    try:
        _require_ours(os.fstat(fd), path)
        if flags & os.O_TRUNC:
            os.ftruncate(fd, 0)
    except BaseException:
        os.close(fd)
        raise
    return fd


def _require_ours(status: os.stat_result, path: Path) -> None:
    """More than one name means that somebody has linked a file of ours from elsewhere."""
    if not stat.S_ISREG(status.st_mode) or status.st_uid != os.geteuid() or status.st_nlink != 1:
        raise _not_ours(path)


def _not_ours(path: Path) -> OSError:
    return OSError(errno.EACCES, "others may write to its folder, and it is no file of ours", str(path))
