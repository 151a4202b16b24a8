"""Leaves a daemon behind: the caller returns when it is ready, or with its one line of error."""

import logging
import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final, NoReturn

from zramfs.cli.log import DaemonLog
from zramfs.cli.signals import DaemonSignals, signals_held
from zramfs.errors import MountFailed, ZramError

_log: Final = logging.getLogger(__name__)

_READY: Final = b"ready\n"


@contextmanager
def leave_daemon(log: DaemonLog, signals: DaemonSignals, kept_fds: Sequence[int] = ()) -> Iterator[Callable[[], None]]:
    """Run the body of the `with` in a daemon; its value is called to say that it is ready.

    Only the daemon enters the body, and ends with it. The caller never comes back from the `with`: it exits with 0
    when the daemon is ready, or MountFailed tells why it is not. `kept_fds` stay open in the daemon.
    """
    read_fd, write_fd = os.pipe()
    with signals_held():
        is_caller = os.fork() > 0
        if not is_caller:
            _detach(log, (write_fd, *kept_fds))
            signals.catch()
    if is_caller:
        os.close(write_fd)
        _await_ready(read_fd, log.place)
    caller = _Caller(write_fd, log)
    exit_code = 1
    try:
        yield caller.report_ready
        exit_code = 0
        log.end()
    except ZramError as error:
        caller.report_failure(str(error))
    except BaseException as error:  # noqa: BLE001 - this is the end of the process: nobody else can say it
        _log.critical("the daemon failed", exc_info=True)
        caller.report_failure(f"the daemon failed: {error!r}; see {log.place}")
    sys.stderr.flush()
    os._exit(exit_code)


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


def occupy_standard_fds() -> None:
    """Open /dev/null wherever the caller has closed one of 0, 1 and 2: what is opened next must not land there."""
    while (fd := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(fd)


def _await_ready(read_fd: int, log_place: str) -> NoReturn:
    with os.fdopen(read_fd, "rb") as pipe:
        said = pipe.read()
    if said.startswith(_READY):
        sys.exit(0)
    raise MountFailed(said.decode(errors="replace").strip() or f"the daemon ended at once; see {log_place}")


def _detach(log: DaemonLog, kept_fds: Sequence[int]) -> None:
    """Leave the caller's session, folder and files: whoever reads its pipes must see their end."""
    os.setsid()
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
