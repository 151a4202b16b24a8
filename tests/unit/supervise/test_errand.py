"""Children that do what may hang."""

import errno
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from zramfs.errors import CommandFailed, DeviceBusy
from zramfs.supervise import errand, processes
from zramfs.supervise.errand import NoAnswer


def hang() -> None:
    time.sleep(60)


def refuse() -> None:
    raise DeviceBusy("zram0 is in use")


def test_result_is_the_works() -> None:
    assert errand.do(lambda: [1, 2]) == [1, 2]


def test_error_is_the_works() -> None:
    with pytest.raises(FileNotFoundError, match="/nowhere"):
        errand.do(lambda: Path("/nowhere").stat().st_size)
    with pytest.raises(CommandFailed, match="zram0 is in use"):
        errand.do(refuse)


def test_work_that_hangs_is_given_up() -> None:
    with pytest.raises(NoAnswer):
        errand.do(hang, within_s=0.1)


def test_work_is_given_up_for_whoever_is_attended_to() -> None:
    readable, writable = os.pipe()
    os.write(writable, b"!")
    try:
        with pytest.raises(NoAnswer):
            errand.do(hang, within_s=60, attended={readable})
    finally:
        os.close(readable)
        os.close(writable)


def test_work_is_waited_for_while_the_daemon_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(errand, "_PATIENCE_S", 0.1)
    monkeypatch.setattr(errand, "hangs", lambda _fd: False)
    assert errand.finish(lambda: time.sleep(0.4), -1)


def test_work_is_left_to_a_child_that_goes_on_when_the_daemon_hangs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(errand, "_PATIENCE_S", 0.1)
    monkeypatch.setattr(errand, "hangs", lambda _fd: True)
    go_on = tmp_path / "go on"
    done = tmp_path / "done"

    def work() -> None:
        while not go_on.exists():
            time.sleep(0.01)
        done.touch()

    assert not errand.finish(work, -1)
    go_on.touch()
    deadline = time.monotonic() + 30
    while not done.exists():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_file_system_without_a_hung_daemon_answers(tmp_path: Path) -> None:
    fd = os.open(tmp_path, os.O_PATH)
    try:
        assert not errand.hangs(fd)
        assert not errand.hangs(-1)  # as of a dead daemon: an error is an answer
    finally:
        os.close(fd)


def test_child_that_no_signal_ends_is_left_when_waiting_is_in_vain(monkeypatch: pytest.MonkeyPatch) -> None:
    def end_what_cannot_end() -> bool:  # in a process of its own: all of its children are meant
        if os.fork() == 0:
            time.sleep(0.5)
            os._exit(0)
        return processes.end_descendants(lambda: True)

    monkeypatch.setattr(processes, "_PATIENCE_S", 0.05)
    monkeypatch.setattr(os, "kill", lambda _pid, _number: None)
    assert errand.do(end_what_cannot_end, within_s=30) is False


def test_all_children_are_ended() -> None:
    def end_one() -> bool:
        if os.fork() == 0:
            hang()
        return processes.end_descendants(lambda: True)

    assert errand.do(end_one, within_s=30) is True


def test_processes_are_ended_by_what_is_in_their_environment() -> None:
    marked, other = (
        subprocess.Popen(["sleep", "600"], env={"ZRAMFS_DIR": value, "PATH": os.environ["PATH"]})
        for value in ("/places/zramfs-1", "/places/zramfs-12")
    )
    try:
        processes.end_marked("ZRAMFS_DIR=/places/zramfs-1")
        assert marked.wait(30) == -signal.SIGKILL
        assert other.poll() is None
    finally:
        for process in (marked, other):
            process.kill()
            process.wait()


def test_error_numbers_survive() -> None:
    def work() -> None:
        raise OSError(errno.ENOTCONN, os.strerror(errno.ENOTCONN), "/m")

    with pytest.raises(OSError, match="/m") as caught:
        errand.do(work)
    assert (caught.value.errno, caught.value.filename) == (errno.ENOTCONN, "/m")
