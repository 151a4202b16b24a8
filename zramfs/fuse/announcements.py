"""Tells the kernel, without its having asked, of names that have gone and sizes that have changed.

A notification is a write to /dev/fuse. One of a name waits for the folder's lock, which a look-up holds until we
answer it: so notifications are written by a thread of their own, one after the other, while requests go on.
"""

import logging
import os
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Final

import pyfuse3
import trio
from pyfuse3 import FileNameT, InodeT

from zramfs.device.lineage import OwnMount
from zramfs.loop_device import BackingFile, LoopDevices

_log: Final = logging.getLogger(__name__)

KNOWN_FOR_S: Final = 3600.0
"""How long the kernel may trust its knowledge of a node. Names that go are announced, and so is a block file's size."""

_LOOP_TIMEOUT_S: Final = 5.0
"""How long loop devices may take to learn a new size. They ask us for it."""


class Announcements:
    """Notifications in the order in which their changes were made. `own_mount` is where our files are.

    Without a mount there is nobody to tell, and nothing is noted.
    """

    def __init__(self, own_mount: OwnMount) -> None:
        self._own_mount = own_mount
        self._waiting: deque[Callable[[], None]] = deque()
        self._noted = self._sent = 0
        self._is_closed = False
        self._threads = trio.CapacityLimiter(1)
        self._loop_threads = trio.CapacityLimiter(1)
        self._awaiting_work = trio.lowlevel.ParkingLot()
        self._awaiting_progress = trio.lowlevel.ParkingLot()

    def name_gone(self, folder: InodeT, name: str) -> None:
        """Note that a folder has an entry no more."""
        self._note(partial(_forget_name, folder, os.fsencode(name)))

    def size_changed(self, inode: InodeT) -> None:
        """Note that a file has another size."""
        self._note(partial(_forget_attributes, inode))

    def contents_changed(self, inode: InodeT) -> None:
        """Note that the kernel must forget the contents of a file that it has in its page cache."""
        self._note(partial(_forget_contents, inode))

    def _note(self, notification: Callable[[], None]) -> None:
        if self._own_mount.device is None or self._is_closed:
            return
        self._waiting.append(notification)
        self._noted += 1
        self._awaiting_work.unpark_all()

    async def sent(self) -> None:
        """Return when the kernel knows of everything that was noted before this call."""
        last = self._noted
        while self._sent < last and not self._is_closed:
            await self._awaiting_progress.park()

    async def tell_loop_devices(self, inode: InodeT, name: str) -> None:
        """Let the loop devices over a file know its new size; those that the kernel does not show stay as they are."""
        if self._own_mount.device is None or self._is_closed:
            return
        refresh = partial(LoopDevices().refresh_capacity, BackingFile(self._own_mount.device, inode), name)
        with trio.move_on_after(_LOOP_TIMEOUT_S):
            await trio.to_thread.run_sync(refresh, abandon_on_cancel=True, limiter=self._loop_threads)

    async def serve(self) -> None:
        """Send what is noted, until cancelled: the one under way is completed then, if requests are answered."""
        while True:
            while self._waiting and not self._is_closed:
                await trio.to_thread.run_sync(self._waiting.popleft(), limiter=self._threads)
                self._sent += 1
                self._awaiting_progress.unpark_all()
            await self._awaiting_work.park()

    async def close(self) -> None:
        """Note nothing more, let everybody go who waits, and return when no notification is under way.

        Requests must be answered meanwhile: the thread would hold /dev/fuse open, and whoever it waits for would wait
        for an answer.
        """
        self._is_closed = True
        self._waiting.clear()
        self._awaiting_progress.unpark_all()
        async with self._threads:
            return

    def __repr__(self) -> str:
        return f"<Announcements {len(self._waiting)} to send, {self._sent} sent>"


def _forget_attributes(inode: InodeT) -> None:
    _notify(partial(pyfuse3.invalidate_inode, inode, attr_only=True))


def _forget_contents(inode: InodeT) -> None:
    _notify(partial(pyfuse3.invalidate_inode, inode, attr_only=False))


def _forget_name(folder: InodeT, name: bytes) -> None:
    _notify(partial(pyfuse3.invalidate_entry, folder, FileNameT(name)))


def _notify(notify: Callable[[], None]) -> None:
    try:
        notify()
    except FileNotFoundError:
        return  # the kernel does not know the name, or the file
    except OSError as error:
        _log.warning("the kernel was not told of a change: %s", error)
