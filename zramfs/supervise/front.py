"""The process that the user started: has a keeper run the command, passes signals on, and waits for both to be done.

It stays in the session and the process group that it was started in, and so does the command: the terminal is theirs.
The keeper is not. Either of the two survives the other's SIGKILL, ends the command and cleans up.
"""

import os
import signal
from collections.abc import Callable
from contextlib import suppress
from typing import Final, NoReturn

from zramfs import kernel
from zramfs.supervise import processes

_PASSED_ON: Final = {
    signal.SIGHUP,
    signal.SIGINT,
    signal.SIGQUIT,
    signal.SIGTERM,
    signal.SIGUSR1,
    signal.SIGUSR2,
}
_WAITED_FOR: Final = _PASSED_ON | {signal.SIGCHLD}
_SI_KERNEL: Final = 0x80

Keep = Callable[[int, int, set[signal.Signals]], int]
"""What the keeper's process does: with its end of the leash, where to report the command's process id, and the signal
mask that the command gets; the exit code."""


class Front:
    """Starts the keeper's process. `recover` undoes what a keeper did that was killed.

    `is_in_vain` says whether processes are waited for that cannot end.
    """

    def __init__(self, keep: Keep, recover: Callable[[], None], is_in_vain: Callable[[], bool]) -> None:
        self._is_in_vain = is_in_vain
        self._recover = recover
        self._command_fd: int | None = None
        kernel.adopt_orphans()
        signal_mask = {signal.Signals(number) for number in signal.pthread_sigmask(signal.SIG_BLOCK, _WAITED_FOR)}
        leash_fd, self._leash_fd = os.pipe()
        self._report_fd, report_fd = os.pipe()
        self._keeper_pid = os.fork()
        if self._keeper_pid == 0:
            os.close(self._leash_fd)
            _exit_with(keep, leash_fd, report_fd, signal_mask)
        os.close(leash_fd)
        os.close(report_fd)
        os.set_blocking(self._report_fd, False)

    def wait(self) -> int:
        """Return the command's exit code when it has ended and nothing of it is left."""
        while True:
            caught = signal.sigwaitinfo(_WAITED_FOR)
            if caught.si_signo != signal.SIGCHLD:
                self._pass_on(caught)
                continue
            pid, status = os.waitpid(self._keeper_pid, os.WNOHANG)
            if pid:
                if os.WIFSIGNALED(status):
                    processes.end_descendants(self._is_in_vain)
                    self._recover()
                return processes.exit_code(status)

    def _pass_on(self, caught: signal.struct_siginfo) -> None:
        """Send the command what somebody sent us; what the terminal sends it has got itself, as one of our group."""
        command_fd = self._find_command()
        if command_fd is None:
            self._let_go()
        elif caught.si_code != _SI_KERNEL:
            with suppress(ProcessLookupError):  # it has ended, and is being cleaned up after
                signal.pidfd_send_signal(command_fd, caught.si_signo)

    def _find_command(self) -> int | None:
        """Return the command's pidfd; None while it has not begun, or if it has ended."""
        if self._command_fd is None:
            try:
                reported = os.read(self._report_fd, 32)
                self._command_fd = os.pidfd_open(int(reported)) if reported else None
            except (BlockingIOError, ProcessLookupError):
                return None
        return self._command_fd

    def _let_go(self) -> None:
        """Have the keeper end at once, before the command begins."""
        if self._leash_fd >= 0:
            os.close(self._leash_fd)
            self._leash_fd = -1


def _exit_with(keep: Keep, leash_fd: int, report_fd: int, signal_mask: set[signal.Signals]) -> NoReturn:
    exit_code = 1
    try:
        exit_code = keep(leash_fd, report_fd, signal_mask)
    finally:
        os._exit(exit_code)
