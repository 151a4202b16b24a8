"""A pool that several threads use at once, and compaction among owners that are busy."""

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest

from zramfs.pool.by_hand import discard, get, put
from zramfs.pool.size_classes import SIZE_CLASSES
from zramfs.pool.zspool import ZsPool

STEPS = int(os.environ.get("ZRAMFS_TEST_STEPS", "20000"))
PAGES = 512


@contextmanager
def compacting(table: Any) -> Iterator[list[int]]:
    """Compact on a thread of its own meanwhile; the list has how many objects were moved, at the end."""
    moved: list[int] = []
    with ThreadPoolExecutor(1) as executor:
        compaction = executor.submit(table.compact_until_over)
        try:
            yield moved
        finally:
            table.end()
        moved.append(compaction.result())


def run_together(count: int, work: Callable[[int], int]) -> list[int]:
    with ThreadPoolExecutor(count) as executor:
        return list(executor.map(work, range(1, count + 1)))


@pytest.mark.parametrize("system_page_bytes", [4096, 65536])
@pytest.mark.parametrize(
    ("least_bytes", "most_bytes"), [(1600, 1650), (1, 4096), (3600, 3700)], ids=["one class", "all", "huge or not"]
)
@pytest.mark.parametrize("pages", [4, PAGES])
def test_threads_share_a_pool_that_is_compacted(
    doors: Any,
    pages: int,
    least_bytes: int,
    most_bytes: int,
    system_page_bytes: int,
) -> None:
    pool = ZsPool(system_page_bytes)
    table = doors.Owners(pool, pages)
    with compacting(table) as moved:
        wrong = run_together(4, lambda seed: table.churn(seed, STEPS // 4, least_bytes, most_bytes))
    assert wrong == [0] * 4
    assert table.wrong_pages() == []
    assert moved[0] > 0 or pages == 4
    for page in range(pages):
        table.discard(page)
    assert (pool.object_count, pool.used_pages) == (0, 0)
    assert pool.spare_pages * 4096 <= 4 << 20
    assert 0 < pool.peak_pages() <= 2 * pages + 4 * 8 * len(SIZE_CLASSES)


def test_threads_that_only_put_and_discard_leave_nothing() -> None:
    pool = ZsPool()

    def come_and_go(seed: int) -> int:
        for round_ in range(200):
            payloads = [bytes([seed]) * (100 + 37 * (round_ + i) % 3900) for i in range(20)]
            handles = [put(pool, payload) for payload in payloads]
            assert [
                get(pool, handle, len(payload)) for handle, payload in zip(handles, payloads, strict=True)
            ] == payloads
            for handle in handles:
                discard(pool, handle)
        return 0

    assert run_together(4, come_and_go) == [0] * 4
    assert (pool.object_count, pool.used_pages) == (0, 0)


def make_sparse(doors: Any, pages: int) -> tuple[ZsPool, Any]:
    """A pool of which every fourth object is left."""
    pool = ZsPool()
    table = doors.Owners(pool, pages)
    for page in range(pages):
        table.write(page, 800, page % 251)
    for page in range(pages):
        if page % 4:
            table.discard(page)
    return pool, table


def test_compaction_leaves_objects_whose_owner_is_busy(doors: Any) -> None:
    pool, table = make_sparse(doors, PAGES)
    before = pool.used_pages
    busy = {page: table.handle_of(page) for page in range(0, PAGES, 64)}
    for page in busy:
        table.lock(page)
    while table.compact(16):
        pass
    assert {page: table.handle_of(page) for page in busy} == busy
    for page in busy:
        table.unlock(page)
    assert pool.used_pages < before
    assert table.wrong_pages() == []


def test_compaction_comes_to_an_end_when_all_owners_are_busy(doors: Any) -> None:
    _, table = make_sparse(doors, PAGES)
    for page in range(PAGES):
        table.lock(page)
    assert table.compact(1000) == 0


def test_compaction_goes_on_when_owners_are_free_again(doors: Any) -> None:
    pool, table = make_sparse(doors, PAGES)
    for page in range(0, PAGES, 8):
        table.lock(page)
    while table.compact(16):
        pass
    for page in range(0, PAGES, 8):
        table.unlock(page)
    while table.compact(16):
        pass
    geometry = next(size_class for size_class in SIZE_CLASSES if size_class.object_bytes >= 808)
    assert pool.used_pages // geometry.pages_per_zspage == -(-(PAGES // 4) // geometry.objects_per_zspage)
    assert table.wrong_pages() == []


def test_object_that_its_owner_does_not_have_yet_stays(doors: Any) -> None:
    pool, table = make_sparse(doors, PAGES)
    begun = {page: [table.begin(page, 800, 252), table.begin(page, 800, 253)] for page in range(0, PAGES, 32)}
    while table.compact(16):
        pass
    for handles in begun.values():
        assert [get(pool, handle, 800) for handle in handles] == [b"\xfc" * 800, b"\xfd" * 800]
    assert table.wrong_pages() == []


def test_peak_is_that_since_it_was_reset() -> None:
    pool = ZsPool()
    handles = [put(pool, bytes(4096)) for _ in range(10)]
    for handle in handles[3:]:
        discard(pool, handle)
    assert (pool.used_pages, pool.peak_pages()) == (3, 10)
    pool.reset_peak()
    assert pool.peak_pages() == 3
    put(pool, bytes(4096))
    assert pool.peak_pages() == 4


@pytest.mark.parametrize("objects", sorted({size_class.objects_per_zspage for size_class in SIZE_CLASSES}))
def test_fullness_groups_are_the_kernels(doors: Any, objects: int) -> None:
    expected = [0, *(100 * in_use // objects // 10 + 1 for in_use in range(1, objects)), 11]
    assert [doors.group_of(in_use, objects) for in_use in range(objects + 1)] == expected
