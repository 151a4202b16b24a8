"""The process of a backing device, without being one: what it opens, and how it answers."""

import errno
import mmap
import os
import socket
import threading
from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from zramfs.device.backing_process import (
    ANSWER,
    MESSAGE_BYTES,
    REQUEST,
    SLOT_BYTES,
    SLOTS,
    Opened,
    Server,
    find_place,
    open_backing,
)
from zramfs.errors import LiesOnOwnMount

PAGE = 4096
BLOCKS = 16


class Served(NamedTuple):
    """A server for a file of BLOCKS blocks, at the other end of `link`."""

    path: Path
    link: socket.socket
    memory: memoryview

    def ask(self, slot: int, blocks: list[int], *, is_write: bool) -> None:
        self.link.send(REQUEST.pack(slot, is_write) + array("Q", blocks).tobytes())

    def answer(self) -> tuple[int, list[int]]:
        """The slot, and places and errnos of failures in turn."""
        message = self.link.recv(MESSAGE_BYTES)
        return ANSWER.unpack_from(message)[0], array("H", message[ANSWER.size :]).tolist()

    def slot(self, number: int) -> memoryview:
        return self.memory[number * SLOT_BYTES : (number + 1) * SLOT_BYTES]


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    path = tmp_path / "backing"
    path.write_bytes(b"".join(bytes([block]) * PAGE for block in range(BLOCKS)))
    fd = os.open(path, os.O_RDWR)
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    memory = memoryview(mmap.mmap(-1, SLOTS * SLOT_BYTES))
    server = Server(theirs, fd, memory)
    threads = [threading.Thread(target=server.serve) for _ in range(2)]
    for thread in threads:
        thread.start()
    ours.settimeout(20)
    with ours:
        yield Served(path, ours, memory)
    for thread in threads:
        thread.join(20)
        assert not thread.is_alive()
    theirs.close()
    os.close(fd)


def test_blocks_are_read_into_the_slot_in_their_order(served: Served) -> None:
    served.ask(3, [5, 6, 2], is_write=False)
    assert served.answer() == (3, [])
    assert served.slot(3)[: 3 * PAGE] == b"".join(bytes([block]) * PAGE for block in (5, 6, 2))


def test_pages_of_the_slot_are_written_to_their_blocks(served: Served) -> None:
    served.slot(SLOTS - 1)[: 2 * PAGE] = b"a" * PAGE + b"b" * PAGE
    served.ask(SLOTS - 1, [9, 4], is_write=True)
    assert served.answer() == (SLOTS - 1, [])
    contents = served.path.read_bytes()
    assert contents[9 * PAGE : 10 * PAGE] == b"a" * PAGE
    assert contents[4 * PAGE : 5 * PAGE] == b"b" * PAGE
    assert contents[8 * PAGE : 9 * PAGE] == bytes([8]) * PAGE


def test_a_block_that_fails_costs_no_other_of_its_run(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.pwritev

    def failing_at_block_2(fd: int, buffers: list[memoryview], offset: int) -> int:
        if offset <= 2 * PAGE < offset + len(buffers[0]):
            raise OSError(errno.EIO, "Input/output error")
        return real(fd, buffers, offset)

    monkeypatch.setattr(os, "pwritev", failing_at_block_2)
    served.slot(0)[: 5 * PAGE] = b"x" * (5 * PAGE)
    served.ask(0, [0, 1, 2, 3, 8], is_write=True)
    assert served.answer() == (0, [2, errno.EIO])
    assert [served.path.read_bytes()[block * PAGE] for block in (0, 1, 2, 3, 8)] == [*b"xx", 2, *b"xx"]


def test_blocks_behind_the_end_fail(served: Served) -> None:
    served.ask(0, [BLOCKS - 1, BLOCKS], is_write=False)
    assert served.answer() == (0, [1, errno.EIO])


def test_a_transfer_that_is_cut_short_goes_on(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.preadv
    monkeypatch.setattr(os, "preadv", lambda fd, buffers, offset: real(fd, [buffers[0][:512]], offset))
    served.ask(0, [1, 2], is_write=False)
    assert served.answer() == (0, [])
    assert served.slot(0)[: 2 * PAGE] == b"\1" * PAGE + b"\2" * PAGE


def test_a_request_that_hangs_does_not_hold_up_the_next(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.preadv
    goes_on = threading.Event()

    def hanging_at_block_0(fd: int, buffers: list[memoryview], offset: int) -> int:
        if offset == 0:
            assert goes_on.wait(20)
        return real(fd, buffers, offset)

    monkeypatch.setattr(os, "preadv", hanging_at_block_0)
    served.ask(0, [0], is_write=False)
    served.ask(1, [1], is_write=False)
    assert served.answer() == (1, [])
    goes_on.set()
    assert served.answer() == (0, [])


# ---- opening --------------------------------------------------------------------------------------------------------


@pytest.fixture
def closing() -> Iterator[list[int]]:
    fds: list[int] = []
    yield fds
    for fd in fds:
        os.close(fd)


def opened(place_fd: int, closing: list[int]) -> Opened:
    result = open_backing(place_fd)
    closing.append(result.fd)
    return result


def place_of(path: Path, closing: list[int]) -> int:
    closing.append(find_place(str(path), -1))
    return closing[-1]


def test_a_place_is_opened_again_whatever_became_of_its_path(tmp_path: Path, closing: list[int]) -> None:
    path = tmp_path / "backing"
    path.write_bytes(b"x" * PAGE * 2)
    place_fd = place_of(path, closing)
    opened(place_fd, closing)
    os.close(closing.pop())
    path.rename(tmp_path / "elsewhere")
    path.write_bytes(bytes(PAGE))
    again = opened(place_fd, closing)
    assert again.size_bytes == 2 * PAGE
    assert os.path.samestat(os.fstat(again.fd), (tmp_path / "elsewhere").stat())


def test_a_file_that_is_open_already_is_busy(tmp_path: Path, closing: list[int]) -> None:
    path = tmp_path / "backing"
    path.write_bytes(bytes(PAGE))
    opened(place_of(path, closing), closing)
    with pytest.raises(OSError, match="busy"):
        open_backing(place_of(path, closing))


def test_a_place_on_the_daemon_s_own_mount_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LiesOnOwnMount):
        find_place(str(tmp_path), tmp_path.stat().st_dev)
