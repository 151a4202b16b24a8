"""The daemon's log on standard error, while somebody may look at it."""

import logging
import os
import stat
from contextlib import suppress

from zramfs.cli.daemon_log import DaemonLog, write_at_once


class StandardError:
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
        write_at_once(2 if self.fd is None else self.fd, line)

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
        self._error = StandardError()
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
