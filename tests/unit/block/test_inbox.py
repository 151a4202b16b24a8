"""Where the event loop learns of bios that end on other threads."""

import os
import select
from collections.abc import Iterator

import pytest
from disks import lz4_disk

from zramfs.block.closed_loop import Loop
from zramfs.block.disk import Disk
from zramfs.block.request import Outcome, Request, take_bios

PAGE = 4096
LARGE = 256


@pytest.fixture
def disk() -> Iterator[Disk]:
    with lz4_disk(2 * LARGE, receivers=1) as disk:
        yield disk


def begun(disk: Disk, page: int = 0, ended: list[int] | None = None) -> Request:
    """Begin a large write that nobody works on."""

    def on_ended() -> None:
        if ended is not None:
            ended.append(page)

    request = Request("write", page * PAGE, os.urandom(LARGE * PAGE), channel=1, on_ended=on_ended)
    assert request.submit(disk) == Outcome.BEGUN
    return request


def work_off(disk: Disk) -> None:
    """Work on everything that waits: what is submitted last ends last."""
    Loop(disk, 1, "read", pages=2 * LARGE, size_pages=LARGE).run(1)


def is_readable(disk: Disk) -> bool:
    return bool(select.select([disk.layer.inbox.fd], [], [], 0)[0])


def test_what_has_not_ended_is_not_there(disk: Disk) -> None:
    request = begun(disk)
    assert (take_bios(disk.layer.inbox), is_readable(disk), request.has_ended) == ([], False, False)
    work_off(disk)
    assert request.has_ended


def test_what_has_ended_is_there_once(disk: Disk) -> None:
    request = begun(disk)
    work_off(disk)
    assert is_readable(disk)
    assert take_bios(disk.layer.inbox) == [request]
    assert (take_bios(disk.layer.inbox), is_readable(disk)) == ([], False)
    assert request.result() == LARGE * PAGE


def test_bios_are_there_in_the_order_of_their_ends(disk: Disk) -> None:
    requests = [begun(disk, page) for page in (LARGE, 0)]
    work_off(disk)
    assert take_bios(disk.layer.inbox) == requests


def test_descriptor_tells_of_what_comes_after_all_was_taken(disk: Disk) -> None:
    for _ in range(3):
        request = begun(disk)
        work_off(disk)
        assert is_readable(disk)
        assert take_bios(disk.layer.inbox) == [request]


def test_whoever_empties_it_tells_those_who_wait(disk: Disk) -> None:
    ended: list[int] = []
    for page in (LARGE, 0):
        begun(disk, page, ended)
    work_off(disk)
    assert ended == []
    for bio in take_bios(disk.layer.inbox):
        bio.tell()
    assert ended == [LARGE, 0]


def test_what_ended_at_once_is_not_there(disk: Disk) -> None:
    assert Request("write", 0, bytes(PAGE), channel=1).submit(disk) == Outcome.ENDED
    assert (take_bios(disk.layer.inbox), repr(disk.layer.inbox)) == ([], "<Inbox empty>")
