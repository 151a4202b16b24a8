"""A mounted zramfs as a verb sees it: through its files, like any script.

The daemon may be hostile to root, who may look at any mount: text is read bounded and made printable, and no files are
opened but those that are meant.
"""

import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from itertools import islice
from pathlib import Path
from typing import Final

from zramfs.beneath import open_beneath, open_folder_beneath
from zramfs.errors import InvalidValue, MountFailed
from zramfs.foreign import is_device_name, printable
from zramfs.mountinfo import device_mounted_at, device_name
from zramfs.mountpoint import find_ours

_LONGEST_BYTES: Final = 1 << 16
"""Four algorithms with their dictionaries' paths are the longest that there is to read: half of this."""

_LONGEST_REPORT_BYTES: Final = 4 << 20
"""A device takes some 4 KB of it."""

_MOST_ENTRIES: Final = 4096
_MOST_PROCESSES: Final = 1 << 22  # PID_MAX_LIMIT


class MountedZramfs:
    """The files of the zramfs at `path`, living or not; NotMounted if none is mounted there.

    It may be somebody else's, and its daemon any program. Whatever looks at its files may hang, and belongs into a
    question (`asking`); only `held` does not.
    """

    def __init__(self, path: Path) -> None:
        self.mount = find_ours(path)
        self.path = path
        self._keeps_folders = False
        self._kept: dict[str, int] = {}
        self._reported: Mapping[str, str] = {}

    @property
    def pid(self) -> int:
        """The daemon's process, as it says itself."""
        return self._process("pid", least=1)

    @property
    def keeper_pid(self) -> int:
        """The `zramfs exec` that uses it; 0 if none does."""
        return self._process("keeper", least=0)

    @contextmanager
    def held(self) -> Iterator[int]:
        """Keep its file system there, even dead, so that its st_dev is no other's; an O_PATH descriptor of its root."""
        with self._opened(device_mounted_at) as fd:  # fstat would ask the daemon
            yield fd

    @contextmanager
    def read_at_once(self) -> Iterator[None]:
        """Know meanwhile what the daemon reports of itself in one file.

        Of what is not in it, or if a daemon of an older version has none, each folder is walked to once.
        """
        self._keeps_folders = True
        try:
            with suppress(FileNotFoundError):
                self._reported = _understood(self._read_bytes("sys/fs/zramfs/report", _LONGEST_REPORT_BYTES))
            yield
        finally:
            self._keeps_folders = False
            self._reported = {}
            while self._kept:
                os.close(self._kept.popitem()[1])

    def device_names(self) -> list[str]:
        """Return zram0, zram1, … in their order."""
        names = filter(is_device_name, self._reported_entries("sys/block") or self._entries("sys/block"))
        return sorted(names, key=lambda name: int(name.removeprefix("zram")))

    def require_device(self, device: str) -> None:
        """Check that there is a device, and a block file of it; InvalidValue, or OSError."""
        names = self.device_names()
        if device not in names:
            raise InvalidValue(f"{self.path} has no device {device!r}: it has {', '.join(names)}")
        with self.opened_block_file(device, os.O_PATH):  # an open that the daemon sees would keep it in use
            pass

    @contextmanager
    def opened_block_file(self, device: str, flags: int) -> Iterator[int]:
        """Open the block file of a device; its descriptor."""
        fd = self._open(device, flags)
        try:
            yield fd
        finally:
            os.close(fd)

    def attribute(self, device: str, name: str) -> str:
        """Read a device's attribute, without its last newline."""
        return self._read(f"sys/block/{device}/{name}").rstrip("\n")

    def attribute_names(self, device: str, folder: str) -> list[str]:
        """List a folder of a device's attributes."""
        path = f"sys/block/{device}/{folder}"
        return self._reported_entries(path) or self._entries(path)

    def daemon_attribute(self, name: str) -> str:
        """Read an attribute of the daemon."""
        return self._read(f"sys/fs/zramfs/{name}").strip()

    def set_daemon_attribute(self, name: str, value: str) -> None:
        """Write an attribute of the daemon; OSError with the daemon's errno."""
        fd = self._open(f"sys/fs/zramfs/{name}", os.O_WRONLY)
        with os.fdopen(fd, "wb", buffering=0) as file:
            file.write(os.fsencode(value))

    def _process(self, name: str, *, least: int) -> int:
        text = self.daemon_attribute(name)
        if not (text.isdecimal() and len(text) < 8 and least <= int(text) <= _MOST_PROCESSES):
            raise MountFailed(f"{self.path} does not tell a process id where it should: {text[:32]!r}")
        return int(text)

    def _read(self, path: str) -> str:
        if path in self._reported:
            return self._reported[path]
        return printable(self._read_bytes(path, _LONGEST_BYTES).decode(errors="backslashreplace"))

    def _read_bytes(self, path: str, longest_bytes: int) -> bytes:
        with os.fdopen(self._open(path, os.O_RDONLY), "rb") as file:
            text = file.read(longest_bytes + 1)
        if len(text) > longest_bytes:
            raise MountFailed(f"{self.path / path} does not end, as an attribute would")
        return text

    def _open(self, path: str, flags: int) -> int:
        folder, _, name = path.rpartition("/")
        if not (self._keeps_folders and folder):
            with self._root(path) as root_fd:
                return open_beneath(root_fd, path, flags)
        try:
            return open_beneath(self._kept_folder(folder), name, flags)
        except OSError as error:
            raise OSError(error.errno, error.strerror, str(self.path / path)) from error

    def _kept_folder(self, folder: str) -> int:
        """Return a folder that stays open; within `folders_kept`."""
        if folder not in self._kept:
            with self._root(folder) as root_fd:
                self._kept[folder] = open_folder_beneath(root_fd, folder, os.O_PATH)
        return self._kept[folder]

    def _reported_entries(self, path: str) -> list[str]:
        """Return the names in a folder whose files have been reported, in their order."""
        below = f"{path}/"
        names = (name.removeprefix(below).partition("/")[0] for name in self._reported if name.startswith(below))
        return list(dict.fromkeys(names))

    def _entries(self, path: str) -> list[str]:
        with self._root(path) as root_fd:
            folder_fd = open_folder_beneath(root_fd, path)
        try:
            with os.scandir(folder_fd) as entries:
                return [printable(entry.name) for entry in islice(entries, _MOST_ENTRIES)]
        finally:
            os.close(folder_fd)

    @contextmanager
    def _root(self, path: str) -> Iterator[int]:
        """Open the root of our mount, not of what may be there instead by now; errors name the file that is meant."""
        try:
            with self._opened(lambda fd: device_name(os.fstat(fd).st_dev)) as fd:
                yield fd
        except OSError as error:
            raise OSError(error.errno, error.strerror, str(self.path / path)) from error

    @contextmanager
    def _opened(self, device_of: Callable[[int], str]) -> Iterator[int]:
        fd = os.open(self.mount.path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            if device_of(fd) != self.mount.device:
                raise MountFailed(f"no zramfs is mounted at {self.path} any more")
            yield fd
        finally:
            os.close(fd)


def _understood(report: bytes) -> dict[str, str]:
    """Return the texts of a report by their paths; MountFailed if it is none."""
    try:
        texts = json.loads(report)
        return {path: printable(os.fsencode(text).decode(errors="backslashreplace")) for path, text in texts.items()}
    except (AttributeError, RecursionError, TypeError, ValueError) as error:
        raise MountFailed("what is mounted does not answer as a zramfs does") from error
