"""The daemon's lines as datagrams: to the system's log, or to systemd's journal."""

import logging
import os
import socket
from contextlib import suppress
from pathlib import Path
from typing import Final

from zramfs.cli.daemon_log import DaemonLog
from zramfs.cli.terminal_log import StandardError
from zramfs.errors import MountFailed

SYSTEM_LOG: Final = Path("/dev/log")
_JOURNAL: Final = Path("/run/systemd/journal/socket")
_DATAGRAMS: Final = socket.SOCK_DGRAM | socket.SOCK_NONBLOCK
_FACILITY_DAEMON: Final = 3 << 3
_SEVERITIES: Final = ((logging.CRITICAL, 2), (logging.ERROR, 3), (logging.WARNING, 4), (logging.INFO, 6))
_DEBUG: Final = 7
_UNTIMED: Final = logging.Formatter("%(name)s: %(message)s")  # either log has time and severity of its own


class SystemLog(DaemonLog):
    """The system's log; warnings also go to the daemon's starter while that one listens, unless `is_asked_for`."""

    place = "the system's log"

    def __init__(self, mountpoint: Path, *, is_asked_for: bool = False) -> None:
        super().__init__()
        self._mountpoint = mountpoint
        self._is_asked_for = is_asked_for
        self._error = StandardError()
        self.fd = self._error.fd

    def emit(self, record: logging.LogRecord) -> None:
        """Send a line."""
        if record.levelno >= logging.WARNING and not self._is_asked_for:
            self._error.write(self.format(record))
        self._send(record)

    def _send(self, record: logging.LogRecord) -> None:
        priority = _FACILITY_DAEMON | _severity(record.levelno)
        line = f"<{priority}>zramfs[{os.getpid()}]: {self._mountpoint}: {_UNTIMED.format(record)}"
        _send_at_once(SYSTEM_LOG, line.encode(errors="backslashreplace"))

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
        super().__init__(mountpoint, is_asked_for=True)

    def _send(self, record: logging.LogRecord) -> None:
        fields = {
            "MESSAGE": _UNTIMED.format(record),
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
    with suppress(OSError), socket.socket(socket.AF_UNIX, _DATAGRAMS) as log:
        log.sendto(datagram, str(place))


def require_system_log() -> None:
    """Raise MountFailed if nobody receives what is sent to the system's log."""
    _require_receiver(SYSTEM_LOG, "the system's log")


def require_journal() -> None:
    """Raise MountFailed if nobody receives what is sent to the journal."""
    _require_receiver(_JOURNAL, "systemd's journal")


def _require_receiver(place: Path, name: str) -> None:
    try:
        with socket.socket(socket.AF_UNIX, _DATAGRAMS) as log:
            log.connect(str(place))
    except OSError as error:
        raise MountFailed(f"{name} is not there to log to: {place}: {error.strerror}") from error


def _severity(level: int) -> int:
    return next((severity for least, severity in _SEVERITIES if level >= least), _DEBUG)
