"""The daemon's own process: its memory, its open files, and its safety while it holds swap. Level 0."""

import ctypes
import errno
import logging
import os
import resource
from collections.abc import Callable
from pathlib import Path
from typing import Final

from zramfs.errors import MountFailed, ZramError

_log: Final = logging.getLogger(__name__)

_MCL_CURRENT: Final = 1
_MCL_FUTURE: Final = 2
_MCL_ONFAULT: Final = 4  # lock what is touched, when it is touched: the pool reserves far more than it uses
_PR_SET_IO_FLUSHER: Final = 57  # since Linux 5.6: allocations of this thread must not wait for I/O that it serves
_OOM_SCORE_ADJ: Final = Path("/proc/self/oom_score_adj")
_NEVER_KILL: Final = "-1000"


class NotPrivileged(ZramError):  # noqa: N818
    """Locking memory needs root, or an unlimited RLIMIT_MEMLOCK."""

    errno = errno.EPERM


def rss_bytes() -> int:
    """Resident memory of this process, in bytes: in kB, the kernel tells it whatever its page size is."""
    resident_kib = Path("/proc/self/status").read_text().partition("VmRSS:")[2].split()[0]
    return int(resident_kib) * 1024


def allow_open_files(count: int) -> None:
    """Have this process be allowed so many open files; MountFailed if that is more than its hard limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft >= count:
        return
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (count, max(count, hard)))
    except ValueError as error:
        raise MountFailed(
            f"{hard} files may be open, and the daemon needs {count}: raise the limit (ulimit -n)"
        ) from error


class SwapGuard:
    """Keeps this process in memory and alive while the swap that it holds is in use.

    Without it the daemon would be swapped into itself, or killed for memory that only it could free. `on_change` hears
    whether it is on: the threads that serve the swap have to tell the kernel so, each for itself, as this one does.
    """

    def __init__(self, on_change: Callable[[bool], None] = lambda _: None) -> None:
        self._on_change = on_change
        self._libc = ctypes.CDLL(None, use_errno=True)
        self.is_memory_locked = False
        self.is_oom_protected = False
        self._score_before = ""

    def turn_on(self) -> None:
        """Lock present and future memory, and ask the OOM killer to take others.

        NotPrivileged if memory cannot be locked. The OOM killer heeds only those with CAP_SYS_RESOURCE, which
        root in a container may lack: `is_oom_protected` tells.
        """
        if self.is_memory_locked:
            return
        if self._libc.mlockall(_MCL_CURRENT | _MCL_FUTURE | _MCL_ONFAULT):
            raise NotPrivileged(f"cannot lock the daemon's memory: {os.strerror(ctypes.get_errno())}")
        self.is_memory_locked = True
        self._libc.prctl(_PR_SET_IO_FLUSHER, 1, 0, 0, 0)
        self._on_change(True)  # noqa: FBT003
        self._score_before = _OOM_SCORE_ADJ.read_text()
        self.is_oom_protected = self._set_oom_score(_NEVER_KILL)

    def turn_off(self) -> None:
        """Undo `turn_on`."""
        if not self.is_memory_locked:
            return
        if self.is_oom_protected:
            self._set_oom_score(self._score_before)
        self.is_oom_protected = False
        self._libc.prctl(_PR_SET_IO_FLUSHER, 0, 0, 0, 0)
        self._on_change(False)  # noqa: FBT003
        self._libc.munlockall()
        self.is_memory_locked = False

    @staticmethod
    def _set_oom_score(score: str) -> bool:
        try:
            _OOM_SCORE_ADJ.write_text(score)
        except OSError as error:
            _log.warning("the OOM killer cannot be told to spare the daemon: %s", error)
            return False
        return True
