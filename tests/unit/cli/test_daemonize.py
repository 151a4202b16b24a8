import os
import signal

import pytest

from zramfs.cli import daemonize
from zramfs.cli.terminal_log import TerminalLog


def test_mount_that_nobody_waits_for_any_more_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[tuple[int, int]] = []
    monkeypatch.setattr(os, "kill", lambda pid, number: sent.append((pid, number)))
    read_fd, write_fd = os.pipe()
    os.close(read_fd)
    daemonize._Caller(write_fd, TerminalLog()).report_ready()
    assert sent == [(os.getpid(), signal.SIGTERM)]


def test_caller_is_told_once() -> None:
    read_fd, write_fd = os.pipe()
    caller = daemonize._Caller(write_fd, TerminalLog())
    caller.report_ready()
    caller.report_failure("later")  # for the log: the number may be another file's now
    assert os.read(read_fd, 100) == b"ready\n"
    assert os.read(read_fd, 100) == b""
    os.close(read_fd)
