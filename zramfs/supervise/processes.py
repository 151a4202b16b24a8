"""The processes of a command that a verb runs: its own, and whatever it leaves behind."""

import os
import signal
import sys
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final, NoReturn

from zramfs import kernel
from zramfs.supervise.errand import leave_standard_streams

_STANDARD: Final = (0, 1, 2)
_PATIENCE_S: Final = 3.0
_LONGEST_S: Final = 600.0
_FIRST_PAUSE_S: Final = 0.001
_LONGEST_PAUSE_S: Final = 0.1
_NOT_FOUND: Final = 127
_NOT_EXECUTABLE: Final = 126


def start(
    command: Sequence[str], environment: Mapping[str, str], signal_mask: set[signal.Signals], report_fd: int
) -> int:
    """Start a command as a child that has our terminal and ends when we do; its process id.

    It is reported before the command begins: whoever the command talks to may send it a signal at once.
    """
    parent = os.getpid()
    pid = os.fork()
    if pid == 0:
        os.write(report_fd, str(os.getpid()).encode())
        _become(command, environment, signal_mask, parent)
    return pid


def _become(
    command: Sequence[str], environment: Mapping[str, str], signal_mask: set[signal.Signals], parent: int
) -> NoReturn:
    """Exec, with the exit codes of a shell if that fails."""
    kernel.end_with_parent(signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # Python ignores both
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, signal_mask)
    try:
        os.execvpe(command[0], list(command), environment)  # noqa: S606 - that is the point
    except OSError as error:
        print(f"zramfs: {command[0]}: {error.strerror}", file=sys.stderr, flush=True)
        os._exit(_NOT_FOUND if isinstance(error, FileNotFoundError) else _NOT_EXECUTABLE)
    except ValueError:
        print("zramfs: the name of the command is empty", file=sys.stderr, flush=True)
        os._exit(_NOT_FOUND)


def start_server(serve: Callable[[], None], fds: Collection[int]) -> int:
    """Start a child that serves until we end, and keeps only these descriptors of ours; its pidfd."""
    parent = os.getpid()
    pid = os.fork()
    if pid == 0:
        try:
            kernel.end_with_parent(signal.SIGKILL)
            if os.getppid() == parent:
                leave_standard_streams()
                _close_all_but({*_STANDARD, *fds})
                serve()
        finally:
            os._exit(1)
    return os.pidfd_open(pid)


def _close_all_but(fds: Collection[int]) -> None:
    for entry in list(Path("/proc/self/fd").iterdir()):
        if int(entry.name) not in fds:
            with suppress(OSError):  # the listing's own
                os.close(int(entry.name))


def exit_code(wait_status: int) -> int:
    """Translate what waitpid tells into an exit code, as shells do: 128 and the number of the signal."""
    code = os.waitstatus_to_exitcode(wait_status)
    return code if code >= 0 else 128 - code


def end_descendants(is_in_vain: Callable[[], bool], *, spared: Collection[int] = ()) -> bool:
    """Kill all children but those `spared`, and theirs: they become ours when their parents end (`adopt_orphans`).

    Some may be beyond a signal: False if `is_in_vain` says, when asked now and then, that waiting for them is, or
    after ten minutes.
    """
    ends_at = time.monotonic() + _LONGEST_S
    asks_at = time.monotonic() + _PATIENCE_S
    pause_s = _FIRST_PAUSE_S
    while children := [pid for pid in _children() if pid not in spared]:
        if _end_some(children):
            continue
        time.sleep(pause_s)
        pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)
        if time.monotonic() > asks_at:
            if time.monotonic() > ends_at or is_in_vain():
                return False
            asks_at = time.monotonic() + _PATIENCE_S
    return True


def end_marked(mark: str) -> None:
    """Kill all processes whose environment began with `mark` (`NAME=value`), for whoever is none of their ancestors.

    A process hands it on to those that it starts, unless it gives them another environment. Those of other users are
    left alone where /proc does not tell us theirs. Some may be beyond a signal: they are waited for no longer than 3 s.
    """
    ends_at = time.monotonic() + _PATIENCE_S
    while _kill_marked(os.fsencode(mark)) and time.monotonic() < ends_at:
        time.sleep(_FIRST_PAUSE_S)


def _kill_marked(mark: bytes) -> bool:
    """Kill those that there are; whether there were any, which may have started others meanwhile."""
    is_found = False
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(OSError):  # it has ended, or is not ours to see
                is_found |= _kill_if_marked(int(entry.name), mark)
    return is_found


def _kill_if_marked(pid: int, mark: bytes) -> bool:
    process_fd = os.pidfd_open(pid)  # before its environment is read: the number may be another's by then
    try:
        is_marked = mark in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
        if is_marked:
            signal.pidfd_send_signal(process_fd, signal.SIGKILL)
    finally:
        os.close(process_fd)
    return is_marked


def _end_some(children: Collection[int]) -> bool:
    """Kill children, and reap those that have ended; whether there are any of these."""
    for pid in children:
        with suppress(ProcessLookupError, PermissionError):  # the latter of a program that has become another user's
            os.kill(pid, signal.SIGKILL)
    ended = [pid for pid in children if os.waitpid(pid, os.WNOHANG)[0]]
    return bool(ended)


def _children() -> Iterator[int]:
    us = str(os.getpid())
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(OSError):
                _, _, after_name = (entry / "stat").read_text().rpartition(")")
                if after_name.split()[1] == us:
                    yield int(entry.name)
