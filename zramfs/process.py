"""What the daemon does about its own process: its memory, and its safety while it holds swap. Level 0."""

import ctypes
import errno
import os
from pathlib import Path
from typing import Final

from zramfs.errors import ZramError
from zramfs.units import PAGE_SIZE

_MCL_CURRENT: Final = 1
_MCL_FUTURE: Final = 2
_MCL_ONFAULT: Final = 4  # lock what is touched, when it is touched: the pool reserves far more than it uses
_PR_SET_IO_FLUSHER: Final = 57  # since Linux 5.6: allocations of this thread must not wait for I/O that it serves
_OOM_SCORE_ADJ: Final = Path("/proc/self/oom_score_adj")
_NEVER_KILL: Final = "-1000"


class NotPrivileged(ZramError):  # noqa: N818
    """Locking memory, or protection from the OOM killer, needs root."""

    errno = errno.EPERM


def rss_bytes() -> int:
    """Resident memory of this process, in bytes."""
    resident_pages = int(Path("/proc/self/statm").read_text().split()[1])
    return resident_pages * PAGE_SIZE


class SwapGuard:
    """Keeps this process in memory and alive while the swap that it holds is in use.

    Without it the daemon would be swapped into itself, or killed for memory that only it could free.
    """

    def __init__(self) -> None:
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._score_before = ""

    @property
    def is_on(self) -> bool:
        """Whether memory is locked and the OOM killer kept away."""
        return bool(self._score_before)

    def turn_on(self) -> None:
        """Lock present and future memory, and ask the OOM killer to take others. NotPrivileged without root."""
        if self.is_on:
            return
        score = _OOM_SCORE_ADJ.read_text().strip()
        try:
            _OOM_SCORE_ADJ.write_text(_NEVER_KILL)
        except PermissionError as error:
            raise NotPrivileged("protection from the OOM killer needs root") from error
        if self._libc.mlockall(_MCL_CURRENT | _MCL_FUTURE | _MCL_ONFAULT):
            _OOM_SCORE_ADJ.write_text(score)
            raise NotPrivileged(f"cannot lock the daemon's memory: {os.strerror(ctypes.get_errno())}")
        self._libc.prctl(_PR_SET_IO_FLUSHER, 1, 0, 0, 0)
        self._score_before = score

    def turn_off(self) -> None:
        """Undo `turn_on`."""
        if not self.is_on:
            return
        self._libc.munlockall()
        self._libc.prctl(_PR_SET_IO_FLUSHER, 0, 0, 0, 0)
        _OOM_SCORE_ADJ.write_text(self._score_before)
        self._score_before = ""
