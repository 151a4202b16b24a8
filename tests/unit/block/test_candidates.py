"""The pages that upkeep chooses: which fit, in which order they come, and which are none any more."""

import os
from collections.abc import Callable, Iterator

import pytest
from disks import lz4_disk
from reads import punch_disk, read_disk, write_disk

from zramfs.block.candidates import Candidates
from zramfs.block.disk import Disk
from zramfs.block.page_upkeep import mark_incompressible
from zramfs.block.scan import mark_idle_some

PAGE = 4096
PAGES = 1000


@pytest.fixture
def disk(compressible_pages: Callable[..., bytes]) -> Iterator[Disk]:
    """Open a disk whose pages 0 and 3 are huge, 1 and 900 compress, 2 is same-filled, and all others are empty."""
    with lz4_disk(PAGES) as opened:
        write_disk(opened, 0, os.urandom(PAGE) + compressible_pages(1) + b"12345678" * 512 + os.urandom(PAGE))
        write_disk(opened, 900 * PAGE, compressible_pages(1))
        yield opened


def chosen(disk: Disk, **criteria: bool | int) -> Candidates:
    found, page = Candidates(disk.table), 0
    while page < PAGES:
        after = found.add_some(page, PAGES, **criteria)  # type: ignore[arg-type]
        assert page < after <= PAGES
        page = after
    return found


def taken(candidates: Candidates) -> list[int]:
    return list(iter(candidates.next, None))


def mark_idle(disk: Disk) -> None:
    page = 0
    while page < PAGES:
        page = mark_idle_some(disk.table, page)


def test_every_page_with_an_object_is_chosen_the_largest_first(disk: Disk) -> None:
    assert taken(chosen(disk)) == [0, 3, 1, 900]


def test_a_candidate_comes_once(disk: Disk) -> None:
    candidates = chosen(disk)
    assert len(candidates) == 4
    assert candidates.next() == 0
    assert len(candidates) == 3
    assert taken(candidates) == [3, 1, 900]
    assert candidates.next() is None


def test_only_the_range_is_looked_at(disk: Disk) -> None:
    candidates = Candidates(disk.table)
    assert candidates.add_some(1, 3) == 3
    assert taken(candidates) == [1]


def test_huge_pages_are_those_that_no_codec_shrank(disk: Disk) -> None:
    assert taken(chosen(disk, huge=True)) == [0, 3]


def test_idle_pages_are_those_that_nobody_accessed_since_they_were_marked(disk: Disk) -> None:
    assert taken(chosen(disk, idle=True)) == []
    mark_idle(disk)
    read_disk(disk, 0, PAGE)
    assert taken(chosen(disk, idle=True)) == [3, 1, 900]
    assert taken(chosen(disk, idle=True, huge=True)) == [3]


def test_incompressible_pages_are_those_that_recompression_gave_up(disk: Disk) -> None:
    chosen(disk)
    mark_incompressible(disk.table, 3)
    assert taken(chosen(disk, incompressible=True)) == [3]


def test_pages_for_a_better_algorithm_are_of_a_priority_before_it_and_not_given_up(disk: Disk) -> None:
    chosen(disk)
    mark_incompressible(disk.table, 3)
    assert taken(chosen(disk, below_priority=2)) == [0, 1, 900]
    assert taken(chosen(disk, below_priority=1)) == []


@pytest.mark.parametrize(
    "access", [read_disk, lambda disk, at, size: write_disk(disk, at, os.urandom(size)), punch_disk]
)
def test_a_page_that_is_accessed_or_freed_is_a_candidate_no_more(disk: Disk, access: Callable[..., object]) -> None:
    candidates = chosen(disk)
    access(disk, 3 * PAGE, PAGE)
    assert taken(candidates) == [0, 1, 900]
