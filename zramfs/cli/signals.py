"""The daemon's signals, none of which ends it at once.

Some end the mount, SIGHUP has the log opened anew, and all others that matter leave a line in it. The daemon catches
them before it does anything else, and keeps them until somebody can attend to them.
"""

import logging
import math
import os
import signal
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Final

import trio

from zramfs.cli.daemon_log import DaemonLog
from zramfs.cli.notify import notify, notify_reloading

_log: Final = logging.getLogger(__name__)

_ENDING: Final = frozenset({signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGXCPU})
"""SIGXCPU comes before the SIGKILL of the same limit."""

_SILENT: Final = frozenset({signal.SIGPIPE, signal.SIGXFSZ, signal.SIGTTIN, signal.SIGTTOU})
"""Ignored without a line: what causes them may be the writing of that line. The write that does gets an error."""

_LEFT_ALONE: Final = frozenset(
    {
        *(signal.SIGKILL, signal.SIGSTOP),  # cannot be caught
        *(signal.SIGSEGV, signal.SIGBUS, signal.SIGFPE, signal.SIGILL, signal.SIGTRAP, signal.SIGSYS, signal.SIGABRT),
        *(signal.SIGCHLD, signal.SIGCONT, signal.SIGURG, signal.SIGWINCH),  # harmless
    }
)
"""The faults among them are about the program itself, which must not go on."""

_CAUGHT: Final = frozenset(signal.valid_signals()) - _SILENT - _LEFT_ALONE

_NOTED_EVERY_S: Final = 1.0
"""How often a signal that is ignored gets a line: a timer may send a hundred a second."""


class DaemonSignals:
    """Catches the signals of this process, and acts on them. `log` is the one that SIGHUP opens anew.

    A mount in the foreground also ends at the SIGHUP of a terminal that is gone; any other one has let go of its
    starter's. `endings` gives the name of each signal by which somebody wants the mount to end.
    """

    def __init__(self, log: DaemonLog, *, is_foreground: bool = False) -> None:
        self._log = log
        self._terminal_fd = next((fd for fd in (2, 1, 0) if is_foreground and os.isatty(fd)), None)
        self._arrived: deque[int] = deque()
        self._arrival = trio.Event()
        self._hung_up = trio.Event()
        self._token: trio.lowlevel.TrioToken | None = None
        self._ask_to_end, self.endings = trio.open_memory_channel[str](math.inf)
        self._noted_at: dict[int, float] = {}

    def catch(self) -> None:
        """Catch them from now on."""
        for number in _SILENT:
            signal.signal(number, signal.SIG_IGN)
        for number in _CAUGHT:
            signal.signal(number, self._note)

    @staticmethod
    def let_through() -> None:
        """Let them arrive: whoever started this process may have blocked them."""
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _CAUGHT)

    def ask_to_end(self, why: str) -> None:
        """Have the mount end, as at a signal."""
        notify("STOPPING=1", f"STATUS=Unmounting: {why}")
        self._ask_to_end.send_nowait(why)

    async def attend(self) -> None:
        """Act on signals until cancelled, beginning with those that have arrived before."""
        self._token = trio.lowlevel.current_trio_token()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._attend_to_log)
            while True:
                self._arrival = trio.Event()
                while self._arrived:
                    self._act_on(self._arrived.popleft())
                await self._arrival.wait()

    async def _attend_to_log(self) -> None:
        """Open the log anew whenever that is asked for. It may hang, and nothing else waits for it."""
        limiter = trio.CapacityLimiter(1)
        while True:
            await self._hung_up.wait()
            self._hung_up = trio.Event()
            await trio.to_thread.run_sync(self._open_log_anew, abandon_on_cancel=True, limiter=limiter)

    def _note(self, number: int, _: FrameType | None) -> None:
        """Handle a signal, which may interrupt anything; one that waits already need not arrive again."""
        if number not in self._arrived:
            self._arrived.append(number)
        if self._token is not None:
            with suppress(trio.RunFinishedError):
                self._token.run_sync_soon(self._wake, idempotent=True)

    def _wake(self) -> None:
        self._arrival.set()

    def _act_on(self, number: int) -> None:
        name = _name_of(number)
        if number in _ENDING:
            self.ask_to_end(name)
        elif number != signal.SIGHUP:
            self._note_ignored(number, name)
        elif self._terminal_fd is not None and not os.isatty(self._terminal_fd):  # it was one
            self.ask_to_end(f"{name}, the terminal is closed")
        else:
            self._hung_up.set()

    def _open_log_anew(self) -> None:
        notify_reloading()
        try:
            was_opened = self._log.open_anew()
        except OSError as error:
            _log.warning("SIGHUP: cannot open %s anew, it goes on in the old file: %s", self._log.place, error.strerror)
        else:
            _log.info("SIGHUP: %s", "the log is opened anew" if was_opened else "there is no log file")
        finally:
            notify("READY=1")

    def _note_ignored(self, number: int, name: str) -> None:
        now = time.monotonic()
        if now - self._noted_at.get(number, -math.inf) >= _NOTED_EVERY_S:
            self._noted_at[number] = now
            _log.warning("%s is ignored", name)


@contextmanager
def signals_held() -> Iterator[None]:
    """Let the signals that a daemon catches wait: between a fork and the moment when both sides are ready for them."""
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, _CAUGHT)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def _name_of(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"SIGRTMIN+{number - signal.SIGRTMIN}"
