"""/proc/swaps, /proc/partitions and /proc/diskstats with our devices by their names, without the kernel's zram."""

import os
import re
import socket
import stat
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Final

from zramfs import kernel
from zramfs.foreign import is_device_name
from zramfs.loop_device import MAJOR
from zramfs.mountinfo import read_anew
from zramfs.namespace.union import Union
from zramfs.namespace.usher import Made
from zramfs.supervise.processes import start_server

_PROC: Final = Path("/proc")
_NAMES: Final = ("swaps", "partitions", "diskstats")
_MOST_BYTES: Final = 1 << 16


class ProcFiles:
    """The three files, as those see them whose /dev is `dev`; `kernels` is a /proc where they are not covered.

    /proc/swaps has paths and no device numbers: swap space on the /dev/zram0 of another /dev has the same path as ours.
    But the kernel shows a path below the reader's root, so that a process whose root is our /dev tells them apart.
    """

    def __init__(self, dev: Union, kernels: Path) -> None:
        self._dev = dev
        paths = {name: kernels / name for name in _NAMES if (kernels / name).exists()}
        self._kernel_fds = {name: os.open(path, os.O_RDONLY | os.O_CLOEXEC) for name, path in paths.items()}
        self._asking, self._answering = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)

    def made(self) -> dict[str, Made]:
        """Return how each is made; by the process that has `fds`."""
        makers = {
            "swaps": lambda: swaps(self._ask_for_swaps(), self._is_block_device),
            "partitions": lambda: partitions(self._read("partitions"), self._ours()),
            "diskstats": lambda: diskstats(self._read("diskstats"), self._ours()),
        }
        return {name: Made(os.fstat(fd), makers[name]) for name, fd in self._kernel_fds.items()}

    def fds(self) -> Collection[int]:
        """Return the descriptors that making them takes."""
        return {self._asking.fileno(), *self._kernel_fds.values()}

    def cover(self, view: Path, dev_path: Path) -> int:
        """Show those in `view` instead of the kernel's, once `dev` is seen at its path; the reader's pidfd."""
        serve = partial(self._serve_swaps, dev_path)
        reader = start_server(serve, {self._answering.fileno(), *self._kernel_fds.values()})
        self._asking.close()
        self._answering.close()
        for name, fd in self._kernel_fds.items():
            os.close(fd)
            kernel.bind(view / name, _PROC / name)
        return reader

    def _serve_swaps(self, root: Path) -> None:
        os.chroot(root)
        while self._answering.recv(1):
            self._answering.send(self._read("swaps"))

    def _ask_for_swaps(self) -> bytes:
        self._asking.send(b"?")
        return self._asking.recv(_MOST_BYTES)

    def _read(self, name: str) -> bytes:
        return read_anew(self._kernel_fds[name])

    def _is_block_device(self, name: bytes) -> bool:
        try:
            return stat.S_ISBLK(self._dev.find(os.fsdecode(name)).status.st_mode)
        except OSError:
            return False

    def _ours(self) -> dict[int, str]:
        """Return the names of our devices by the minor numbers of their loop devices."""
        ours = {}
        for name, kind in self._dev.names("."):
            if kind == stat.S_IFBLK and is_device_name(name):
                with suppress(FileNotFoundError):  # it goes just now
                    ours[os.minor(self._dev.find(name).status.st_rdev)] = name
        return ours


def swaps(text: bytes, is_node: Callable[[bytes], bool]) -> bytes:
    """Show swap space on what is in our /dev as there; drop that on any other zram.

    `text` is as a process reads it whose root is our /dev: there our /dev/zram0 is /zram0, and a /dev/zram0 of anybody
    else's /dev is just that. `is_node` says whether a name is one of a block device in our /dev.
    """
    header, *lines = text.splitlines(keepends=True)
    shown = [header]
    for line in lines:
        path = line.split(maxsplit=1)[0]
        if is_node(path.removeprefix(b"/")):
            shown.append(_widened(line, path))
        elif not _is_zram(path.removeprefix(b"/dev/")):
            shown.append(line)
    return b"".join(shown)


def _is_zram(name: bytes) -> bool:
    return is_device_name(os.fsdecode(name))


def _widened(line: bytes, path: bytes) -> bytes:
    """Put /dev before the path, with the column as wide as before: the blanks behind it are of no account."""
    return b"/dev" + path + (line[len(path) :].replace(b"    ", b"", 1) or b"\n")


def partitions(text: bytes, ours: Mapping[int, str]) -> bytes:
    """Show our devices in /proc/partitions: major, minor, blocks, name."""
    return _renamed(text, ours, column=3)


def diskstats(text: bytes, ours: Mapping[int, str]) -> bytes:
    """Show our devices in /proc/diskstats: major, minor, name, counters."""
    return _renamed(text, ours, column=2)


def _renamed(text: bytes, ours: Mapping[int, str], column: int) -> bytes:
    return b"".join(shown for line in text.splitlines(keepends=True) if (shown := _named(line, ours, column)))


def _named(line: bytes, ours: Mapping[int, str], column: int) -> bytes:
    words = line.split()
    if len(words) <= column:
        return line
    name = words[column]
    if words[0] == b"%d" % MAJOR and (device := ours.get(int(words[1]))):
        return re.sub(rb"\b%s\b" % re.escape(name), device.encode(), line, count=1)
    return b"" if _is_zram(name) else line
