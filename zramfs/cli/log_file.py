"""The daemon's log in a file: one that was asked for, or the default one in a folder where nobody else may write."""

import logging
import os
import stat
from contextlib import suppress
from hashlib import blake2s
from pathlib import Path
from typing import Final

from zramfs.cli.daemon_log import DaemonLog, write_at_once
from zramfs.outputs import open_output

_ROOTS_FOLDER: Final = Path("/var/log/zramfs")
_LONGEST_NAME: Final = 200
"""Bytes of a mount point that a log is named after; file systems take 255."""


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
        written_bytes = write_at_once(self.fd, self.format(record))
        if record.levelno == logging.INFO:
            self._routine_bytes += written_bytes

    def open_anew(self) -> bool:
        """Open the file again by its name, and create it if it is gone. If that fails, the old file stays in use."""
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
