"""How a request begins: what is done at once, what waits for its turn, and what is left to the event loop."""

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any, Final

import pytest
from disks import do, lz4_disk, read

from zramfs.backends.lz4 import Lz4Backend
from zramfs.block.disk import Disk
from zramfs.block.layer import BlockLayer
from zramfs.block.request import Outcome, Request, take_bios
from zramfs.codec.run import FunctionCodec, PageCodec
from zramfs.contracts import BackendParams
from zramfs.errors import PastTheEnd

PAGE: Final = 4096
PAGES: Final = 4096
SIZE: Final = PAGES * PAGE
SHARED_READ: Final = 16
IN_ORDER: Final = 32
PUNCHED_AT_ONCE: Final = 2048

Opener = Callable[..., Disk]


class PythonLz4(Lz4Backend):
    """LZ4 by functions of Python, which are the event loop's."""

    def create_context(self, params: BackendParams) -> PageCodec:
        codec = super().create_context(params)
        return FunctionCodec(codec.compress, codec.decompress)


@pytest.fixture
def open_disk() -> Iterator[Opener]:
    with ExitStack() as stack:

        def make(**options: Any) -> Disk:
            return stack.enter_context(lz4_disk(PAGES, **{"receivers": 2, **options}))

        yield make


@pytest.fixture
def disk(open_disk: Opener) -> Disk:
    return open_disk()


def submit(disk: Disk, operation: str, offset: int, data: object = None, **options: Any) -> tuple[int, Request]:
    request = Request(operation, offset, data, **{"channel": 1, **options})  # type: ignore[arg-type]
    return request.submit(disk), request


def finish(request: Request) -> None:
    """See to it that a request ends which was begun."""
    request.wait()
    request.result()


# ---- where it ends --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("offset", "size", "done"), [(SIZE - 10, 100, 10), (SIZE - PAGE, 3 * PAGE, PAGE), (0, 5, 5)])
@pytest.mark.parametrize("operation", ["read", "write", "punch"])
def test_request_is_clipped_at_the_end_of_the_disk(
    disk: Disk, operation: str, offset: int, size: int, done: int
) -> None:
    data = {} if operation == "punch" else {"data": bytearray(size)}
    assert do(disk, operation, offset, size_bytes=size if operation == "punch" else 0, **data) == done


@pytest.mark.parametrize("offset", [SIZE, SIZE + 1, 1 << 62])
def test_behind_the_end_nothing_is_read_or_freed_and_nothing_can_be_written(disk: Disk, offset: int) -> None:
    assert do(disk, "read", offset, bytearray(PAGE)) == 0
    assert do(disk, "punch", offset, size_bytes=PAGE) == 0
    with pytest.raises(PastTheEnd):
        do(disk, "write", offset, bytes(PAGE))
    assert disk.in_flight == 0


def test_disk_that_is_closed_has_no_page() -> None:
    layer = BlockLayer(receivers=1)
    disk = Disk("zram0", layer)
    assert do(disk, "read", 0, bytearray(PAGE)) == 0
    with pytest.raises(PastTheEnd):
        do(disk, "write", 0, bytes(PAGE))
    assert disk.in_flight == 0
    layer.close()


# ---- what is done at once -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pages", "outcome"), [(1, Outcome.ENDED), (SHARED_READ - 1, Outcome.ENDED), (SHARED_READ, Outcome.BEGUN)]
)
def test_read_that_is_worth_a_second_thread_waits_for_its_turn(disk: Disk, pages: int, outcome: Outcome) -> None:
    how, request = submit(disk, "read", 0, bytearray(pages * PAGE))
    assert how == outcome
    finish(request)


def test_read_with_parts_of_pages_is_done_at_once_however_long_it_is(disk: Disk) -> None:
    assert submit(disk, "read", 1, bytearray(64 * PAGE))[0] == Outcome.ENDED


@pytest.mark.parametrize(
    ("pages", "outcome"), [(1, Outcome.ENDED), (IN_ORDER + 1, Outcome.BEGUN), (256, Outcome.BEGUN)]
)
def test_long_write_waits_for_its_turn(disk: Disk, pages: int, outcome: Outcome) -> None:
    how, request = submit(disk, "write", 0, os.urandom(pages * PAGE))
    assert how == outcome
    finish(request)


def test_urgent_write_is_done_at_once_however_long_it_is(disk: Disk) -> None:
    data = os.urandom(256 * PAGE)
    assert submit(disk, "write", 100, data, is_urgent=True)[0] == Outcome.ENDED
    assert read(disk, 100, len(data)) == data


@pytest.mark.parametrize(("pages", "outcome"), [(PUNCHED_AT_ONCE, Outcome.ENDED), (PUNCHED_AT_ONCE + 1, Outcome.BEGUN)])
def test_many_pages_in_use_are_freed_bit_by_bit(disk: Disk, pages: int, outcome: Outcome) -> None:
    for begin in range(0, PAGES, 256):
        do(disk, "write", begin * PAGE, b"12345678" * (256 * PAGE // 8))
    how, request = submit(disk, "punch", 0, size_bytes=pages * PAGE)
    assert how == outcome
    finish(request)
    assert disk.table.stored_pages == PAGES - pages


def test_pages_that_nobody_uses_are_freed_at_once(disk: Disk) -> None:
    assert submit(disk, "punch", 0, size_bytes=SIZE)[0] == Outcome.ENDED
    assert disk.table.freed_notifications == PAGES


# ---- the event loop's -----------------------------------------------------------------------------------------------


def test_event_loop_goes_on_with_its_own_long_requests_itself(disk: Disk) -> None:
    data = os.urandom(256 * PAGE)
    how, request = submit(disk, "write", 0, data, channel=0)
    assert how == Outcome.HAS_MORE
    assert repr(disk.layer).endswith(" 0 bios in the backlog>")
    turns = 1
    while request.go_on(0) == Outcome.HAS_MORE:
        turns += 1
    assert turns > 1
    assert request.has_ended
    assert read(disk, 0, len(data)) == data


def test_requests_of_a_disk_whose_codec_is_python_are_the_event_loops(open_disk: Opener) -> None:
    disk = open_disk(backend=PythonLz4())
    how, request = submit(disk, "write", 0, b"x" * PAGE)
    assert how == Outcome.FOR_TRIO
    (handed_over,) = take_bios(disk.layer.inbox)
    assert not request.has_ended
    handed_over.go_on()
    assert request.has_ended
    out = bytearray(PAGE)
    assert submit(disk, "read", 0, out, channel=0)[0] == Outcome.ENDED
    assert out == b"x" * PAGE
