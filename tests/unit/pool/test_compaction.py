"""Compaction of one size class: what moves, what stays, and what is gained."""

from dataclasses import dataclass
from typing import Any, Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zramfs.pool.size_classes import SIZE_CLASSES, SizeClass, class_index
from zramfs.pool.zspool import ZsPool

MANY: Final = 1 << 30
COUNT: Final = 200
SIZES: Final = (1, 100, 800, 1300, 2000, 3000)


@dataclass
class Stored:
    """Pages of one size in a pool, of which some are left."""

    pool: ZsPool
    table: Any
    size_bytes: int
    left: set[int]

    @property
    def size_class(self) -> SizeClass:
        return SIZE_CLASSES[class_index(self.size_bytes)]

    def compact(self, max_objects: int = MANY) -> tuple[int, int]:
        """Objects that moved, and pages that were freed."""
        moved: tuple[int, int] = self.table.compact_class(self.size_bytes, max_objects)
        return moved

    def handles(self) -> dict[int, int]:
        return {page: self.table.handle_of(page) for page in self.left}

    def zspages(self) -> int:
        return len({handle >> 16 for handle in self.handles().values()})

    def fewest_zspages(self) -> int:
        return -(-len(self.left) // self.size_class.objects_per_zspage)

    def check(self) -> None:
        """See that each object is there once, has its contents, and that the pages are those of the zspages."""
        assert self.table.wrong_pages() == []
        handles = self.handles()
        assert len(set(handles.values())) == len(handles) == self.pool.object_count
        assert self.pool.used_pages == self.zspages() * self.size_class.pages_per_zspage


def store(doors: Any, size_bytes: int, left: set[int], count: int = COUNT) -> Stored:
    pool = ZsPool()
    table = doors.Owners(pool, count)
    for page in range(count):
        table.write(page, size_bytes, page % 251)
    for page in set(range(count)) - left:
        table.discard(page)
    return Stored(pool, table, size_bytes, left)


def every(step: int) -> set[int]:
    return set(range(0, COUNT, step))


@pytest.mark.parametrize("size_bytes", SIZES)
def test_sparse_zspages_become_as_few_as_there_can_be(doors: Any, size_bytes: int) -> None:
    stored = store(doors, size_bytes, every(4))
    before = stored.pool.used_pages
    _, freed = stored.compact()
    assert stored.zspages() == stored.fewest_zspages()
    assert freed == before - stored.pool.used_pages
    stored.check()


def test_pages_that_were_freed_are_spare(doors: Any) -> None:
    stored = store(doors, 800, every(4))
    spare = stored.pool.spare_pages
    _, freed = stored.compact()
    assert freed > 0
    assert stored.pool.spare_pages == spare + freed


def test_nothing_moves_where_less_than_a_zspage_is_to_be_gained(doors: Any) -> None:
    per_zspage = SIZE_CLASSES[class_index(800)].objects_per_zspage
    left = set(range(10 * per_zspage)) - {1, per_zspage + 1}
    stored = store(doors, 800, left, 10 * per_zspage)
    before = stored.handles()
    assert stored.compact() == (0, 0)
    assert stored.handles() == before


def test_other_size_classes_stay_as_they_are(doors: Any) -> None:
    stored = store(doors, 800, every(4))
    before = stored.handles()
    assert stored.table.compact_class(1300, MANY) == (0, 0)
    assert stored.handles() == before


def test_it_stops_behind_the_zspage_in_which_enough_objects_have_moved(doors: Any) -> None:
    stored = store(doors, 800, every(2))
    moved, _ = stored.compact(10)
    assert 10 <= moved < 10 + stored.size_class.objects_per_zspage
    stored.check()


def test_object_moves_once_at_the_most(doors: Any) -> None:
    stored = store(doors, 100, every(4))
    before = stored.handles()
    moved, _ = stored.compact()
    assert sum(handle != before[page] for page, handle in stored.handles().items()) == moved


def test_objects_come_to_the_fullest_zspage(doors: Any) -> None:
    per_zspage = SIZE_CLASSES[class_index(800)].objects_per_zspage
    count = 4 * per_zspage
    fullest = set(range(per_zspage, 2 * per_zspage - 1))
    stored = store(doors, 800, fullest | {0, 2 * per_zspage, 3 * per_zspage}, count)
    before = stored.handles()
    stored.compact()
    assert {page: stored.handles()[page] for page in fullest} == {page: before[page] for page in fullest}
    stored.check()


def test_of_two_zspages_about_as_full_the_sparser_one_is_emptied(doors: Any) -> None:
    per_zspage = SIZE_CLASSES[class_index(1)].objects_per_zspage
    fuller, sparser = set(range(45)), set(range(per_zspage, per_zspage + 41))  # of 128: both in the fourth tenth
    stored = store(doors, 1, fuller | sparser, 2 * per_zspage)
    before = stored.handles()
    assert stored.compact()[0] == len(sparser)
    assert {page: stored.handles()[page] for page in fuller} == {page: before[page] for page in fuller}
    stored.check()


def test_zspage_with_an_object_that_may_not_move_is_passed_over(doors: Any) -> None:
    stored = store(doors, 800, every(4))
    stored.table.lock(0)
    stuck = stored.table.handle_of(0)
    stored.compact()
    assert stored.table.handle_of(0) == stuck
    stored.table.unlock(0)
    assert stored.zspages() <= stored.fewest_zspages() + 1
    stored.check()


def test_it_ends_when_nothing_may_move(doors: Any) -> None:
    stored = store(doors, 800, every(4))
    before = stored.handles()
    for page in stored.left:
        stored.table.lock(page)
    assert stored.compact() == (0, 0)
    for page in stored.left:
        stored.table.unlock(page)
    assert stored.handles() == before


def test_what_was_passed_over_moves_the_next_time(doors: Any) -> None:
    stored = store(doors, 800, every(4))
    for page in stored.left:
        stored.table.lock(page)
    stored.compact()
    for page in stored.left:
        stored.table.unlock(page)
    stored.compact()
    assert stored.zspages() == stored.fewest_zspages()
    stored.check()


def test_object_that_is_in_no_slot_stays_where_it_is(doors: Any) -> None:
    stored = store(doors, 800, every(8))
    begun = {page: stored.table.begin(page, 800, 77) for page in range(1, COUNT, 32)}
    stored.compact()
    for page, handle in begun.items():
        stored.table.commit(page, handle, 800, 77)
    stored.left |= set(begun)
    stored.check()
    assert {page: stored.table.handle_of(page) for page in begun} == begun


@settings(max_examples=60)
@given(
    size_bytes=st.sampled_from(SIZES),
    left=st.sets(st.integers(0, COUNT - 1), min_size=1),
    locked=st.sets(st.integers(0, COUNT - 1)),
    max_objects=st.integers(1, 300),
)
def test_no_object_is_lost_and_none_moves_while_its_slot_is_locked(
    doors: Any, size_bytes: int, left: set[int], locked: set[int], max_objects: int
) -> None:
    stored = store(doors, size_bytes, left)
    before, used = stored.handles(), stored.pool.used_pages
    for page in locked:
        stored.table.lock(page)
    moved, freed = stored.compact(max_objects)
    after = stored.handles()
    for page in locked:
        stored.table.unlock(page)
    assert {page: after[page] for page in left & locked} == {page: before[page] for page in left & locked}
    assert sum(after[page] != before[page] for page in left) <= moved
    assert stored.pool.used_pages == used - freed
    stored.check()
    stored.compact()
    assert stored.zspages() == stored.fewest_zspages()
    stored.check()
