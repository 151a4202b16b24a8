"""What receivers leave to pyfuse3: the order, the way back, and what is added to two of the answers."""

import errno
import os
import select
import struct
from collections.abc import Iterator
from typing import Any, Final

import pytest
from fuse_kernel import FORGET, GETATTR, INIT, OPEN, message, reply_header

from zramfs.block.disk import Disk
from zramfs.block.layer import BlockLayer
from zramfs.receive.handles import Handles
from zramfs.receive.handover import Handover

_INIT_OUT: Final = struct.Struct("<IIIIHHIIHHI28x")
_OPEN_OUT: Final = struct.Struct("<QII")
FOPEN_DIRECT_IO, FOPEN_PARALLEL_DIRECT_WRITES = 1, 64
FUSE_ASYNC_DIO, FUSE_AUTO_INVAL_DATA, FUSE_INIT_EXT = 1 << 15, 1 << 12, 1 << 30
MIB = 1 << 20


@pytest.fixture
def ended() -> list[str]:
    return []


@pytest.fixture
def handover(ended: list[str]) -> Handover:
    return Handover(
        Handles(), background=64, direct_writes_are_parallel=True, session_ended=lambda: ended.append("ended")
    )


@pytest.fixture
def disk() -> Iterator[Disk]:
    layer = BlockLayer()
    yield Disk("zram0", layer)
    layer.close()


def is_readable(handover: Handover) -> bool:
    poll = select.poll()
    poll.register(handover.fd, select.POLLIN)
    return bool(poll.poll(0))


def test_requests_are_read_in_their_order_and_whole(doors: Any, handover: Handover) -> None:
    first, second = message(GETATTR, 2, b"arguments"), message(GETATTR, 4)
    doors.hand_over(handover, first, b"and a payload")
    doors.hand_over(handover, second)
    assert handover.count == 2
    assert [doors.read(handover), doors.read(handover)] == [first + b"and a payload", second]
    assert doors.read(handover) == errno.EINTR


def test_it_is_readable_while_a_request_waits(doors: Any, handover: Handover) -> None:
    assert not is_readable(handover)
    doors.hand_over(handover, message(GETATTR, 2))
    doors.hand_over(handover, message(GETATTR, 4))
    doors.read(handover)
    assert is_readable(handover)
    doors.read(handover)
    assert not is_readable(handover)


def test_replies_go_back_by_the_way_of_their_requests_in_any_order(doors: Any, handover: Handover) -> None:
    ways = {2: 0, 258: 1, 4: 2}  # two of one bucket
    for unique, way in ways.items():
        doors.hand_over(handover, message(GETATTR, unique), way=way)
        doors.read(handover)
        doors.replied(way)
    for unique in (2, 4, 258):
        assert doors.reply(handover, reply_header(unique, b"12345"), b"12345") == (21, b"12345")
        assert doors.replied(ways[unique]) == (unique, 21, 1)


def test_what_is_no_reply_goes_to_the_session_s_file(doors: Any, handover: Handover) -> None:
    read_fd, handover.dev_fd = os.pipe()
    doors.hand_over(handover, message(GETATTR, 2))
    doors.read(handover)
    doors.reply(handover, reply_header(2))
    doors.replied()
    for unique in (0, 2, 6):  # a notification; a second reply; a reply to nothing
        doors.reply(handover, reply_header(unique))
        assert os.read(read_fd, 100) == reply_header(unique)
    assert doors.replied()[2] == 0
    os.close(read_fd)
    os.close(handover.dev_fd)


def test_a_request_without_an_answer_is_forgotten_when_it_is_read(doors: Any, handover: Handover) -> None:
    read_fd, handover.dev_fd = os.pipe()
    doors.hand_over(handover, message(FORGET, 2, bytes(8)))
    doors.read(handover)
    doors.replied()
    doors.reply(handover, reply_header(2))
    assert doors.replied()[2] == 0
    os.close(read_fd)
    os.close(handover.dev_fd)


def test_what_waits_is_read_before_the_end_of_the_session_is(doors: Any, handover: Handover, ended: list[str]) -> None:
    doors.hand_over(handover, message(GETATTR, 2))
    doors.end(handover, errno.ENODEV)
    doors.end(handover, errno.EIO)  # the first reason counts
    assert handover.has_ended
    assert doors.read(handover) == message(GETATTR, 2)
    assert ended == []
    assert [doors.read(handover), doors.read(handover)] == [errno.ENODEV] * 2
    assert ended == ["ended"]
    assert is_readable(handover)


def test_init_s_answer_asks_for_what_receivers_have_room_for(doors: Any, handover: Handover) -> None:
    handover.init_flags = 1 << 41
    body = _INIT_OUT.pack(7, 40, 0, FUSE_AUTO_INVAL_DATA | 1, 12, 9, 8 * MIB, 1, 2048, 0, 0)
    doors.hand_over(handover, message(INIT, 2))
    doors.read(handover)
    _, sent = doors.reply(handover, reply_header(2, body), body)
    _, _, _, flags, background, threshold, max_write, _, max_pages, _, flags2 = _INIT_OUT.unpack(sent)
    assert (background, threshold, max_write, max_pages) == (64, 48, MIB, 256)
    assert flags == 1 | FUSE_ASYNC_DIO | FUSE_INIT_EXT
    assert flags2 == 1 << 9


@pytest.mark.parametrize(
    ("open_flags", "is_parallel", "added"),
    [
        (os.O_RDWR | os.O_DIRECT, True, FOPEN_DIRECT_IO | FOPEN_PARALLEL_DIRECT_WRITES),
        (os.O_RDWR | os.O_DIRECT, False, 0),
        (os.O_RDWR, True, 0),
    ],
)
def test_direct_writers_of_a_block_file_go_on_beside_each_other(
    doors: Any, handover: Handover, disk: Disk, open_flags: int, added: int, *, is_parallel: bool
) -> None:
    handover.direct_writes_are_parallel = is_parallel
    body = _OPEN_OUT.pack(handover.handles.open_disk(disk, open_flags), 0, 0)
    doors.hand_over(handover, message(OPEN, 2))
    doors.read(handover)
    _, sent = doors.reply(handover, reply_header(2, body), body)
    assert _OPEN_OUT.unpack(sent)[1] == added


def test_an_open_that_failed_and_one_of_another_file_stay_as_they_are(doors: Any, handover: Handover) -> None:
    body = _OPEN_OUT.pack(handover.handles.open_other(), 0, 0)
    for unique, error in ((2, 0), (4, errno.EACCES)):
        doors.hand_over(handover, message(OPEN, unique))
        doors.read(handover)
        assert doors.reply(handover, reply_header(unique, body, error=error), body)[1] == body
