"""A mounted disk in a program's hands: its files, attributes and status, and loop devices and swap over it."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from zramfs.cli.mounted import MountedZramfs
from zramfs.errors import InvalidValue, NotMounted, ZramError
from zramfs.foreign import is_device_name
from zramfs.library.attributes import Attributes
from zramfs.library.status import DeviceStatus, Status
from zramfs.verbs import run_verb

_FIRST: Final = "zram0"


@dataclass(frozen=True, slots=True)
class Device:
    """One device of the mount at `mountpoint`, such as zram0."""

    mountpoint: Path
    name: str

    @property
    def block_file(self) -> Path:
        """The file that is the disk: of a fixed size, in blocks of 4096 bytes."""
        return self.mountpoint / self.name

    @property
    def attributes(self) -> Attributes:
        """The control files below sys/block/zramN by name."""
        return Attributes(self.mountpoint / "sys/block" / self.name)

    def status(self) -> DeviceStatus:
        """Read what the device holds and has done."""
        for device in read_status(self.mountpoint).devices:
            if device.name == self.name:
                return device
        raise InvalidValue(f"{self.mountpoint} has no device {self.name}")

    @contextmanager
    def loop(self) -> Iterator[Path]:
        """Have a loop device over the block file; the value is its path, such as /dev/loop0. It needs root.

        CommandFailed if there is none to be had, or at the end, if it is in use: unmount what is on it before.
        """
        loop_path = Path(run_verb("loop", "attach", str(self.mountpoint), "--device", self.name))
        with _undone_by("loop", "detach", str(self.mountpoint), "--device", self.name):
            yield loop_path

    @contextmanager
    def swap(self, *, priority: int = 100) -> Iterator[Path]:
        """Use the device as swap, by a loop device; the value is its path. It needs root.

        The device's contents are overwritten. CommandFailed if it cannot be, or at the end, if the memory does not
        suffice to take everything back.
        """
        run = ("--device", self.name, "--priority", str(priority))
        loop_path = Path(run_verb("swap", "on", str(self.mountpoint), *run))
        with _undone_by("swap", "off", str(self.mountpoint), "--device", self.name):
            yield loop_path


class Disk:
    """A mount while its `with` lasts: its first device, zram0, is the disk; `device` gives others, of several."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._first = Device(path, _FIRST)

    def __repr__(self) -> str:
        return f"<zramfs at {self.path}>"

    @property
    def block_file(self) -> Path:
        """The file that is the disk: of a fixed size, in blocks of 4096 bytes."""
        return self._first.block_file

    @property
    def attributes(self) -> Attributes:
        """The control files below sys/block/zram0 by name."""
        return self._first.attributes

    def device(self, name: str) -> Device:
        """Return a device of the mount by its name, such as zram1; InvalidValue if it has none of this name."""
        if not (self.path / "sys/block").is_dir():
            raise NotMounted(f"no zramfs is mounted at {self.path}")
        if not is_device_name(name) or not (self.path / "sys/block" / name).is_dir():
            raise InvalidValue(f"{self.path} has no device {name!r}")
        return Device(self.path, name)

    def status(self) -> Status:
        """Read what the mount holds and has done, and its daemon's memory."""
        return read_status(self.path)

    def loop(self) -> AbstractContextManager[Path]:
        """Have a loop device over the disk, as `Device.loop`."""
        return self._first.loop()

    def swap(self, *, priority: int = 100) -> AbstractContextManager[Path]:
        """Use the disk as swap, as `Device.swap`."""
        return self._first.swap(priority=priority)


def read_status(mountpoint: Path) -> Status:
    """Read the status of a mount of our own from its files. NotMounted if it has ended."""
    from zramfs.cli import report  # noqa: PLC0415 - it brings what reads control files

    return Status.of(report.read_status(MountedZramfs(mountpoint)))


@contextmanager
def _undone_by(*verb: str) -> Iterator[None]:
    """Run a verb at the end of the `with`; its error becomes a note of the exception that ended it, if one did."""
    try:
        yield
    except BaseException as error:
        try:
            run_verb(*verb)
        except ZramError as failure:
            error.add_note(f"zramfs: {failure}")
        raise
    run_verb(*verb)
