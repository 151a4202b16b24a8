"""The control files of a device as a mapping."""

import errno
import os
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from zramfs.errors import NotMounted

_NOT_ONE: Final = frozenset({errno.ENOENT, errno.ENOTDIR, errno.EISDIR})


class Attributes(MutableMapping[str, str]):
    """The attributes of a device by their names below sys/block/zramN, such as `mem_limit` or `accel/queue_depth`.

    Each access is one of the file: KeyError where there is none, and OSError with the errno that the kernel's zram
    gives, for a value that cannot be for instance. Values are text without the last newline. None can be deleted.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __repr__(self) -> str:
        return f"<attributes in {self._folder}>"

    def __getitem__(self, name: str) -> str:
        """Read an attribute."""
        fd = self._open(name, os.O_RDONLY)
        with os.fdopen(fd, "rb", buffering=0) as file, self._named(name):
            return file.read().decode(errors="backslashreplace").removesuffix("\n")

    def __setitem__(self, name: str, value: str | int) -> None:
        """Write an attribute, as `echo VALUE > NAME` does."""
        fd = self._open(name, os.O_WRONLY)
        with os.fdopen(fd, "wb", buffering=0) as file, self._named(name):
            file.write(os.fsencode(f"{value}\n"))

    def __delitem__(self, name: str) -> None:
        raise TypeError(f"{name}: attributes of a device cannot be deleted")

    def __iter__(self) -> Iterator[str]:
        self._require_folder()
        for parent, folders, names in os.walk(self._folder):
            folders.sort()
            yield from sorted(str((Path(parent) / name).relative_to(self._folder)) for name in names)

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __contains__(self, name: object) -> bool:
        """Whether there is such an attribute; it is not read."""
        return isinstance(name, str) and self._is_below(name) and (self._folder / name).is_file()

    def _open(self, name: str, flags: int) -> int:
        if not self._is_below(name):
            raise KeyError(name)
        try:
            return self._open_attribute(name, flags)
        except OSError as error:
            if error.errno not in _NOT_ONE:
                raise
        self._require_folder()
        raise KeyError(name)

    def _open_attribute(self, name: str, flags: int) -> int:
        fd = os.open(self._folder / name, flags | os.O_CLOEXEC)
        if (self._folder / name).is_dir():
            os.close(fd)
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), name)
        return fd

    @contextmanager
    def _named(self, name: str) -> Iterator[None]:
        """Say in an OSError of a read or a write which file it is of, as open does."""
        try:
            yield
        except OSError as error:
            error.filename = str(self._folder / name)
            raise

    @staticmethod
    def _is_below(name: str) -> bool:
        parts = name.split("/")
        return all(parts) and ".." not in parts and "\0" not in name

    def _require_folder(self) -> None:
        if not self._folder.is_dir():
            raise NotMounted(f"there is no {self._folder}: the device has been removed, or its disk has ended")
