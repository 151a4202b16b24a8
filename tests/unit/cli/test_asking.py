import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from zramfs import patience
from zramfs.cli.asking import ask, ask_living
from zramfs.errors import MountDoesNotAnswer, MountFailed, MountIsDead
from zramfs.mountpoint import Mount

MOUNT = Mount(Path("/m"), "fuse.zramfs", "0:1", 1, os.geteuid(), os.getegid())


def fail(error: Exception) -> Callable[[], Any]:
    def question() -> Any:
        raise error

    return question


def test_answer_comes_back() -> None:
    assert ask(MOUNT, lambda: {"pid": 1, "names": ["zram0"]}) == {"pid": 1, "names": ["zram0"]}
    assert ask(MOUNT, lambda: None) is None


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (MountFailed("busy with that"), "busy with that"),
        (PermissionError(13, "Permission denied"), "not shown to others"),
        (OSError(5, "Input/output error", "/m/sys"), "/m/sys: Input/output error"),
        (ValueError("'x' is no number"), "does not answer as a zramfs does"),
        (KeyError("pid"), "does not answer as a zramfs does"),
    ],
)
def test_failure_is_one_line(error: Exception, says: str) -> None:
    with pytest.raises(MountFailed, match=says):
        ask(MOUNT, fail(error))


def test_dead_mount_is_known_as_such() -> None:
    with pytest.raises(MountIsDead, match="dead"):
        ask(MOUNT, fail(MountIsDead("dead")))


def test_dead_daemon_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    def ended(_: Path) -> None:
        raise OSError(107, "Transport endpoint is not connected")

    monkeypatch.setattr(os, "statvfs", ended)
    with pytest.raises(MountIsDead, match="zramfs umount /m"):
        ask_living(MOUNT, lambda: "asked")


def test_mount_that_never_answers_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "ANSWER_S", 0.2)
    with pytest.raises(MountFailed, match=r"does not answer.*umount --lazy"):
        ask(MOUNT, lambda: time.sleep(60))


def test_failure_keeps_its_errno_and_its_kind(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(MountFailed) as failed:
        ask(MOUNT, fail(OSError(16, "Device or resource busy")))
    assert failed.value.errno == 16
    monkeypatch.setattr(patience, "ANSWER_S", 0.1)
    with pytest.raises(MountDoesNotAnswer):
        ask(MOUNT, lambda: time.sleep(60))


def test_nobody_waits_for_a_child_that_is_left_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that SIGKILL does not end has its files open: a pipe of ours would never end."""
    monkeypatch.setattr(patience, "ANSWER_S", 5)
    read_fd, write_fd = os.pipe()
    try:
        with pytest.raises(MountFailed, match="Bad file descriptor"):
            ask(MOUNT, lambda: os.fstat(write_fd).st_mode)
        null = Path(os.devnull).stat()
        assert ask(MOUNT, lambda: [os.path.samestat(os.fstat(fd), null) for fd in range(3)]) == [True] * 3
    finally:
        os.close(read_fd)
        os.close(write_fd)


def test_answer_without_end_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "_LONGEST_ANSWER", 1000)
    with pytest.raises(MountFailed, match="does not answer"):
        ask(MOUNT, lambda: "x" * 100_000)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else")
def test_root_asks_as_the_owner() -> None:
    theirs = Mount(Path("/m"), "fuse.zramfs", "0:1", 1, 65534, 65534)

    def who() -> list[Any]:
        return [os.getresuid(), os.getresgid(), os.getgroups()]

    assert ask(theirs, who) == [[65534] * 3, [65534] * 3, []]
    assert ask(theirs, who, as_owner=False)[0] == [0, 0, 0]
