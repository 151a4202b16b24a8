"""Leaves a daemon behind: the caller returns when it is ready, or with its one line of error."""

import os
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NoReturn

from zramfs.errors import MountFailed, ZramError

_READY: Final = b"ready\n"


@contextmanager
def leave_daemon(log_path: Path) -> Iterator[Callable[[], None]]:
    """Run the body of the `with` in a daemon that logs to `log_path`; its value is called to say that it is ready.

    Only the daemon enters the body, and ends with it. The caller never comes back from the `with`: it exits with 0
    when the daemon is ready, or MountFailed tells why it is not.
    """
    _occupy_standard_fds()
    log_fd = _open_log(log_path)
    read_fd, write_fd = os.pipe()
    if os.fork():
        os.close(write_fd)
        os.close(log_fd)
        _await_ready(read_fd, log_path)
    _detach(log_fd, write_fd)

    def report_ready() -> None:
        os.write(write_fd, _READY)
        os.close(write_fd)

    exit_code = 1
    try:
        yield report_ready
        exit_code = 0
    except ZramError as error:
        _report_failure(write_fd, str(error))
    except BaseException as error:  # noqa: BLE001 - this is the end of the process: nobody else can say it
        traceback.print_exc()
        _report_failure(write_fd, f"the daemon failed: {error!r}; see {log_path}")
    sys.stderr.flush()
    os._exit(exit_code)


def _occupy_standard_fds() -> None:
    """Open /dev/null wherever the caller has closed one of 0, 1 and 2: what is opened next must not land there."""
    while (fd := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(fd)


def _open_log(log_path: Path) -> int:
    try:
        return os.open(log_path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o640)
    except OSError as error:
        raise MountFailed(f"cannot log to {log_path}: {error.strerror}") from error


def _await_ready(read_fd: int, log_path: Path) -> NoReturn:
    with os.fdopen(read_fd, "rb") as pipe:
        said = pipe.read()
    if said.startswith(_READY):
        sys.exit(0)
    raise MountFailed(said.decode(errors="replace").strip() or f"the daemon ended at once; see {log_path}")


def _detach(log_fd: int, write_fd: int) -> None:
    """Leave the caller's session, folder and files: whoever reads its pipes must see their end."""
    os.setsid()
    os.chdir("/")
    null_fd = os.open(os.devnull, os.O_RDWR)
    os.dup2(null_fd, 0)
    os.dup2(log_fd, 1)
    os.dup2(log_fd, 2)
    sys.stdout = sys.stderr = os.fdopen(2, "w", buffering=1, closefd=False)  # the caller's may have been closed
    for name in os.listdir("/proc/self/fd"):  # noqa: PTH208 - the numbers, not paths
        fd = int(name)
        if fd > 2 and fd != write_fd:
            try:
                os.close(fd)
            except OSError:
                continue  # the listing's own


def _report_failure(write_fd: int, line: str) -> None:
    try:
        os.write(write_fd, line.encode())
    except OSError:
        print(line, file=sys.stderr)  # it was ready already: the log is told
