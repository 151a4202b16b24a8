"""Starts a daemon: its starter learns that it is ready, or the one line of error."""

import logging
import os
import select
import signal
import sys
from collections.abc import Callable, Collection
from contextlib import suppress
from functools import partial
from typing import Final, NoReturn

from zramfs.cli.daemon_log import DaemonLog
from zramfs.cli.signals import DaemonSignals, signals_held
from zramfs.errors import CommandFailed, MountFailed, ZramError

_log: Final = logging.getLogger(__name__)

_READY: Final = b"ready\n"


class DaemonProcess:
    """A daemon that has been started, as its starter sees it."""

    def __init__(self, pid: int, said_fd: int, log_place: str) -> None:
        self.pid = pid
        self.fd = os.pidfd_open(pid)
        self._said_fd = said_fd
        self._log_place = log_place

    def await_ready(self, attended: Collection[int] = ()) -> None:
        """Return when the mount answers; MountFailed tells why it does not.

        CommandFailed as soon as one of `attended` can be read: the daemon then ends as soon as it is ready.
        """
        said = b""
        with os.fdopen(self._said_fd, "rb", buffering=0) as pipe:
            while True:
                readable, _, _ = select.select([pipe.fileno(), *attended], [], [])
                if set(attended).intersection(readable):
                    raise CommandFailed("interrupted before the mount was ready")
                some = pipe.read(1 << 12)
                if not some:
                    break
                said += some
        if not said.startswith(_READY):
            raise MountFailed(
                said.decode(errors="replace").strip() or f"the daemon ended at once; see {self._log_place}"
            )

    def has_ended(self, *, within_s: float = 0.0) -> bool:
        """Whether it has, or does in time."""
        return bool(select.select([self.fd], [], [], within_s)[0])

    def ended_well(self) -> bool:
        """Whether it ended with its mount, and was not killed; it must have ended. It stays to be waited for."""
        result = os.waitid(os.P_PIDFD, self.fd, os.WEXITED | os.WNOWAIT)
        return result is not None and (result.si_code, result.si_status) == (os.CLD_EXITED, 0)

    def send(self, number: signal.Signals) -> None:
        """Send it a signal, if it has not ended."""
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(self.fd, number)


def start_daemon(
    serve: Callable[[Callable[[], None]], None],
    log: DaemonLog,
    signals: DaemonSignals,
    *,
    kept_fds: Collection[int] = (),
) -> DaemonProcess:
    """Fork a daemon, which ends with `serve`; that one is given what it calls to say that it is ready.

    The daemon keeps none of our files open but `kept_fds` and its log's.
    """
    read_fd, write_fd = os.pipe()
    with signals_held():
        pid = os.fork()
        if pid == 0:
            _detach(log, {write_fd, *kept_fds})
            signals.catch()
    if pid == 0:
        signals.let_through()
        _be_daemon(serve, log, _Caller(write_fd, log))
    os.close(write_fd)
    return DaemonProcess(pid, read_fd, log.place)


def _be_daemon(serve: Callable[[Callable[[], None]], None], log: DaemonLog, caller: "_Caller") -> NoReturn:
    exit_code = 1
    try:
        serve(partial(_let_go_of_caller, caller))
        exit_code = 0
        log.end()
    except ZramError as error:
        caller.report_failure(str(error))
    except BaseException as error:  # noqa: BLE001 - this is the end of the process: nobody else can say it
        _log.critical("the daemon failed", exc_info=True)
        caller.report_failure(f"the daemon failed: {error!r}; see {log.place}")
    sys.stderr.flush()
    os._exit(exit_code)


def _let_go_of_caller(caller: "_Caller") -> None:
    """Leave the caller's session, now that there is a mount, and tell the caller.

    Before, autofs takes us for somebody who waits for the mount: it knows those who make it by their process group.
    """
    os.setsid()
    caller.report_ready()


class _Caller:
    """The one who started the daemon, and waits to hear what became of it."""

    def __init__(self, fd: int, log: DaemonLog) -> None:
        self._fd: int | None = fd
        self._log = log

    def report_ready(self) -> None:
        """Let the caller go; if it has gone, so does the mount: nobody knows of it."""
        if not self._tell(_READY):
            _log.warning("whoever asked for the mount did not wait for it")
            os.kill(os.getpid(), signal.SIGTERM)
        self._log.let_go_of_caller()

    def report_failure(self, line: str) -> None:
        """Tell the caller why there is no mount, or the log if nobody listens any more."""
        if self._tell(line.encode()):
            self._log.end()
        else:
            _log.error("%s", line)

    def _tell(self, said: bytes) -> bool:
        """Say the one thing that the caller waits for; False if nobody hears it."""
        if self._fd is None:
            return False
        fd, self._fd = self._fd, None
        try:
            os.write(fd, said)
        except BrokenPipeError:
            return False
        finally:
            os.close(fd)
        return True


def _detach(log: DaemonLog, kept_fds: Collection[int]) -> None:
    """Leave the caller's folder and files: whoever reads its pipes must see their end."""
    os.chdir("/")
    null_fd = os.open(os.devnull, os.O_RDWR)
    os.dup2(null_fd, 0)
    log.take_standard_streams()
    sys.stdout = sys.stderr = os.fdopen(2, "w", buffering=1, closefd=False)  # the caller's may have been closed
    for name in os.listdir("/proc/self/fd"):  # noqa: PTH208 - the numbers, not paths
        fd = int(name)
        if fd > 2 and fd not in (*kept_fds, log.fd):
            try:
                os.close(fd)
            except OSError:
                continue  # the listing's own
