"""The zspages of a pool: none has a part in another, and what is given back is taken again, or goes to the system."""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any, Final

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

PAGE: Final = 4096
MIB: Final = 1 << 20
EXTENT_PAGES: Final = 8192
SIZES: Final = range(1, 9)


@pytest.mark.parametrize("pages", SIZES)
def test_zspages_of_one_size_follow_each_other(doors: Any, pages: int) -> None:
    zspages = doors.Zspages()
    places = [zspages.take(pages)[1] for _ in range(100)]
    assert places == [places[0] + number * pages * PAGE for number in range(100)]
    assert (zspages.used_pages, zspages.spare_pages) == (100 * pages, 0)


def test_zspage_lies_within_one_extent(doors: Any) -> None:
    zspages = doors.Zspages()
    begin = zspages.take(7)[1]
    before = [zspages.take(7)[1] for _ in range(EXTENT_PAGES // 7 - 1)]
    assert before[-1] + 2 * 7 * PAGE > begin + EXTENT_PAGES * PAGE  # what is left takes no other
    behind = zspages.take(7)
    zspages.fill(behind[0], 7, 5)
    assert zspages.is_filled(behind[0], 7, 5)
    assert behind[1] not in range(begin, begin + EXTENT_PAGES * PAGE)


def test_zspage_that_is_given_back_is_the_next_of_its_size(doors: Any) -> None:
    zspages = doors.Zspages()
    first, second = zspages.take(3), zspages.take(3)
    zspages.give(first[0], 3)
    assert zspages.spare_pages == 3
    assert zspages.take(2)[1] not in {first[1], second[1]}
    assert zspages.take(3) == first
    assert (zspages.spare_pages, zspages.used_pages) == (0, 8)


def test_zspage_begins_anew_whoever_had_it(doors: Any) -> None:
    zspages = doors.Zspages()
    index, _ = zspages.take(1)
    zspages.use(index)
    zspages.give(index, 1)
    assert zspages.take(1)[0] == index
    assert zspages.in_use(index) == (0, 0)


def test_zspage_without_memory_is_taken_before_a_new_one_is_made(doors: Any) -> None:
    zspages = doors.Zspages()
    taken = [zspages.take(2)[0] for _ in range(10)]
    for index in taken:
        zspages.give(index, 2)
    zspages.release_spares()
    assert sorted(zspages.take(2)[0] for _ in range(10)) == taken
    assert zspages.zspage_count == 10
    zspages.take(2)
    assert zspages.zspage_count == 11


def test_memory_that_went_back_is_zeros(doors: Any) -> None:
    zspages = doors.Zspages()
    index, _ = zspages.take(4)
    zspages.fill(index, 4, 9)
    zspages.give(index, 4)
    zspages.release_spares()
    assert zspages.take(4)[0] == index
    assert zspages.is_filled(index, 4, 0)


def test_4_mib_of_spare_memory_are_kept_and_no_more(doors: Any) -> None:
    zspages = doors.Zspages()
    taken = [zspages.take(8)[0] for _ in range(200)]
    for number, index in enumerate(taken):
        zspages.fill(index, 8, 7)
        zspages.give(index, 8)
        assert zspages.spare_pages == min(8 * (number + 1), 4 * MIB // PAGE)
    again = [zspages.take(8)[0] for _ in range(200)]
    kept = [index for index in again if zspages.is_filled(index, 8, 7)]
    assert len(kept) == 4 * MIB // (8 * PAGE)
    assert all(zspages.is_filled(index, 8, 0) for index in again if index not in kept)


def test_releasing_spares_leaves_what_is_in_use_alone(doors: Any) -> None:
    zspages = doors.Zspages()
    taken = {pages: [zspages.take(pages)[0] for _ in range(4)] for pages in SIZES}
    for pages, (first, second, third, fourth) in taken.items():
        for index in (first, second, third, fourth):
            zspages.fill(index, pages, pages)
        zspages.give(first, pages)
        zspages.give(third, pages)
    zspages.release_spares()
    assert (zspages.spare_pages, zspages.used_pages) == (0, 2 * sum(SIZES))
    for pages, (_, second, _, fourth) in taken.items():
        assert zspages.is_filled(second, pages, pages)
        assert zspages.is_filled(fourth, pages, pages)


def test_huge_zspages_are_objects_and_counted_as_such(doors: Any) -> None:
    zspages = doors.Zspages(objects=1)
    taken = [zspages.take(1)[0] for _ in range(3)]
    assert zspages.objects(1) == 3
    for index in taken:
        zspages.give(index, 1)
    assert zspages.objects(1) == 0


def test_peak_is_what_was_seen_and_begins_anew_with_what_is_in_use(doors: Any) -> None:
    zspages = doors.Zspages()
    taken = [zspages.take(5)[0] for _ in range(4)]
    assert zspages.peak_pages == 0
    zspages.raise_peak()
    for index in taken[1:]:
        zspages.give(index, 5)
    zspages.raise_peak()
    assert zspages.peak_pages == 20
    zspages.reset_peak()
    assert zspages.peak_pages == 5


@pytest.mark.parametrize("system_page_bytes", [PAGE, 65536])
def test_cleared_arena_has_nothing_and_begins_anew(doors: Any, system_page_bytes: int) -> None:
    zspages = doors.Zspages(system_page_bytes)
    for _ in range(20):
        for pages in SIZES:
            zspages.fill(zspages.take(pages)[0], pages, 1)
    zspages.give(0, 1)
    zspages.clear()
    assert (zspages.used_pages, zspages.spare_pages, zspages.peak_pages, zspages.zspage_count) == (0, 0, 0, 0)
    index, _ = zspages.take(1)
    assert index == 0
    assert zspages.is_filled(index, 1, 0)


def test_threads_never_have_the_same_zspage(doors: Any) -> None:
    zspages = doors.Zspages()
    with ThreadPoolExecutor(4) as executor:
        assert list(executor.map(lambda seed: zspages.churn(seed, 2000), range(1, 5))) == [0] * 4
    assert zspages.used_pages == 0
    assert zspages.spare_pages <= zspages.spare_pages_max
    zspages.release_spares()
    assert zspages.spare_pages == 0


class ArenaMachine(RuleBasedStateMachine):
    """An arena against a table of what was taken."""

    def __init__(self, zspages: Any) -> None:
        super().__init__()
        self.zspages = zspages
        self.taken: dict[int, tuple[int, int]] = {}
        """By number: pages, and where they begin."""
        self.most: Counter[int] = Counter()
        """By pages, how many were in use at a time since the arena was cleared."""

    @rule(pages=st.integers(1, 8), count=st.integers(1, 40))
    def take(self, pages: int, count: int) -> None:
        for _ in range(count):
            index, place = self.zspages.take(pages)
            assert index not in self.taken
            assert place % PAGE == 0
            self.taken[index] = pages, place
            self.zspages.fill(index, pages, index % 251)

    @rule(one_in=st.integers(1, 4), rest=st.integers(0, 3))
    def give(self, one_in: int, rest: int) -> None:
        for index in [index for index in self.taken if index % one_in == rest % one_in]:
            self.zspages.give(index, self.taken.pop(index)[0])

    @rule()
    def release_spares(self) -> None:
        self.zspages.release_spares()
        assert self.zspages.spare_pages == 0

    @rule()
    def clear(self) -> None:
        self.zspages.clear()
        self.taken.clear()
        self.most.clear()
        assert self.zspages.spare_pages == 0

    @invariant()
    def no_two_have_a_part_in_each_other(self) -> None:
        begun = sorted((place, pages) for pages, place in self.taken.values())
        for (place, pages), (following, _) in pairwise(begun):
            assert place + pages * PAGE <= following

    @invariant()
    def each_has_what_was_written_to_it(self) -> None:
        assert all(self.zspages.is_filled(index, pages, index % 251) for index, (pages, _) in self.taken.items())

    @invariant()
    def pages_are_counted(self) -> None:
        assert self.zspages.used_pages == sum(pages for pages, _ in self.taken.values())
        assert self.zspages.spare_pages <= self.zspages.spare_pages_max

    @invariant()
    def there_are_no_more_than_were_in_use_at_a_time(self) -> None:
        self.most |= Counter(pages for pages, _ in self.taken.values())
        assert self.zspages.zspage_count == self.most.total()


@pytest.mark.parametrize("system_page_bytes", [PAGE, 65536])
def test_whatever_comes_and_goes_nothing_overlaps_and_all_is_counted(doors: Any, system_page_bytes: int) -> None:
    run_state_machine_as_test(
        lambda: ArenaMachine(doors.Zspages(system_page_bytes)),
        settings=settings(max_examples=15, stateful_step_count=25),
    )
