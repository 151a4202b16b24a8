"""Whoever opened a control file: where their relative paths begin."""

import os
from contextlib import suppress
from pathlib import Path
from typing import Final

_SURROUNDINGS: Final = ("root", "ns/mnt")
"""What a path means depends on these: they must be the daemon's."""


class Caller:
    """A process, by its pid as FUSE tells it: 0 for one that the daemon cannot see."""

    def __init__(self, pid: int) -> None:
        self._fd = -1
        with suppress(OSError):  # a descriptor, because another process may get the number
            self._fd = os.open(f"/proc/{pid}", os.O_PATH | os.O_DIRECTORY)

    def folder(self) -> str:
        """Return its working directory, or nothing if that is not to be known, or would be another one here."""
        if self._fd < 0:
            return ""
        try:
            for each in _SURROUNDINGS:
                if os.readlink(each, dir_fd=self._fd) != str(Path(f"/proc/self/{each}").readlink()):
                    return ""
            folder = os.readlink("cwd", dir_fd=self._fd)
        except OSError:  # it has ended, or belongs to somebody else
            return ""
        return folder if folder.startswith("/") else ""

    def close(self) -> None:
        """Forget it."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
