"""Who works on large bios, and when."""

import os
import select
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from disks import lz4_disk

from zramfs.block.closed_loop import Loop
from zramfs.block.disk import Disk
from zramfs.block.layer import BlockLayer
from zramfs.block.request import Outcome, Request, take_bios

PAGE = 4096
LARGE = 256
PATIENCE_S = 10.0

Opener = Callable[..., Disk]


@pytest.fixture
def open_disk() -> Iterator[Opener]:
    with ExitStack() as stack:

        def make(**options: Any) -> Disk:
            return stack.enter_context(lz4_disk(2 * LARGE, **options))

        yield make


def begun(disk: Disk, channel: int = 1) -> Request:
    """Begin a large write."""
    request = Request("write", 0, os.urandom(LARGE * PAGE), channel=channel)
    assert request.submit(disk) == Outcome.BEGUN
    return request


def work_off(disk: Disk, channel: int = 1) -> None:
    """Begin a large read, and work as this channel until it has ended."""
    Loop(disk, channel, "read", pages=2 * LARGE, size_pages=LARGE).run(1)


def in_backlog(disk: Disk) -> str:
    return repr(disk.layer).partition(", ")[2]


def test_each_thread_has_a_channel() -> None:
    layer = BlockLayer(receivers=3, crew=2)
    assert (layer.channel_count, layer.crew_count) == (7, 2)
    layer.close()


def test_crew_ends_with_the_layer() -> None:
    layer = BlockLayer(crew=2)
    assert {"crew-0", "crew-1"} <= {thread.name for thread in threading.enumerate()}
    layer.close()
    assert not {"crew-0", "crew-1"} & {thread.name for thread in threading.enumerate()}


def test_small_bio_passes_a_large_one(open_disk: Opener) -> None:
    disk = open_disk(receivers=1)
    large = begun(disk)
    assert Request("write", LARGE * PAGE, bytes(PAGE), channel=1).submit(disk) == Outcome.ENDED
    assert (large.has_ended, in_backlog(disk)) == (False, "1 bios in the backlog>")
    work_off(disk)
    assert (large.has_ended, in_backlog(disk)) == (True, "0 bios in the backlog>")


def test_shares_are_for_whoever_has_time(open_disk: Opener) -> None:
    disk = open_disk(receivers=2)
    large = begun(disk, channel=1)
    work_off(disk, channel=2)
    assert large.has_ended


def test_bio_without_shares_is_left_to_whoever_began_it(open_disk: Opener) -> None:
    disk = open_disk(receivers=2, limit_pages=4 * LARGE)  # with a limit pages are stored in their order
    large = begun(disk, channel=1)
    work_off(disk, channel=2)
    assert (large.has_ended, in_backlog(disk)) == (False, "1 bios in the backlog>")
    work_off(disk, channel=1)
    assert large.has_ended


def test_crew_works_while_no_receiver_has_time(open_disk: Opener) -> None:
    disk = open_disk(receivers=1, crew=1)
    large = begun(disk)
    if not large.has_ended:  # as it has where there is one CPU, and nothing is told then
        assert select.select([disk.layer.inbox.fd], [], [], PATIENCE_S)[0]
        assert take_bios(disk.layer.inbox) == [large]
    assert large.result() == LARGE * PAGE


def test_crew_leaves_bios_without_shares_alone(open_disk: Opener) -> None:
    disk = open_disk(receivers=2, crew=1, limit_pages=4 * LARGE)
    large = begun(disk, channel=1)
    for _ in range(20):
        work_off(disk, channel=2)  # the crew helps with these
    assert not large.has_ended
    ends_s = time.monotonic() + PATIENCE_S
    while not large.has_ended and time.monotonic() < ends_s:
        work_off(disk, channel=1)  # which takes the large one first, if the crew leaves it the time
    assert large.has_ended
