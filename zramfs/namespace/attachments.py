"""The keeper's loop devices, each of which stands for a device. The daemon may ask for anything."""

import errno
import os
from pathlib import Path
from typing import Final, Protocol

from zramfs.beneath import open_beneath
from zramfs.errors import DeviceBusy, NoSuchDevice, ZramError
from zramfs.loop_device import FILE_FLAGS, MAJOR
from zramfs.namespace.protocol import ATTACH, DETACH, READY, Answer, Request

_MOST_DEVICES: Final = 1024
"""More loop devices are refused: a daemon could otherwise take all that there can be."""


class TooManyDevices(ZramError):  # noqa: N818
    """The daemon asks for more block devices than it may have."""

    errno = errno.ENOSPC


class Loops(Protocol):
    """The kernel's loop devices (`LoopDevices`)."""

    def attach(self, file_fd: int, name: str, *, prefer: int | None = None) -> int:
        """Bind a loop device to a file; its number."""

    def detach(self, number: int) -> bool:
        """Unbind one; False if it is in use."""


class View(Protocol):
    """Where they appear (`DeviceView`)."""

    def show(self, name: str, number: int) -> None:
        """Let a loop device be zramN."""

    def hide(self, name: str, number: int) -> None:
        """Take zramN away."""


class Attachments:
    """Binds loop devices to the files of a mount, of which `mount_fd` is the root, and shows them in `view`.

    `mountpoint` is what losetup shows.
    """

    def __init__(self, mount_fd: int, mountpoint: Path, loops: Loops, view: View) -> None:
        self._mount_fd = mount_fd
        self._mountpoint = mountpoint
        self._loops = loops
        self._view = view
        self._shown: dict[str, int] = {}
        self.bound: set[int] = set()
        """The loop devices that are bound."""

    def answer(self, request: Request) -> Answer:
        """Do what a daemon asks for; an error becomes an answer."""
        try:
            return Answer(text=self._do(request))
        except (ZramError, OSError) as error:
            return Answer(error.errno or errno.EIO, str(error))

    def _do(self, request: Request) -> str:
        if request.verb == READY:
            return ""
        if request.verb == ATTACH:
            return f"{MAJOR}:{self._attach(request.name)}"
        if request.name not in self._shown:
            raise NoSuchDevice(f"{request.name} is not attached")
        if request.verb == DETACH:
            self._detach(request.name)
        else:
            self._forget(request.name)
        return ""

    def _attach(self, name: str) -> int:
        before = self._shown.get(name)
        if before in self.bound:
            raise DeviceBusy(f"{name} is attached already")
        if before is None and len(self._shown) >= _MOST_DEVICES:
            raise TooManyDevices(f"{name} is one device more than {_MOST_DEVICES}")
        file_fd = open_beneath(self._mount_fd, name, FILE_FLAGS)
        try:
            number = self._loops.attach(file_fd, str(self._mountpoint / name), prefer=before)
        finally:
            os.close(file_fd)
        self.bound.add(number)
        if number != before:
            if before is not None:
                self._view.hide(name, before)
            self._shown[name] = number
            self._view.show(name, number)
        return number

    def _detach(self, name: str) -> None:
        number = self._shown[name]
        if not self._loops.detach(number):
            raise DeviceBusy(f"{name} is in use")
        self.bound.discard(number)

    def _forget(self, name: str) -> None:
        if self._shown[name] in self.bound:
            raise DeviceBusy(f"{name} is attached")
        self._view.hide(name, self._shown.pop(name))
