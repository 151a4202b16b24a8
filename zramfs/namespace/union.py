"""Two folders seen as one, as by overlayfs, but live: what comes and goes in the lower one does so here at once.

Changes go to the upper folder. There a character device 0:0 hides a name of the lower one; names of
zram devices, and links to them, are always hidden. Regular files of the lower folder are not copied: what is written to
them goes to them, since they are attributes of sysfs.
"""

import errno
import os
import stat
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from zramfs.foreign import is_device_name

_WHITEOUT: Final = (stat.S_IFCHR, 0)
"""The mode and the device number of what hides a name."""


@dataclass(frozen=True, slots=True)
class Found:
    """A name, and the folder that it is in: a descriptor of the upper or the lower one."""

    folder: int
    path: str
    status: os.stat_result


@dataclass(frozen=True, slots=True)
class Union:
    """`upper` and `lower` are descriptors of folders. Paths are relative; the folder itself is `.`.

    All methods raise the OSError that the same system call would.
    """

    upper: int
    lower: int

    def find(self, path: str) -> Found:
        """Return what a name stands for."""
        above = _status(self.upper, path)
        if above is None:
            below = os.stat(path, dir_fd=self.lower, follow_symlinks=False)
            if not _is_hidden(self.lower, path, below):
                return Found(self.lower, path, below)
        elif not _is_whiteout(above):
            return Found(self.upper, path, above)
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)

    def names(self, path: str) -> list[tuple[str, int]]:
        """List a folder: names, and their kinds (S_IFMT)."""
        kinds = {name: kind for name, kind in _kinds(self.lower, path, _is_hidden).items() if kind}
        kinds |= _kinds(self.upper, path, _is_whiteout_at)
        return [(name, kind) for name, kind in sorted(kinds.items()) if kind]

    def make(self, path: str, mode: int, device: int, owner: tuple[int, int]) -> None:
        """Make a node or a regular file."""
        self._clear(path)
        os.mknod(path, mode, device, dir_fd=self.upper)
        os.chown(path, *owner, dir_fd=self.upper, follow_symlinks=False)
        os.chmod(path, stat.S_IMODE(mode), dir_fd=self.upper)  # whatever our umask

    def make_folder(self, path: str, mode: int, owner: tuple[int, int]) -> None:
        """Make a folder."""
        self._clear(path)
        os.mkdir(path, dir_fd=self.upper)
        os.chown(path, *owner, dir_fd=self.upper)
        os.chmod(path, mode, dir_fd=self.upper)

    def make_link(self, path: str, target: str, owner: tuple[int, int]) -> None:
        """Make a symbolic link."""
        self._clear(path)
        os.symlink(target, path, dir_fd=self.upper)
        os.chown(path, *owner, dir_fd=self.upper, follow_symlinks=False)

    def remove(self, path: str) -> None:
        """Take a name away."""
        found = self.find(path)
        if found.folder == self.upper:
            if stat.S_ISDIR(found.status.st_mode):
                self._require_empty(path)
                os.rmdir(path, dir_fd=self.upper)
            else:
                os.unlink(path, dir_fd=self.upper)
        elif stat.S_ISDIR(found.status.st_mode):
            self._require_empty(path)
        self.hide(path)

    def rename(self, old: str, new: str) -> None:
        """Move a name; a folder, or a file that is the lower folder's, stays there (EXDEV: copy it)."""
        found = self.find(old)
        if stat.S_ISDIR(found.status.st_mode) or (found.folder == self.lower and stat.S_ISREG(found.status.st_mode)):
            raise OSError(errno.EXDEV, os.strerror(errno.EXDEV), old)
        self.copy_up(old)
        with suppress(FileNotFoundError):
            self.remove(new)
        self._clear(new)
        os.rename(old, new, src_dir_fd=self.upper, dst_dir_fd=self.upper)
        self.hide(old)

    def hide(self, path: str) -> None:
        """Take a name of the lower folder away, if there is one."""
        if _status(self.lower, path) is not None:
            self._clear(path)
            os.mknod(path, *_WHITEOUT, dir_fd=self.upper)

    def restore(self, path: str) -> None:
        """Forget what was made or hidden of a name: the lower folder's shows again, if there is one."""
        above = _status(self.upper, path)
        if above is not None and stat.S_ISDIR(above.st_mode):
            os.rmdir(path, dir_fd=self.upper)
        elif above is not None:
            os.unlink(path, dir_fd=self.upper)

    def copy_up(self, path: str) -> Found:
        """Return the name as one of the upper folder, which may be changed; a regular file is where it is."""
        found = self.find(path)
        if found.folder == self.upper or path == "." or stat.S_ISREG(found.status.st_mode):
            return found
        status = found.status
        owner = (status.st_uid, status.st_gid)
        if stat.S_ISLNK(status.st_mode):
            self.make_link(path, os.readlink(path, dir_fd=self.lower), owner)
        elif stat.S_ISDIR(status.st_mode):
            self.make_folder(path, stat.S_IMODE(status.st_mode), owner)
        else:
            self.make(path, status.st_mode, status.st_rdev, owner)
        return self.find(path)

    def _clear(self, path: str) -> None:
        """Make a place for a new name in the upper folder."""
        parent = os.path.dirname(path)  # noqa: PTH120 - a relative path, hot
        if parent and _status(self.upper, parent) is None:
            self.copy_up(parent)
        above = _status(self.upper, path)
        if above is not None and _is_whiteout(above):
            os.unlink(path, dir_fd=self.upper)

    def _require_empty(self, path: str) -> None:
        if self.names(path):
            raise OSError(errno.ENOTEMPTY, os.strerror(errno.ENOTEMPTY), path)
        for name in _kinds(self.upper, path, _is_whiteout_at):
            os.unlink(f"{path}/{name}", dir_fd=self.upper)


def _status(folder: int, path: str) -> os.stat_result | None:
    try:
        return os.stat(path, dir_fd=folder, follow_symlinks=False)
    except (FileNotFoundError, NotADirectoryError):
        return None


def _is_whiteout(status: os.stat_result) -> bool:
    return (stat.S_IFMT(status.st_mode), status.st_rdev) == _WHITEOUT


def _is_whiteout_at(_folder: int, _path: str, status: os.stat_result) -> bool:
    return _is_whiteout(status)


def _is_hidden(folder: int, path: str, status: os.stat_result) -> bool:
    """Whether a name, or the last one of what it links to, is hidden by itself."""
    names = [path]
    if stat.S_ISLNK(status.st_mode):
        names.append(os.readlink(path, dir_fd=folder))
    return any(is_device_name(name.rpartition("/")[2]) for name in names)


def _kinds(folder: int, path: str, is_hidden: Callable[[int, str, os.stat_result], bool]) -> dict[str, int]:
    """List one of the two folders; the kind is 0 where a name is hidden."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
    except (FileNotFoundError, NotADirectoryError):
        return {}
    kinds = {}
    try:
        with os.scandir(fd) as entries:
            for entry in entries:
                with suppress(FileNotFoundError):  # it goes just now
                    status = entry.stat(follow_symlinks=False)
                    kinds[entry.name] = 0 if is_hidden(fd, entry.name, status) else stat.S_IFMT(status.st_mode)
    finally:
        os.close(fd)
    return kinds
