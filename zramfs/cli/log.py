"""Where the daemon logs: to a file of its own, to its terminal, or to the system's log where no file is to be had."""

import sys
from pathlib import Path

from zramfs.cli.daemon_log import DaemonLog
from zramfs.cli.log_file import LogFile, default_log_file
from zramfs.cli.system_log import JournalLog, SystemLog, require_journal, require_system_log
from zramfs.cli.terminal_log import TerminalLog
from zramfs.errors import MountFailed


def open_log(log_to: str | None, mountpoint: Path, *, is_foreground: bool) -> DaemonLog:
    """Open the log that was asked for: `syslog`, `journal` or a file; MountFailed if it cannot be opened.

    Without a wish, a daemon in the foreground logs to its terminal, and any other one to its default file.
    """
    if log_to is not None:
        return _open_chosen(log_to, mountpoint)
    return TerminalLog() if is_foreground else _open_default(mountpoint)


def _open_chosen(log_to: str, mountpoint: Path) -> DaemonLog:
    if log_to == "syslog":
        require_system_log()
        return SystemLog(mountpoint, is_asked_for=True)
    if log_to == "journal":
        require_journal()
        return JournalLog(mountpoint)
    try:
        return LogFile(Path(log_to).absolute(), is_disposable=False)
    except OSError as error:
        raise MountFailed(f"cannot log to {log_to}: {error.strerror}") from error


def _open_default(mountpoint: Path) -> DaemonLog:
    """Open the default file; if that cannot be, say so, and take the system's log."""
    path = None
    try:
        path = default_log_file(mountpoint)
        return LogFile(path, is_disposable=True)
    except (OSError, RuntimeError) as error:  # RuntimeError: nobody knows the user's home
        reason = error.strerror if isinstance(error, OSError) else error
    where = f" to {path}" if path else ""
    print(f"zramfs: warning: cannot log{where}: {reason}; {_instead()} (--log-file chooses a place)", file=sys.stderr)
    return SystemLog(mountpoint)


def _instead() -> str:
    try:
        require_system_log()
    except MountFailed:
        return "nor is there a system's log"
    return "the daemon logs to the system's log"
