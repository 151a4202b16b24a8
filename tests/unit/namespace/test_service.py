"""A keeper whose daemon is hostile: over a socket pair, with loop devices and a view that only note what is done."""

import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zramfs.errors import CommandFailed
from zramfs.namespace import attachments, service
from zramfs.namespace.attachments import Attachments
from zramfs.namespace.protocol import LONGEST_LINE_BYTES, ProtocolBroken
from zramfs.namespace.service import Service

DEVICES = ("zram0", "zram1", "zram10")


class NotedLoops:
    """Loop devices; those in `in_use` cannot be detached."""

    def __init__(self) -> None:
        self.files: dict[int, str] = {}
        self.in_use: set[int] = set()

    def attach(self, file_fd: int, name: str, *, prefer: int | None = None) -> int:
        del name
        number = len(self.files) if prefer is None else prefer
        assert number not in self.files
        self.files[number] = str(Path(f"/proc/self/fd/{file_fd}").readlink())
        return number

    def detach(self, number: int) -> bool:
        return number not in self.in_use and self.files.pop(number, "") != ""


class NotedView:
    """What is shown: it must never be shown twice, nor hidden before."""

    def __init__(self) -> None:
        self.shown: dict[str, int] = {}

    def show(self, name: str, number: int) -> None:
        assert name not in self.shown
        self.shown[name] = number

    def hide(self, name: str, number: int) -> None:
        assert self.shown.pop(name) == number


class Served:
    """A keeper's end, and the daemon's end of the link to it."""

    def __init__(self, folder: Path) -> None:
        self.daemon, link = socket.socketpair()
        self.loops, self.view = NotedLoops(), NotedView()
        self._mount_fd = os.open(folder, os.O_PATH)
        self._link = link
        self.service = Service(link, Attachments(self._mount_fd, folder, self.loops, self.view), folder)

    def ask(self, request: bytes) -> bytes:
        self.daemon.sendall(request + b"\n")
        self.service.answer()
        return self.daemon.recv(4096).removesuffix(b"\n")

    def close(self) -> None:
        self.daemon.close()
        self._link.close()
        os.close(self._mount_fd)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A mount, as far as a keeper looks at it, in which a daemon has laid traps; beside it what it is after."""
    beside = tmp_path_factory.mktemp("beside")
    (beside / "victim").write_text("secret")
    folder = beside / "mnt"
    folder.mkdir()
    for name in (*DEVICES, "other"):
        (folder / name).write_text(name)
    (folder / "zram2").symlink_to("../victim")
    (folder / "zram3").symlink_to(beside / "victim")
    (folder / "zram4").mkdir()
    os.mkfifo(folder / "zram5")
    (folder / "zram6").symlink_to("zram0")
    return folder


@pytest.fixture
def served(folder: Path) -> Iterator[Served]:
    served = Served(folder)
    yield served
    served.close()


def test_what_a_daemon_asks_for_is_done(served: Served, folder: Path) -> None:
    assert served.ask(b"attach zram0") == b"0 7:0"
    assert served.ask(b"attach zram10") == b"0 7:1"
    assert served.loops.files == {0: str(folder / "zram0"), 1: str(folder / "zram10")}
    assert served.view.shown == {"zram0": 0, "zram10": 1}
    assert served.ask(b"detach zram0") == b"0 "
    assert served.ask(b"attach zram0") == b"0 7:0"
    assert served.ask(b"detach zram0") == b"0 "
    assert served.ask(b"forget zram0") == b"0 "
    assert served.view.shown == {"zram10": 1}


@pytest.mark.parametrize("name", ["zram2", "zram3", "zram4", "zram5", "zram6", "zram7"])
def test_only_a_regular_file_of_the_mount_is_attached(served: Served, name: str) -> None:
    number, _, reason = served.ask(f"attach {name}".encode()).partition(b" ")
    assert int(number) != 0
    assert reason
    assert served.loops.files == {}
    assert served.view.shown == {}


@pytest.mark.parametrize(
    "request_", [b"attach ../victim", b"attach other", b"attach sys/x", b"burn zram0", b"\xff", b""]
)
def test_what_is_no_request_has_an_errno_for_an_answer_and_no_effect(served: Served, request_: bytes) -> None:
    assert served.ask(request_).startswith(b"22 ")
    assert served.ask(b"ready") == b"0 "
    assert served.loops.files == {}


def test_requests_that_make_no_sense_change_nothing(served: Served) -> None:
    assert served.ask(b"detach zram0").startswith(b"19 ")
    assert served.ask(b"forget zram0").startswith(b"19 ")
    assert served.ask(b"attach zram0") == b"0 7:0"
    assert served.ask(b"attach zram0").startswith(b"16 ")
    assert served.ask(b"forget zram0").startswith(b"16 ")
    served.loops.in_use.add(0)
    assert served.ask(b"detach zram0").startswith(b"16 ")
    assert served.ask(b"attach zram0").startswith(b"16 ")
    assert len(served.loops.files) == 1
    assert served.view.shown == {"zram0": 0}


def test_a_daemon_cannot_have_all_loop_devices(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attachments, "_MOST_DEVICES", 2)
    answers = [served.ask(f"attach {name}".encode()).split()[0] for name in DEVICES]
    assert answers == [b"0", b"0", b"28"]
    assert len(served.loops.files) == 2


@pytest.mark.parametrize("flood", [b"attach zram0\nattach zram1\n", b"ready\nr", b"ready\n" * 600, b"\n\n"])
def test_a_daemon_that_does_not_wait_for_its_answer_is_left_alone(served: Served, flood: bytes) -> None:
    served.daemon.sendall(flood)
    with pytest.raises(ProtocolBroken, match="asks before it has its answer"):
        served.service.answer()
    assert served.loops.files == {}


def test_a_line_that_does_not_end_is_not_kept(served: Served) -> None:
    served.daemon.sendall(b"attach " + b"z" * LONGEST_LINE_BYTES)
    with pytest.raises(ProtocolBroken, match="a line of more than"):
        served.service.answer()


def test_a_daemon_that_takes_no_answers_does_not_hold_the_keeper_up(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "_ANSWER_S", 0.05)
    served = Served(folder)
    with pytest.raises(ProtocolBroken, match="does not take its answer"):
        _ask_for_ever(served)
    served.close()


def _ask_for_ever(served: Served) -> None:
    while True:
        served.daemon.sendall(b"attach nothing\n")
        served.service.answer()


def test_the_end_of_a_daemon_is_told_with_what_was_refused_before(served: Served) -> None:
    served.ask(b"attach zram2")
    served.daemon.close()
    with pytest.raises(CommandFailed, match="symbolic links"):
        served.service.answer()


def test_a_daemon_that_is_left_alone_sees_the_end_of_the_link(
    served: Served, capsys: pytest.CaptureFixture[str]
) -> None:
    served.service.end(ProtocolBroken("it said \x1b[2J"))
    assert served.daemon.recv(10) == b""
    assert capsys.readouterr().err == "zramfs: warning: it said \\x1b[2J\n"


VERBS = st.sampled_from([b"attach", b"detach", b"forget", b"ready", b"", b"\0"])
NAMES = st.sampled_from([f"zram{number}".encode() for number in (0, 1, 2, 3, 4, 5, 6, 7, 10)]) | st.sampled_from(
    [b"../victim", b"other", b"zram00", b"", b"/etc/passwd"]
)
REQUESTS = st.one_of(st.tuples(VERBS, NAMES).map(b" ".join), st.binary(max_size=30))


@given(st.lists(REQUESTS, max_size=30), st.sets(st.integers(0, 2)))
def test_whatever_a_daemon_says_only_its_devices_are_bound(
    folder: Path, requests: list[bytes], in_use: set[int]
) -> None:
    served = Served(folder)
    served.loops.in_use = in_use
    try:
        for request in requests:
            answer = served.ask(request)
            assert answer.split(b" ")[0].isdigit()
            assert set(served.loops.files.values()) <= {str(folder / name) for name in DEVICES}
            assert set(served.loops.files) <= set(served.view.shown.values())
    except ProtocolBroken:
        assert any(b"\n" in request for request in requests)
    finally:
        served.close()


@given(st.binary(max_size=3000), st.integers(1, 700))
def test_whatever_bytes_come_the_service_answers_or_ends(folder: Path, stream: bytes, portion: int) -> None:
    served = Served(folder)
    reader = threading.Thread(target=_read_all, args=(served.daemon,))
    reader.start()
    try:
        for start in range(0, len(stream), portion):
            served.daemon.sendall(stream[start : start + portion])
            served.service.answer()
    except CommandFailed:
        pass
    finally:
        served._link.shutdown(socket.SHUT_RDWR)
        reader.join()
        served.close()


def _read_all(daemon: socket.socket) -> None:
    while daemon.recv(4096):
        pass
