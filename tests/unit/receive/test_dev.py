"""The receiver of /dev/fuse before a stand-in for the kernel, on the block layer itself."""

import errno
import json
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from disks import lz4_disk
from fuse_kernel import FORGET, GETATTR, INTERRUPT, WRITE_CACHE, Kernel, offset_of, size_of
from receptions import Reception

from zramfs.block.trace import Tracer
from zramfs.receive.dev import DevReceiver
from zramfs.receive.handles import FIRST_OTHER_HANDLE

PAGE = 4096
PAGES = 1024
SIZE = PAGES * PAGE

PUNCH_KEEP, ZERO, ZERO_KEEP = 3, 16, 17


class Daemon:
    """A receiver in its thread, with a disk that is open by `handle`."""

    def __init__(self, *, busy_poll_us: int = 50, limit_bytes: int = 1 << 20) -> None:
        self.kernel = Kernel()
        self._opened = ExitStack()
        self.disk = self._opened.enter_context(lz4_disk(PAGES, receivers=1))
        reception = Reception(self.disk, limit_bytes=limit_bytes)
        self.ended, self.memory = reception.ended, reception.memory
        self.handles, self.handle, self.handover = reception.handles, reception.handle, reception.handover
        self.handover.dev_fd = self.kernel.fd
        self.receiver = DevReceiver(self.kernel.fd, **reception.shared(), channel=1, busy_poll_us=busy_poll_us)
        self.thread = threading.Thread(target=self.receiver.run, daemon=True)
        self.thread.start()

    def stop(self) -> None:
        self.receiver.stop()
        self.thread.join(10)
        assert not self.thread.is_alive()

    def close(self) -> None:
        self.stop()
        while self.receiver.in_flight:
            self.receiver.work_off()
        self._opened.close()
        self.kernel.close()


@pytest.fixture
def start() -> Iterator[Callable[..., Daemon]]:
    daemons: list[Daemon] = []

    def make(**options: Any) -> Daemon:
        daemons.append(Daemon(**options))
        return daemons[-1]

    yield make
    for daemon in daemons:
        daemon.close()


@pytest.fixture
def daemon(start: Callable[..., Daemon]) -> Daemon:
    return start()


def test_pages_are_read_as_they_were_written(daemon: Daemon) -> None:
    kernel, handle = daemon.kernel, daemon.handle
    data = os.urandom(3 * PAGE)
    error, body = kernel.answer(kernel.write(handle, 2 * PAGE, data))
    assert (error, size_of(body)) == (0, len(data))
    assert kernel.answer(kernel.read(handle, PAGE, 5 * PAGE)) == (0, bytes(PAGE) + data + bytes(PAGE))


@pytest.mark.parametrize(("offset", "size"), [(0, 1), (1, PAGE), (4095, 2), (PAGE - 7, 3 * PAGE), (12, 300)])
def test_parts_of_pages_are_read_as_they_were_written(daemon: Daemon, offset: int, size: int) -> None:
    kernel, handle = daemon.kernel, daemon.handle
    model = bytearray(os.urandom(6 * PAGE))
    kernel.answer(kernel.write(handle, 0, bytes(model)))
    model[offset : offset + size] = data = os.urandom(size)
    assert size_of(kernel.answer(kernel.write(handle, offset, data))[1]) == size
    assert kernel.answer(kernel.read(handle, 0, len(model))) == (0, bytes(model))
    assert kernel.answer(kernel.read(handle, offset, size)) == (0, data)


def test_requests_are_clipped_at_the_end_of_the_disk(daemon: Daemon) -> None:
    kernel, handle = daemon.kernel, daemon.handle
    assert size_of(kernel.answer(kernel.write(handle, SIZE - 10, bytes(100)))[1]) == 10
    assert kernel.answer(kernel.read(handle, SIZE - 10, 100)) == (0, bytes(10))
    assert kernel.answer(kernel.read(handle, SIZE, 100)) == (0, b"")
    assert kernel.answer(kernel.write(handle, SIZE, b"x")) == (errno.ENOSPC, b"")


@pytest.mark.parametrize("mode", [PUNCH_KEEP, ZERO_KEEP, ZERO])
def test_ranges_are_freed(daemon: Daemon, mode: int) -> None:
    kernel, handle = daemon.kernel, daemon.handle
    kernel.answer(kernel.write(handle, 0, b"x" * 4 * PAGE))
    assert kernel.answer(kernel.fallocate(handle, mode, 100, 2 * PAGE)) == (0, b"")
    assert kernel.answer(kernel.read(handle, 0, 3 * PAGE)) == (0, b"x" * 100 + bytes(2 * PAGE) + b"x" * (PAGE - 100))
    assert daemon.disk.table.freed_notifications == 1


@pytest.mark.parametrize(
    ("mode", "offset", "size", "error"),
    [
        (0, 0, PAGE, errno.EOPNOTSUPP),
        (1, 0, PAGE, errno.EOPNOTSUPP),
        (2, 0, PAGE, errno.EOPNOTSUPP),
        (8, 0, PAGE, errno.EOPNOTSUPP),
        (8, SIZE, PAGE, errno.EOPNOTSUPP),
        (0, SIZE - PAGE, 2 * PAGE, errno.EINVAL),
        (1, SIZE, PAGE, errno.EINVAL),
        (ZERO, SIZE - PAGE, 2 * PAGE, errno.EINVAL),
        (ZERO, SIZE - PAGE, (1 << 63) - 1, errno.EINVAL),
        (ZERO, SIZE, PAGE, errno.EINVAL),
        (ZERO_KEEP, SIZE, PAGE, errno.EINVAL),
        (PUNCH_KEEP, SIZE, PAGE, errno.EINVAL),
        (PUNCH_KEEP, 1 << 62, PAGE, errno.EINVAL),
    ],
)
def test_ranges_are_refused_as_by_a_block_device(daemon: Daemon, mode: int, offset: int, size: int, error: int) -> None:
    kernel = daemon.kernel
    assert kernel.answer(kernel.fallocate(daemon.handle, mode, offset, size)) == (error, b"")


def test_holes_reach_past_the_end(daemon: Daemon) -> None:
    kernel, handle = daemon.kernel, daemon.handle
    kernel.answer(kernel.write(handle, SIZE - PAGE, b"x" * PAGE))
    assert kernel.answer(kernel.fallocate(handle, PUNCH_KEEP, SIZE - PAGE, 1 << 40)) == (0, b"")
    assert kernel.answer(kernel.read(handle, SIZE - PAGE, PAGE)) == (0, bytes(PAGE))


def test_data_and_holes_are_found(daemon: Daemon) -> None:
    kernel, handle = daemon.kernel, daemon.handle
    kernel.answer(kernel.write(handle, 4 * PAGE, b"x" * PAGE))

    def find(offset: int, whence: int) -> tuple[int, bytes]:
        return kernel.answer(kernel.lseek(handle, offset, whence))

    assert offset_of(find(0, os.SEEK_DATA)[1]) == 4 * PAGE
    assert offset_of(find(4 * PAGE + 5, os.SEEK_DATA)[1]) == 4 * PAGE + 5
    assert offset_of(find(4 * PAGE, os.SEEK_HOLE)[1]) == 5 * PAGE
    assert offset_of(find(SIZE - 1, os.SEEK_HOLE)[1]) == SIZE - 1
    assert find(5 * PAGE, os.SEEK_DATA) == (errno.ENXIO, b"")
    assert find(SIZE, os.SEEK_HOLE) == (errno.ENXIO, b"")
    assert find(0, os.SEEK_END) == (errno.EINVAL, b"")


def test_every_request_of_many_has_one_reply(daemon: Daemon) -> None:
    kernel, handle = daemon.kernel, daemon.handle
    for round_number in range(20):
        data = bytes([round_number + 1]) * PAGE
        asked = [kernel.write(handle, page * PAGE, data, flags=os.O_RDWR | os.O_DIRECT) for page in range(10)]
        replies = sorted(kernel.reply()[:2] for _ in asked)
        assert replies == [(unique, 0) for unique in asked]
    assert not kernel.has_reply(20)
    assert daemon.receiver.requests == 200


def test_large_writes_keep_their_memory_until_they_end(start: Callable[..., Daemon]) -> None:
    daemon = start(limit_bytes=2 << 20)
    kernel, handle = daemon.kernel, daemon.handle
    data = [os.urandom(1 << 17) for _ in range(16)]
    asked = [kernel.write(handle, number << 17, each) for number, each in enumerate(data)]
    assert sorted(kernel.reply()[:2] for _ in asked) == [(unique, 0) for unique in asked]
    for number, each in enumerate(data):
        assert kernel.answer(kernel.read(handle, number << 17, 1 << 17)) == (0, each)
    daemon.stop()
    assert (daemon.memory.held_bytes, daemon.receiver.in_flight) == (0, 0)


def test_write_that_there_is_no_memory_to_keep_is_stored_all_the_same(start: Callable[..., Daemon]) -> None:
    daemon = start(limit_bytes=0)
    data = os.urandom(1 << 17)
    assert daemon.kernel.answer(daemon.kernel.write(daemon.handle, 0, data))[0] == 0
    assert daemon.kernel.answer(daemon.kernel.read(daemon.handle, 0, len(data))) == (0, data)
    assert daemon.memory.held_bytes == 0


def test_interrupts_have_no_reply_and_do_no_harm(daemon: Daemon) -> None:
    daemon.kernel.send(INTERRUPT, bytes(8))
    assert daemon.kernel.answer(daemon.kernel.read(daemon.handle, 0, 1)) == (0, b"\0")
    assert daemon.handover.count == 0


@pytest.mark.parametrize("handle", [FIRST_OTHER_HANDLE, 5, 1 << 63])
def test_requests_of_other_files_are_handed_over(daemon: Daemon, handle: int) -> None:
    daemon.kernel.read(handle, 0, 1)
    daemon.kernel.write(handle, 0, b"x")
    daemon.kernel.send(GETATTR, bytes(16))
    daemon.kernel.send(FORGET, bytes(8))
    daemon.kernel.answer(daemon.kernel.read(daemon.handle, 0, 1))
    assert daemon.handover.count == 4


def test_file_that_was_closed_is_another_file(daemon: Daemon) -> None:
    daemon.handles.close(daemon.handle)
    daemon.kernel.read(daemon.handle, 0, 1)
    assert not daemon.kernel.has_reply(50)
    assert daemon.handover.count == 1


def test_receiver_ends_with_the_session(daemon: Daemon) -> None:
    daemon.kernel.abort()
    daemon.thread.join(10)
    assert not daemon.thread.is_alive()
    assert daemon.handover.has_ended


def test_receiver_stops_while_it_sleeps(daemon: Daemon) -> None:
    time.sleep(0.05)
    daemon.stop()


@pytest.mark.parametrize("busy_poll_us", [0, 10_000])
def test_idle_receiver_takes_no_cpu(start: Callable[..., Daemon], busy_poll_us: int) -> None:
    daemon = start(busy_poll_us=busy_poll_us)
    for _ in range(10):
        daemon.kernel.answer(daemon.kernel.read(daemon.handle, 0, PAGE))
    time.sleep(0.1)
    before_s = time.process_time()
    time.sleep(0.5)
    assert time.process_time() - before_s < 0.02


@pytest.mark.parametrize(
    ("flags", "write_flags", "is_async"),
    [
        (os.O_RDWR, 0, False),
        (os.O_RDWR | os.O_DIRECT, 0, True),
        (os.O_RDWR | os.O_DIRECT | os.O_DSYNC, 0, False),
        (os.O_RDWR | os.O_DIRECT | os.O_SYNC, 0, False),
        (0, WRITE_CACHE, True),
    ],
)
def test_flags_of_each_write_tell_whether_somebody_waits(
    start: Callable[..., Daemon], flags: int, write_flags: int, *, is_async: bool
) -> None:
    daemon = start()
    daemon.disk.tracer = Tracer("zram0", 4, 0)
    daemon.kernel.answer(daemon.kernel.write(daemon.handle, 0, bytes(PAGE), flags=flags, write_flags=write_flags))
    daemon.stop()
    assert json.loads(daemon.disk.tracer.take_lines())["async"] is is_async
