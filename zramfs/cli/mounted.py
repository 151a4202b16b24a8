"""A mounted zramfs as a verb sees it: through its files, like any script."""

from itertools import islice
from pathlib import Path
from typing import Final

from zramfs.errors import InvalidValue
from zramfs.fuse.mountpoint import require_mount

_LONGEST_TEXT: Final = 1 << 20
_MOST_NAMES: Final = 4096


class MountedZramfs:
    """The files of the zramfs at `path`; MountFailed if none is mounted there.

    It may be somebody else's, and its daemon any program: what is read is bounded, and steers no terminal.
    """

    def __init__(self, path: Path) -> None:
        self.mount = require_mount(path)
        self.path = path

    @property
    def pid(self) -> int:
        """The daemon's process."""
        return int(self.daemon_attribute("pid"))

    @property
    def keeper_pid(self) -> int:
        """The `zramfs exec` that uses it; 0 if none does."""
        return int(self.daemon_attribute("keeper"))

    def device_names(self) -> list[str]:
        """Return zram0, zram1, … in their order."""
        names = _names_in(self.path / "sys/block")
        return sorted(names, key=lambda name: int(name.removeprefix("zram")))

    def block_file(self, device: str) -> Path:
        """Return the block file of a device; InvalidValue if there is no such device."""
        if device not in self.device_names():
            raise InvalidValue(f"{self.path} has no device {device!r}: it has {', '.join(self.device_names())}")
        return self.path / device

    def attribute(self, device: str, name: str) -> str:
        """Read a device's attribute, without its last newline."""
        return _read_text(self.path / "sys/block" / device / name).rstrip("\n")

    def attribute_names(self, device: str, folder: str) -> list[str]:
        """List a folder of a device's attributes."""
        return _names_in(self.path / "sys/block" / device / folder)

    def daemon_attribute(self, name: str) -> str:
        """Read an attribute of the daemon."""
        return _read_text(self.path / "sys/fs/zramfs" / name).strip()

    def set_daemon_attribute(self, name: str, value: str) -> None:
        """Write an attribute of the daemon; OSError with the daemon's errno."""
        (self.path / "sys/fs/zramfs" / name).write_text(value)


def _read_text(path: Path) -> str:
    with path.open(errors="replace") as file:
        return _as_plain_text(file.read(_LONGEST_TEXT))


def _names_in(folder: Path) -> list[str]:
    return [_as_plain_text(entry.name) for entry in islice(folder.iterdir(), _MOST_NAMES)]


def _as_plain_text(text: str) -> str:
    return "".join(letter if letter.isprintable() or letter == "\n" else "?" for letter in text)
