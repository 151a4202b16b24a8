"""What every log of the daemon can do, and how its lines are written.

A line that cannot be written at once is dropped: whoever uses the mount would wait for it.
"""

import logging
import os
import select
from contextlib import suppress
from typing import Final

_FORMAT: Final = "%(asctime)s %(levelname)s %(name)s: %(message)s"


class DaemonLog(logging.Handler):
    """The interface of all logs. `place` is for people; `fd` stays open when the daemon closes inherited files."""

    place: str
    fd: int | None = None

    def start(self) -> None:
        """Let everything that the process logs come here."""
        logging.basicConfig(level=logging.INFO, format=_FORMAT, handlers=[self])

    def open_anew(self) -> bool:
        """Begin a new file after the old one was renamed; False if there is no file. OSError if that cannot be."""
        return False

    def take_standard_streams(self) -> None:
        """Have what libraries print come here as well."""

    def let_go_of_caller(self) -> None:
        """Write no more to where the one who started the daemon reads."""

    def end(self) -> None:
        """The daemon has ended as it should."""


def write_at_once(fd: int, line: str) -> int:
    """Write as much of a line as there is room for, and return how much: a stopped terminal takes nothing."""
    rest = f"{line}\n".encode(errors="backslashreplace")
    written_bytes = 0
    poll = select.poll()
    poll.register(fd, select.POLLOUT)
    with suppress(OSError):
        while rest and poll.poll(0):
            part_bytes = os.write(fd, rest[: select.PIPE_BUF])  # a pipe has room for that much
            written_bytes += part_bytes
            rest = rest[part_bytes:]
    return written_bytes
