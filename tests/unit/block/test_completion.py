"""How a request ends: what is still to be done for it, whether it is counted, and what is left to the event loop."""

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any, Final

import pytest
from disks import lz4_disk, read

from zramfs.block.blocks import BlockMap
from zramfs.block.candidates import Candidates
from zramfs.block.closed_loop import Loop
from zramfs.block.disk import Disk
from zramfs.block.page_upkeep import commit_written_back
from zramfs.block.request import Outcome, Request, take_bios
from zramfs.block.trace import Tracer
from zramfs.errors import MemoryLimitReached, ZramError

PAGE: Final = 4096
PAGES: Final = 512
LARGE: Final = 256
BLOCK: Final = 7
CHANNEL, ANOTHER = 1, 2

Opener = Callable[..., Disk]


@pytest.fixture
def open_disk() -> Iterator[Opener]:
    with ExitStack() as stack:

        def make(**options: Any) -> Disk:
            return stack.enter_context(lz4_disk(PAGES, receivers=2, **options))

        yield make


@pytest.fixture
def disk(open_disk: Opener) -> Disk:
    return open_disk()


@pytest.fixture
def away(open_disk: Opener) -> Disk:
    """Open a disk whose page 1 is in a block of its backing device."""
    disk = open_disk(blocks=BlockMap(16))
    write(disk, 0, os.urandom(1000) * 4 + bytes(96) + os.urandom(1000) * 4 + bytes(96))
    Candidates(disk.table).add_some(0, PAGES)
    assert commit_written_back(disk.table, 1, BLOCK, remembers=False)
    return disk


def begin(disk: Disk, operation: str, offset: int, data: object, channel: int = CHANNEL) -> tuple[int, Request]:
    request = Request(operation, offset, data, channel=channel)  # type: ignore[arg-type]
    return request.submit(disk), request


def write(disk: Disk, offset: int, data: bytes) -> None:
    outcome, request = begin(disk, "write", offset, data)
    assert outcome == Outcome.ENDED
    assert request.result() == len(data)


def work_off(disk: Disk, channel: int = ANOTHER) -> None:
    """Work as another thread until what was begun before has ended; it reads pages that are in memory."""
    Loop(disk, channel, "read", pages=LARGE, size_pages=LARGE).run(1)


# ---- the last of it -------------------------------------------------------------------------------------------------


def test_tail_of_a_long_write_is_patched_by_whoever_ends_the_last_of_its_pages(disk: Disk) -> None:
    before, data = os.urandom(PAGE), os.urandom(LARGE * PAGE + 100)
    write(disk, LARGE * PAGE, before)
    outcome, request = begin(disk, "write", 0, data)
    assert outcome == Outcome.BEGUN
    assert read(disk, LARGE * PAGE, PAGE) == before
    work_off(disk)
    assert request.result() == len(data)
    assert read(disk, 0, (LARGE + 1) * PAGE) == data + before[100:]


def test_tail_of_a_write_that_has_failed_stays_as_it_is(open_disk: Opener) -> None:
    disk = open_disk(limit_pages=40)
    write(disk, LARGE * PAGE, b"12345678" * (PAGE // 8))
    outcome, request = begin(disk, "write", 0, os.urandom(LARGE * PAGE) + b"tail")
    assert outcome == Outcome.BEGUN
    while not request.has_ended:
        work_off(disk, CHANNEL)  # whose pages are stored in their order
    with pytest.raises(MemoryLimitReached):
        request.result()
    assert read(disk, LARGE * PAGE, PAGE) == b"12345678" * (PAGE // 8)


def test_request_is_in_flight_until_it_ends(disk: Disk) -> None:
    _, request = begin(disk, "write", 0, os.urandom(LARGE * PAGE))
    assert (disk.in_flight, request.has_ended) == (1, False)
    work_off(disk)
    assert (disk.in_flight, request.has_ended) == (0, True)


def test_each_request_is_counted_with_its_channel_and_as_failed_if_it_has(open_disk: Opener) -> None:
    disk = open_disk(limit_pages=4)
    write(disk, 0, bytes(PAGE))
    _, request = begin(disk, "write", 0, os.urandom(16 * PAGE), channel=ANOTHER)
    request.wait()
    assert (disk.counts.begun_by(CHANNEL), disk.counts.begun_by(ANOTHER)) == (1, 1)
    assert (disk.counts.finished(1)[:2], disk.counts.failed_writes) == ((2, 8 + 16 * 8), 1)


def test_request_that_is_traced_has_its_record_before_nothing_is_in_flight(disk: Disk) -> None:
    disk.tracer = Tracer("zram0", 4, 0)
    _, request = begin(disk, "write", 0, os.urandom(LARGE * PAGE))
    assert disk.tracer.take_lines() == b""
    work_off(disk)
    assert request.has_ended
    assert disk.in_flight == 0
    assert disk.tracer.take_lines().count(b"\n") == 2  # and of the read that worked it off


# ---- what is in the backing device ----------------------------------------------------------------------------------


def test_read_that_meets_a_block_is_left_to_the_event_loop_and_is_in_flight(away: Disk) -> None:
    outcome, request = begin(away, "read", 0, bytearray(2 * PAGE))
    assert outcome == Outcome.FOR_TRIO
    (left,) = take_bios(away.layer.inbox)
    assert (left.operation, left.offset_bytes, left.size_bytes) == ("read", 0, 2 * PAGE)
    assert (away.in_flight, request.has_ended) == (1, False)
    left.data[:] = b"r" * (2 * PAGE)
    left.finish()
    assert (away.in_flight, request.result()) == (0, 2 * PAGE)


def test_read_beside_a_block_ends_at_once(away: Disk) -> None:
    assert begin(away, "read", 0, bytearray(PAGE))[0] == Outcome.ENDED
    assert begin(away, "read", 2 * PAGE, bytearray(PAGE))[0] == Outcome.ENDED
    assert take_bios(away.layer.inbox) == []


def test_event_loops_own_read_of_a_block_is_not_sent_to_it(away: Disk) -> None:
    outcome, request = begin(away, "read", 0, bytearray(2 * PAGE), channel=0)
    assert outcome == Outcome.FOR_TRIO
    assert take_bios(away.layer.inbox) == []
    request.finish()


@pytest.mark.parametrize("operation", ["write", "punch"])
def test_part_of_a_page_in_a_block_is_left_to_the_event_loop_and_patched_there(away: Disk, operation: str) -> None:
    request = Request(
        operation,
        PAGE + 10,
        b"new" if operation == "write" else None,
        size_bytes=3 if operation == "punch" else 0,
        channel=CHANNEL,
    )
    assert request.submit(away) == Outcome.FOR_TRIO
    (left,) = take_bios(away.layer.inbox)
    (edge,) = left.missing_edges()
    assert edge[:2] == (1, 10)
    assert left.patch_edge(edge, b"o" * PAGE, BLOCK)
    assert left.go_on() == Outcome.ENDED
    assert request.result() == 3
    new = b"new" if operation == "write" else bytes(3)
    assert read(away, PAGE, PAGE) == b"o" * 10 + new + b"o" * (PAGE - 13)


def test_long_write_whose_tail_is_in_a_block_is_left_to_the_event_loop_with_its_pages_stored(
    open_disk: Opener,
) -> None:
    disk = open_disk(blocks=BlockMap(16))
    write(disk, LARGE * PAGE, os.urandom(1000) + bytes(PAGE - 1000))
    Candidates(disk.table).add_some(0, PAGES)
    assert commit_written_back(disk.table, LARGE, BLOCK, remembers=False)
    data = os.urandom(LARGE * PAGE + 5)
    _, request = begin(disk, "write", 0, data)
    work_off(disk)
    (left,) = take_bios(disk.layer.inbox)
    assert not request.has_ended
    assert read(disk, 0, LARGE * PAGE) == data[:-5]
    (edge,) = left.missing_edges()
    assert left.patch_edge(edge, bytes(PAGE), BLOCK)
    assert left.go_on() == Outcome.ENDED
    assert request.result() == len(data)
    assert read(disk, LARGE * PAGE, 10) == data[-5:] + bytes(5)


def test_request_that_the_event_loop_cannot_go_on_with_fails_with_its_errno(away: Disk) -> None:
    _, request = begin(away, "read", 0, bytearray(2 * PAGE))
    (left,) = take_bios(away.layer.inbox)
    left.finish(5)
    with pytest.raises(ZramError) as caught:
        request.result()
    assert caught.value.errno == 5
    assert (away.in_flight, away.counts.failed_reads) == (0, 1)
