"""The process with which a mount ends, watched by its pidfd: no other process can be taken for it."""

import os
import select
from collections.abc import Callable
from typing import Final

import trio

from zramfs.errors import MountFailed

_NOT_SEEN: Final = 0
"""What getppid tells of a parent in another PID namespace."""


class Parent:
    """A process that must live for as long as the mount. `fd` is its pidfd."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.fd = os.pidfd_open(pid)

    @classmethod
    def of_this_process(cls) -> "Parent":
        """Return who started this process; MountFailed if it has ended, or cannot be told."""
        pid = os.getppid()
        if pid == _NOT_SEEN:
            raise MountFailed("the parent is in another PID namespace, and its end cannot be seen from here")
        try:
            parent = cls(pid)
        except ProcessLookupError:
            raise MountFailed("the parent has ended") from None
        if os.getppid() != pid:  # it had ended before: the number may be another's
            raise MountFailed("the parent has ended")
        return parent

    @property
    def has_ended(self) -> bool:
        """Whether it has, zombies included."""
        return bool(select.select([self.fd], [], [], 0)[0])

    async def await_end(self, on_end: Callable[[str], None]) -> None:
        """Return when it has ended, and `on_end` has been told so in words."""
        await trio.lowlevel.wait_readable(self.fd)
        on_end(f"process {self.pid}, the parent, has ended")
