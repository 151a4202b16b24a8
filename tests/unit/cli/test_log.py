import logging
import os
import pty
import signal
import socket
import sys
import threading
from pathlib import Path

import pytest

from zramfs.cli import log_file, system_log
from zramfs.cli.daemon_log import DaemonLog
from zramfs.cli.log import open_log
from zramfs.cli.log_file import LogFile, default_log_file
from zramfs.cli.system_log import SystemLog
from zramfs.cli.terminal_log import TerminalLog
from zramfs.errors import MountFailed


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where default logs go, whoever runs this."""
    monkeypatch.setattr(log_file, "_ROOTS_FOLDER", tmp_path / "state" / "zramfs")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setattr(system_log, "SYSTEM_LOG", tmp_path / "no system log")
    return tmp_path


def own_log(home: Path) -> LogFile:
    return LogFile(home / "state/zramfs/x.log", is_disposable=True)


def write(to: DaemonLog, level: int, text: str) -> None:
    to.handle(logging.LogRecord("zramfs", level, __file__, 1, text, None, None))


@pytest.mark.parametrize(
    ("one", "other"), [("/a/b", "/a-b"), ("/a-/b", "/a/-b"), ("/a%2Db", "/a-b"), ("/" + "d/" * 300, "/" + "d/" * 301)]
)
def test_mount_points_never_share_a_log(one: str, other: str) -> None:
    first, second = default_log_file(Path(one)), default_log_file(Path(other))
    assert first != second
    assert len(os.fsencode(first.name)) < 255


def test_folder_and_file_are_their_owners_alone(home: Path) -> None:
    own_log(home)
    assert (home / "state/zramfs").stat().st_mode & 0o777 == 0o700
    assert (home / "state/zramfs/x.log").stat().st_mode & 0o777 == 0o600


def test_link_in_the_place_of_a_log_is_not_followed(home: Path) -> None:
    (home / "state/zramfs").mkdir(parents=True)
    (home / "victim").write_text("precious")
    (home / "state/zramfs/x.log").symlink_to(home / "victim")
    with pytest.raises(OSError, match="symbolic"):
        own_log(home)


def test_folder_that_others_may_write_to_is_not_trusted(home: Path) -> None:
    (home / "state/zramfs").mkdir(parents=True)
    (home / "state/zramfs").chmod(0o777)
    with pytest.raises(PermissionError):
        own_log(home)


def test_log_of_routine_goes_at_the_end(home: Path) -> None:
    file = own_log(home)
    write(file, logging.INFO, "mounts")
    assert "mounts" in (home / "state/zramfs/x.log").read_text()
    file.end()
    assert not (home / "state/zramfs/x.log").exists()


def test_log_with_a_warning_stays(home: Path) -> None:
    file = own_log(home)
    write(file, logging.WARNING, "odd")
    file.end()
    assert "odd" in (home / "state/zramfs/x.log").read_text()


def test_log_with_what_somebody_else_wrote_stays(home: Path) -> None:
    (home / "state/zramfs").mkdir(parents=True)
    (home / "state/zramfs/x.log").write_text("of a daemon that was killed\n")
    file = own_log(home)
    write(file, logging.INFO, "mounts")
    file.end()
    assert (home / "state/zramfs/x.log").exists()


def test_log_that_was_chosen_stays(home: Path) -> None:
    file = open_log(str(home / "chosen"), Path("/m"), is_foreground=False)
    write(file, logging.INFO, "mounts")
    file.end()
    assert (home / "chosen").exists()


def test_log_goes_on_in_a_new_file_after_the_old_one_was_renamed(home: Path) -> None:
    file = open_log(str(home / "chosen"), Path("/m"), is_foreground=False)
    write(file, logging.INFO, "before")
    (home / "chosen").rename(home / "chosen.1")
    assert file.open_anew()
    write(file, logging.INFO, "after")
    assert "before" in (home / "chosen.1").read_text()
    assert "after" not in (home / "chosen.1").read_text()
    assert "after" in (home / "chosen").read_text()


def test_log_goes_on_in_the_old_file_if_there_can_be_no_new_one(home: Path) -> None:
    (home / "logs").mkdir()
    file = open_log(str(home / "logs/chosen"), Path("/m"), is_foreground=False)
    (home / "logs").rename(home / "moved")
    with pytest.raises(FileNotFoundError):
        file.open_anew()
    write(file, logging.INFO, "after")
    assert "after" in (home / "moved/chosen").read_text()


def test_chosen_log_that_cannot_be_is_refused(home: Path) -> None:
    with pytest.raises(MountFailed, match="cannot log to"):
        open_log(str(home / "missing/log"), Path("/m"), is_foreground=False)


def test_fifo_that_nobody_reads_is_refused(home: Path) -> None:
    os.mkfifo(home / "fifo")
    with pytest.raises(MountFailed, match="cannot log to"):
        open_log(str(home / "fifo"), Path("/m"), is_foreground=False)


def test_default_place_that_cannot_be_gives_way_to_the_system_log(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (home / "state").touch()
    assert isinstance(open_log(None, Path("/m"), is_foreground=False), SystemLog)
    assert capsys.readouterr().err == (
        f"zramfs: warning: cannot log to {home}/state/zramfs/m.log: File exists; nor is there a system's log "
        "(--log-file chooses a place)\n"
    )


def test_user_without_a_home_logs_to_the_system_log(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def no_home() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(os, "geteuid", lambda: 12345)
    monkeypatch.setenv("XDG_STATE_HOME", "relative/is/not/allowed")
    monkeypatch.setattr(Path, "home", no_home)
    assert isinstance(open_log(None, Path("/m"), is_foreground=False), SystemLog)
    assert "cannot log: Could not determine home directory.;" in capsys.readouterr().err


def test_system_log_gets_lines_with_their_severity_and_mount_point(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as server:
        server.bind(str(home / "log"))
        server.settimeout(5)
        monkeypatch.setattr(system_log, "SYSTEM_LOG", home / "log")
        system = open_log("syslog", Path("/mnt/a b"), is_foreground=False)
        write(system, logging.INFO, "mounts")
        assert server.recv(1000) == f"<30>zramfs[{os.getpid()}]: /mnt/a b: zramfs: mounts".encode()


@pytest.mark.parametrize("name", ["syslog", "journal"])
def test_system_log_that_nobody_receives_any_more_is_refused(
    name: str, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(system_log, "SYSTEM_LOG", home / "log")
    monkeypatch.setattr(system_log, "_JOURNAL", home / "log")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as server:
        server.bind(str(home / "log"))
        open_log(name, Path("/m"), is_foreground=False)
    with pytest.raises(MountFailed, match=r"is not there to log to: .*/log: Connection refused"):
        open_log(name, Path("/m"), is_foreground=False)


def test_system_log_that_is_not_there_or_full_is_no_hindrance(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(SystemLog(Path("/m")), logging.INFO, "to nobody")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as server:
        server.bind(str(home / "log"))
        monkeypatch.setattr(system_log, "SYSTEM_LOG", home / "log")
        for _ in range(1000):
            write(SystemLog(Path("/m")), logging.INFO, "to one who does not listen")


def test_terminal_with_less_room_than_a_line_takes_does_not_hold_up_the_daemon() -> None:
    """It says that it has room as long as there is some; whoever writes to it then waits for the rest."""
    ours, terminal = pty.openpty()
    saved = os.dup(2)
    os.dup2(terminal, 2)
    waiter = signal.signal(signal.SIGALRM, _fail)
    signal.setitimer(signal.ITIMER_REAL, 10)
    terminal_log = TerminalLog()
    try:
        for length in range(1, 300):
            write(terminal_log, logging.INFO, "x" * length)
        assert os.get_blocking(2)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, waiter)
        terminal_log.close()
        os.dup2(saved, 2)
        for fd in (saved, ours, terminal):
            os.close(fd)


def _fail(*_: object) -> None:
    pytest.fail("a line waits")


def test_lines_do_not_wait_for_the_close_of_the_old_file(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = open_log(str(home / "chosen"), Path("/m"), is_foreground=False)
    old_fd = file.fd
    begun, answered = threading.Event(), threading.Event()
    close = os.close

    def close_slowly(fd: int) -> None:
        if fd == old_fd:
            begun.set()
            answered.wait()
        close(fd)

    monkeypatch.setattr(os, "close", close_slowly)
    (home / "chosen").rename(home / "chosen.1")
    opener = threading.Thread(target=file.open_anew)
    opener.start()
    try:
        assert begun.wait(10)
        assert file.lock is not None
        is_free = file.lock.acquire(timeout=5)
        assert is_free
        file.lock.release()
        write(file, logging.INFO, "meanwhile")
    finally:
        answered.set()
        opener.join()
    assert "meanwhile" in (home / "chosen").read_text()


def test_stopped_terminal_does_not_hold_up_the_daemon(monkeypatch: pytest.MonkeyPatch) -> None:
    read_fd, write_fd = os.pipe()
    monkeypatch.setattr(sys, "stderr", None)
    saved = os.dup(2)
    os.dup2(write_fd, 2)
    try:
        terminal_log = TerminalLog()
        for _ in range(3000):
            write(terminal_log, logging.INFO, "x" * 100)
        os.close(read_fd)
        write(terminal_log, logging.INFO, "to nobody")
        terminal_log.close()
    finally:
        os.dup2(saved, 2)
        os.close(saved)
        os.close(write_fd)
