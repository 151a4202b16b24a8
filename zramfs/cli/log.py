"""Where the daemon logs: to a file of its own, to its terminal, or to the system's log where no file is to be had.

A line that cannot be written at once is dropped: whoever uses the mount would wait for it.
"""

import logging
import os
import select
import socket
import stat
import sys
from contextlib import suppress
from hashlib import blake2s
from pathlib import Path
from typing import Final

from zramfs.errors import MountFailed
from zramfs.outputs import open_output

_FORMAT: Final = "%(asctime)s %(levelname)s %(name)s: %(message)s"

_SYSTEM_LOG: Final = Path("/dev/log")
_JOURNAL: Final = Path("/run/systemd/journal/socket")
_FACILITY_DAEMON: Final = 3 << 3
_SEVERITIES: Final = ((logging.CRITICAL, 2), (logging.ERROR, 3), (logging.WARNING, 4), (logging.INFO, 6))
_DEBUG: Final = 7

_ROOTS_FOLDER: Final = Path("/var/log/zramfs")
_LONGEST_NAME: Final = 200
"""Bytes of a mount point that a log is named after; file systems take 255."""


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


class _StandardError:
    """Standard error without waiting: a terminal that says it has room may have less than a line takes.

    It is opened anew for that, as others who write there rely on waiting. `fd` is None where it cannot be.
    """

    def __init__(self) -> None:
        self.fd: int | None = None
        with suppress(OSError):
            if os.isatty(2) or stat.S_ISFIFO(os.fstat(2).st_mode):
                self.fd = os.open("/proc/self/fd/2", os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)

    def write(self, line: str) -> None:
        """Write as much of a line as there is room for."""
        _write_at_once(2 if self.fd is None else self.fd, line)

    def close(self) -> None:
        """Close it; what is standard error from now on takes the lines."""
        if self.fd is not None:
            fd, self.fd = self.fd, None
            os.close(fd)


class TerminalLog(DaemonLog):
    """Standard error, which may be a terminal that is gone."""

    place = "standard error"

    def __init__(self) -> None:
        super().__init__()
        self._error = _StandardError()
        self.fd = self._error.fd

    def emit(self, record: logging.LogRecord) -> None:
        """Write a line."""
        self._error.write(self.format(record))

    def close(self) -> None:
        """Close what is ours; standard error stays."""
        super().close()
        self._error.close()


class QuietLog(TerminalLog):
    """Standard error, for warnings and errors only, as lines of the verb that has started the daemon."""

    def start(self) -> None:
        """Let warnings and errors that the process logs come here."""
        logging.basicConfig(level=logging.WARNING, format="zramfs: %(levelname)s: %(message)s", handlers=[self])

    def take_standard_streams(self) -> None:
        """Keep the starter's standard error only."""
        os.dup2(2, 1)


class LogFile(DaemonLog):
    """A file that stays, or one of ours (`is_disposable`), which goes at the end if it has nothing worth keeping."""

    def __init__(self, path: Path, *, is_disposable: bool) -> None:
        super().__init__()
        self.place = str(path)
        self._path = path
        self._is_disposable = is_disposable
        self.fd: int = self._open()
        self._streams: tuple[int, ...] = ()
        self._note_beginning()

    def emit(self, record: logging.LogRecord) -> None:
        """Write a line, and note whether it makes the file worth keeping."""
        written_bytes = _write_at_once(self.fd, self.format(record))
        if record.levelno == logging.INFO:
            self._routine_bytes += written_bytes

    def open_anew(self) -> bool:
        """Go on in the file that has the name now; a new one, if none has. The old one stays if that cannot be."""
        old, old_fd = os.fstat(self.fd), self.fd
        fd = self._open()
        self.acquire()
        try:
            self.fd = fd
            if not os.path.samestat(os.fstat(fd), old):
                self._note_beginning()
        finally:
            self.release()
        self._fill_streams()  # this and the next may wait for a server: not while the event loop waits for the lock
        os.close(old_fd)
        return True

    def take_standard_streams(self) -> None:
        """Be the process's standard output and error."""
        self._streams = (1, 2)
        self._fill_streams()

    def end(self) -> None:
        """Remove the file if it is ours, this daemon began it, and nothing but routine is in it."""
        if not self._is_disposable:
            return
        with suppress(OSError):
            ours = os.fstat(self.fd)
            is_routine = self._was_empty and ours.st_size == self._routine_bytes
            if is_routine and os.path.samestat(ours, self._path.lstat()):
                self._path.unlink()

    def _open(self) -> int:
        return _open_own(self._path) if self._is_disposable else _open_append(self._path)

    def _fill_streams(self) -> None:
        for stream in self._streams:
            os.dup2(self.fd, stream)

    def _note_beginning(self) -> None:
        self._was_empty = os.fstat(self.fd).st_size == 0
        self._routine_bytes = 0


class SystemLog(DaemonLog):
    """The system's log; warnings also go to the daemon's starter while that one listens, unless `is_asked_for`."""

    place = "the system's log"

    def __init__(self, *, is_asked_for: bool = False) -> None:
        super().__init__()
        self._is_asked_for = is_asked_for
        self._error = _StandardError()
        self.fd = self._error.fd

    def emit(self, record: logging.LogRecord) -> None:
        """Send a line."""
        text = self.format(record)
        if record.levelno >= logging.WARNING and not self._is_asked_for:
            self._error.write(text)
        self._send(record, text)

    def _send(self, record: logging.LogRecord, text: str) -> None:
        priority = _FACILITY_DAEMON | _severity(record.levelno)
        _send_at_once(_SYSTEM_LOG, f"<{priority}>zramfs[{os.getpid()}]: {text}".encode(errors="backslashreplace"))

    def take_standard_streams(self) -> None:
        """Keep the starter's standard error only."""
        os.dup2(2, 1)

    def let_go_of_caller(self) -> None:
        """Leave the starter's standard error."""
        self._error.close()
        null_fd = os.open(os.devnull, os.O_RDWR)
        for stream in (1, 2):
            os.dup2(null_fd, stream)
        os.close(null_fd)


class JournalLog(SystemLog):
    """systemd's journal, by its own protocol: each line has its mount point (ZRAMFS_MOUNTPOINT) and its priority."""

    place = "the journal"

    def __init__(self, mountpoint: Path) -> None:
        super().__init__(is_asked_for=True)
        self._mountpoint = mountpoint

    def _send(self, record: logging.LogRecord, text: str) -> None:
        del text  # the journal knows the time itself
        fields = {
            "MESSAGE": logging.Formatter("%(name)s: %(message)s").format(record),
            "PRIORITY": str(_severity(record.levelno)),
            "SYSLOG_IDENTIFIER": "zramfs",
            "ZRAMFS_MOUNTPOINT": str(self._mountpoint),
        }
        _send_at_once(_JOURNAL, b"".join(_journal_field(name, value) for name, value in fields.items()))


def _journal_field(name: str, value: str) -> bytes:
    """Write a field as the journal reads it, whatever bytes are in its value: name, length (64 bits), value."""
    encoded = value.encode(errors="surrogateescape")
    return name.encode() + b"\n" + len(encoded).to_bytes(8, "little") + encoded + b"\n"


def _send_at_once(place: Path, datagram: bytes) -> None:
    kind = socket.SOCK_DGRAM | socket.SOCK_NONBLOCK
    with suppress(OSError), socket.socket(socket.AF_UNIX, kind) as log:
        log.sendto(datagram, str(place))


def open_log(log_to: str | None, mountpoint: Path, *, is_foreground: bool) -> DaemonLog:
    """Open what was asked for (`syslog`, `journal`, or a file), or MountFailed; else the terminal's, or the default."""
    if log_to is not None:
        return _open_chosen(log_to, mountpoint)
    return TerminalLog() if is_foreground else _open_default(mountpoint)


def _open_chosen(log_to: str, mountpoint: Path) -> DaemonLog:
    if log_to == "syslog":
        _require_socket(_SYSTEM_LOG, "the system's log")
        return SystemLog(is_asked_for=True)
    if log_to == "journal":
        _require_socket(_JOURNAL, "systemd's journal")
        return JournalLog(mountpoint)
    try:
        return LogFile(Path(log_to).absolute(), is_disposable=False)
    except OSError as error:
        raise MountFailed(f"cannot log to {log_to}: {error.strerror}") from error


def _require_socket(path: Path, name: str) -> None:
    try:
        is_there = stat.S_ISSOCK(path.stat().st_mode)
    except OSError:
        is_there = False
    if not is_there:
        raise MountFailed(f"{name} is not there to log to: {path} is no socket")


def _open_default(mountpoint: Path) -> DaemonLog:
    """Open the default file; if that cannot be, say so, and take the system's log."""
    path = None
    try:
        path = default_log_file(mountpoint)
        return LogFile(path, is_disposable=True)
    except (OSError, RuntimeError) as error:  # RuntimeError: nobody knows the user's home
        reason = error.strerror if isinstance(error, OSError) else error
    log_to = "the daemon logs to the system's log" if _SYSTEM_LOG.exists() else "nor is there a system's log"
    where = f" to {path}" if path else ""
    print(f"zramfs: warning: cannot log{where}: {reason}; {log_to} (--log-file chooses a place)", file=sys.stderr)
    return SystemLog()


def default_log_file(mountpoint: Path) -> Path:
    """/var/log/zramfs for root, the state folder of the XDG convention for others; another file for each mount point.

    RuntimeError if the user has no home.
    """
    if os.geteuid() == 0:
        return _ROOTS_FOLDER / _name_after(mountpoint)
    chosen = os.environ.get("XDG_STATE_HOME", "")
    folder = Path(chosen) if chosen.startswith("/") else Path.home() / ".local/state"
    return folder / "zramfs" / _name_after(mountpoint)


def _name_after(mountpoint: Path) -> str:
    """`/tmp/a-b` is tmp-a%2Db.log, `/tmp/a/b` tmp-a-b.log; a long one ends with a digest."""
    name = str(mountpoint).strip("/").replace("%", "%25").replace("-", "%2D").replace("/", "-")
    encoded = os.fsencode(name)
    if len(encoded) > _LONGEST_NAME:
        name = os.fsdecode(encoded[: _LONGEST_NAME // 2]) + "~" + blake2s(encoded, digest_size=16).hexdigest()
    return f"{name}.log"


def _open_append(path: Path, flags: int = 0) -> int:
    """Open a log file. Without waiting: it may be a FIFO that nobody reads."""
    return open_output(path, flags | os.O_APPEND | os.O_NONBLOCK | os.O_NOCTTY, 0o600)


def _open_own(path: Path) -> int:
    """Open a log file in a folder where nobody else may write; PermissionError if others may."""
    path.parent.parent.mkdir(parents=True, exist_ok=True)
    path.parent.mkdir(mode=0o700, exist_ok=True)
    _require_own(path.parent.lstat(), stat.S_IFDIR)
    fd = _open_append(path, os.O_NOFOLLOW)
    try:
        _require_own(os.fstat(fd), stat.S_IFREG)
    except PermissionError:
        os.close(fd)
        raise
    return fd


def _require_own(found: os.stat_result, kind: int) -> None:
    is_private = found.st_uid == os.geteuid() and not found.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    if stat.S_IFMT(found.st_mode) != kind or not is_private:
        raise PermissionError(0, "it is not ours alone to write to")


def _severity(level: int) -> int:
    return next((severity for least, severity in _SEVERITIES if level >= least), _DEBUG)


def _write_at_once(fd: int, line: str) -> int:
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
