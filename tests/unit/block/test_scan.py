"""Idle marks and block_state, by the sentences of Documentation/admin-guide/blockdev/zram.rst that each test names."""

import os
import time
from collections.abc import Callable, Iterator

import pytest
from disks import lz4_disk
from reads import punch_disk, read_disk, write_disk

from zramfs.block.disk import Disk
from zramfs.block.scan import describe_some, mark_idle_some

PAGE = 4096
TIB_PAGES = 1 << 28


def mark_idle(disk: Disk, age_s: int | None = None) -> None:
    page = 0
    while page < disk.table.page_count:
        page = mark_idle_some(disk.table, page, age_s)


def block_state(disk: Disk) -> str:
    text, page = "", 0
    while page < disk.table.page_count:
        lines, page = describe_some(disk.table, page)
        text += lines
    return text


def flags(disk: Disk) -> dict[int, str]:
    return {int(line.split()[0]): line.split()[2] for line in block_state(disk).splitlines()}


@pytest.fixture
def disk() -> Iterator[Disk]:
    """Open a disk with a same-filled page, a compressed one, a huge one, and an empty one."""
    with lz4_disk(4) as opened:
        write_disk(opened, 0, b"12345678" * 512 + b"zram " * 819 + b"!" + os.urandom(PAGE))
        yield opened


def test_block_state_has_a_line_for_each_page_in_use(disk: Disk) -> None:
    """First column: zram's block index. Third column: state of the block, s: same page, h: huge page."""
    assert flags(disk) == {0: "s.....", 1: "......", 2: "..h..."}


def test_block_state_is_printed_as_the_kernel_does(disk: Disk) -> None:
    line = block_state(disk).splitlines()[0]
    seconds = int(line[13:25])
    assert line == f"{0:12d} {seconds:12d}.{0:06d} s....."


def test_block_state_tells_the_access_time_since_boot(disk: Disk) -> None:
    """Second column: access time since the system was booted."""
    before_s = int(time.clock_gettime(time.CLOCK_BOOTTIME))
    write_disk(disk, PAGE, os.urandom(PAGE))
    after_s = time.clock_gettime(time.CLOCK_BOOTTIME)
    assert before_s <= float(block_state(disk).splitlines()[1].split()[1]) <= after_s


@pytest.fixture
def exact_disk() -> Iterator[Disk]:
    """Open a disk whose times of access have fractions of a second, as 6.18's have."""
    with lz4_disk(4, in_fractions=True) as opened:
        yield opened


def access_times_us(disk: Disk) -> dict[int, int]:
    return {int(line[:12]): int(line[13:25]) * 1_000_000 + int(line[26:32]) for line in block_state(disk).splitlines()}


def boot_time_us() -> int:
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1000


@pytest.mark.parametrize(
    "access",
    [
        pytest.param(lambda disk: write_disk(disk, PAGE, os.urandom(PAGE)), id="a write"),
        pytest.param(lambda disk: write_disk(disk, PAGE, b"12345678" * 512), id="a write of one word"),
        pytest.param(lambda disk: write_disk(disk, PAGE + 10, b"some"), id="a write of a part"),
        pytest.param(lambda disk: punch_disk(disk, PAGE + 10, 100), id="a hole in a part"),
        pytest.param(lambda disk: read_disk(disk, PAGE, PAGE), id="a read"),
        pytest.param(lambda disk: read_disk(disk, PAGE + 7, 1), id="a read of a part"),
    ],
)
def test_each_access_is_noted_with_its_fraction(exact_disk: Disk, access: Callable[[Disk], object]) -> None:
    write_disk(exact_disk, 0, os.urandom(2 * PAGE))
    others = access_times_us(exact_disk)[0]
    before_us = boot_time_us()
    access(exact_disk)
    accessed_us = access_times_us(exact_disk)
    assert before_us <= accessed_us[1] <= boot_time_us()
    assert accessed_us[0] == others < before_us


def test_fractions_of_a_second_count_for_the_age(exact_disk: Disk) -> None:
    write_disk(exact_disk, 0, os.urandom(PAGE))
    mark_idle(exact_disk, 1)
    assert flags(exact_disk) == {0: "..h..."}
    mark_idle(exact_disk, 0)
    assert flags(exact_disk) == {0: "..hi.."}


def test_an_age_beyond_the_boot_is_nobodys(exact_disk: Disk, disk: Disk) -> None:
    write_disk(exact_disk, 0, os.urandom(PAGE))
    for each in (exact_disk, disk):
        mark_idle(each, (1 << 64) - 1)
        assert "i" not in "".join(flags(each).values())


def test_all_pages_with_an_object_become_idle(disk: Disk) -> None:
    """From now on, any pages on zram are idle pages. (mark_idle: ZRAM_SAME slots are not, nothing is gained there.)"""
    mark_idle(disk)
    assert flags(disk) == {0: "s.....", 1: "...i..", 2: "..hi.."}


def test_a_read_takes_the_idle_mark_away(disk: Disk) -> None:
    """The idle mark will be removed until someone requests access of the block."""
    mark_idle(disk)
    read_disk(disk, 2 * PAGE + 100, 1)
    assert flags(disk) == {0: "s.....", 1: "...i..", 2: "..h..."}


def test_a_write_takes_the_idle_mark_away(disk: Disk) -> None:
    """The idle mark will be removed until someone requests access of the block."""
    mark_idle(disk)
    write_disk(disk, 2 * PAGE, os.urandom(PAGE))
    assert flags(disk)[2] == "..h..."


def test_a_freed_page_is_not_idle_when_it_is_written_again(disk: Disk) -> None:
    mark_idle(disk)
    punch_disk(disk, PAGE, PAGE)
    assert 1 not in flags(disk)
    write_disk(disk, PAGE, os.urandom(PAGE))
    assert flags(disk)[1] == "..h..."


def test_pages_younger_than_the_age_are_not_idle(disk: Disk) -> None:
    """All pages which haven't been accessed in more than 86400 seconds (one day) will be marked idle."""
    mark_idle(disk, 86400)
    assert flags(disk) == {0: "s.....", 1: "......", 2: "..h..."}


def test_marking_by_age_clears_the_mark_of_younger_pages(disk: Disk) -> None:
    mark_idle(disk)
    mark_idle(disk, 86400)
    assert "i" not in "".join(flags(disk).values())


def test_pages_older_than_the_age_are_idle(disk: Disk) -> None:
    """All pages which haven't been accessed in more than … seconds will be marked idle."""
    mark_idle(disk, -1)  # what is accessed before the next second
    assert flags(disk) == {0: "s.....", 1: "...i..", 2: "..hi.."}


def test_reading_an_empty_page_does_not_put_it_in_use() -> None:
    with lz4_disk(4) as disk:
        read_disk(disk, 0, 4 * PAGE)
        assert block_state(disk) == ""


def test_a_sparse_table_is_walked_over_without_touching_it(resident_bytes: Callable[[], int]) -> None:
    with lz4_disk(TIB_PAGES) as disk:
        write_disk(disk, (TIB_PAGES - 1) * PAGE, os.urandom(PAGE))
        before = resident_bytes()
        mark_idle(disk)
        assert flags(disk) == {TIB_PAGES - 1: "..hi.."}
        assert resident_bytes() - before < 8 << 20
