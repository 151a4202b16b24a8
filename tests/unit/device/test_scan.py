"""Idle marks and block_state, by the sentences of Documentation/admin-guide/blockdev/zram.rst that each test names."""

import os
import time
from collections.abc import Callable

import pytest
from reads import read_slots

from zramfs.codec.lz4 import Lz4Codec
from zramfs.codec.run import RunCompressor
from zramfs.device.scan import describe_some, mark_idle_some
from zramfs.device.slots import SlotTable

PAGE = 4096
TIB_PAGES = 1 << 28


def store(slots: SlotTable, page: int, data: bytes) -> None:
    compressor = RunCompressor(Lz4Codec(), 1)
    compressor.compress(data, 0, 1)
    slots.store(page, compressor.run)


def mark_idle(slots: SlotTable, age_s: int | None = None) -> None:
    page = 0
    while page < slots.page_count:
        page = mark_idle_some(slots, page, age_s)


def block_state(slots: SlotTable) -> str:
    text, page = "", 0
    while page < slots.page_count:
        lines, page = describe_some(slots, page)
        text += lines
    return text


def flags(slots: SlotTable) -> dict[int, str]:
    return {int(line.split()[0]): line.split()[2] for line in block_state(slots).splitlines()}


@pytest.fixture
def slots() -> SlotTable:
    """A table with a same-filled page, a compressed one, a huge one, and an empty one."""
    table = SlotTable(4)
    store(table, 0, b"12345678" * 512)
    store(table, 1, b"zram " * 819 + b"!")
    store(table, 2, os.urandom(PAGE))
    return table


def test_block_state_has_a_line_for_each_page_in_use(slots: SlotTable) -> None:
    """First column: zram's block index. Third column: state of the block, s: same page, h: huge page."""
    assert flags(slots) == {0: "s.....", 1: "......", 2: "..h..."}


def test_block_state_is_printed_as_the_kernel_does(slots: SlotTable) -> None:
    line = block_state(slots).splitlines()[0]
    seconds = int(line[13:25])
    assert line == f"{0:12d} {seconds:12d}.{0:06d} s....."


def test_block_state_tells_the_access_time_since_boot(slots: SlotTable) -> None:
    """Second column: access time since the system was booted."""
    before_s = int(time.clock_gettime(time.CLOCK_BOOTTIME))
    store(slots, 1, os.urandom(PAGE))
    after_s = time.clock_gettime(time.CLOCK_BOOTTIME)
    assert before_s <= float(block_state(slots).splitlines()[1].split()[1]) <= after_s


def test_all_pages_with_an_object_become_idle(slots: SlotTable) -> None:
    """From now on, any pages on zram are idle pages. (mark_idle: ZRAM_SAME slots are not, nothing is gained there.)"""
    mark_idle(slots)
    assert flags(slots) == {0: "s.....", 1: "...i..", 2: "..hi.."}


def test_a_read_takes_the_idle_mark_away(slots: SlotTable) -> None:
    """The idle mark will be removed until someone requests access of the block."""
    mark_idle(slots)
    read_slots(slots, 2 * PAGE + 100, 1)
    assert flags(slots) == {0: "s.....", 1: "...i..", 2: "..h..."}


def test_a_write_takes_the_idle_mark_away(slots: SlotTable) -> None:
    """The idle mark will be removed until someone requests access of the block."""
    mark_idle(slots)
    store(slots, 2, os.urandom(PAGE))
    assert flags(slots)[2] == "..h..."


def test_a_freed_page_is_not_idle_when_it_is_written_again(slots: SlotTable) -> None:
    mark_idle(slots)
    slots.discard_some(1, 1, 1)
    assert 1 not in flags(slots)
    store(slots, 1, os.urandom(PAGE))
    assert flags(slots)[1] == "..h..."


def test_pages_younger_than_the_age_are_not_idle(slots: SlotTable) -> None:
    """All pages which haven't been accessed in more than 86400 seconds (one day) will be marked idle."""
    mark_idle(slots, 86400)
    assert flags(slots) == {0: "s.....", 1: "......", 2: "..h..."}


def test_marking_by_age_clears_the_mark_of_younger_pages(slots: SlotTable) -> None:
    mark_idle(slots)
    mark_idle(slots, 86400)
    assert "i" not in "".join(flags(slots).values())


def test_pages_older_than_the_age_are_idle(slots: SlotTable) -> None:
    """All pages which haven't been accessed in more than … seconds will be marked idle."""
    mark_idle(slots, -1)  # what is accessed before the next second
    assert flags(slots) == {0: "s.....", 1: "...i..", 2: "..hi.."}


def test_reading_an_empty_page_does_not_put_it_in_use() -> None:
    slots = SlotTable(4)
    read_slots(slots, 0, 4 * PAGE)
    assert block_state(slots) == ""


def test_a_sparse_table_is_walked_over_without_touching_it(resident_bytes: Callable[[], int]) -> None:
    slots = SlotTable(TIB_PAGES)
    store(slots, TIB_PAGES - 1, os.urandom(PAGE))
    before = resident_bytes()
    mark_idle(slots)
    assert flags(slots) == {TIB_PAGES - 1: "..hi.."}
    assert resident_bytes() - before < 8 << 20
