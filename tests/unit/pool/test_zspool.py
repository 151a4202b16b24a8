import os
import random
import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import Callable

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from zramfs.pool.by_hand import compact, discard, get, put
from zramfs.pool.extents import SYSTEM_PAGE_BYTES
from zramfs.pool.size_classes import SIZE_CLASSES, SizeClass, class_index
from zramfs.pool.zspool import ZsPool

MANY = 56_000  # objects of 3600 bytes: about 200 MB
MIB = 1 << 20

# What a daemon that swaps does; in a process of its own, as it cannot be taken back.
LOCKED = """
import ctypes, sys
from zramfs.pool.by_hand import compact, discard, get, put
from zramfs.pool.zspool import ZsPool

def resident_mib():
    return int(open("/proc/self/status").read().partition("VmRSS:")[2].split()[0]) // 1024

if ctypes.CDLL(None).mlockall(1 | 2 | 4):
    sys.exit(77)
pool = ZsPool()
before = resident_mib()
handles = [put(pool, bytes(3600), owner) for owner in range(20000)]
assert resident_mib() - before > 60
for handle in handles:
    discard(pool, handle)
assert resident_mib() - before < 12, "discarded"
for owner in range(20000):
    put(pool, bytes(3600), owner)
pool.clear()
assert resident_mib() - before < 8, "cleared"
"""


def size_class_of(payload: bytes) -> SizeClass:
    return SIZE_CLASSES[class_index(len(payload))]


def zspage_of(handle: int) -> int:
    return handle >> 16


def fill(pool: ZsPool, count: int, payload_bytes: int) -> list[int]:
    return [put(pool, b"%8d" % owner * (payload_bytes // 8), owner) for owner in range(count)]


@pytest.mark.parametrize("payload_bytes", [1, 24, 25, 32, 2040, 3624, 3625, 4096])
def test_put_keeps_the_bytes(payload_bytes: int) -> None:
    pool = ZsPool()
    payloads = [os.urandom(payload_bytes) for _ in range(16)]
    handles = [put(pool, payload) for payload in payloads]
    assert [get(pool, handle, payload_bytes) for handle in handles] == payloads


@pytest.mark.parametrize("payload", [b"", bytes(4097)])
def test_put_refuses_what_is_no_object(payload: bytes) -> None:
    with pytest.raises(ValueError, match="1 to 4096 bytes"):
        put(ZsPool(), payload)


def test_put_counts_objects() -> None:
    pool = ZsPool()
    handles = fill(pool, 5, 800)
    discard(pool, handles[2])
    assert pool.object_count == 4


def test_used_pages_moves_by_whole_zspages() -> None:
    pool = ZsPool()
    size_class = SIZE_CLASSES[class_index(32)]
    used = []
    for count in range(2 * size_class.objects_per_zspage + 1):
        put(pool, bytes(32), count)
        used.append(pool.used_pages)
    assert Counter(used) == {
        3: size_class.objects_per_zspage,
        6: size_class.objects_per_zspage,
        9: 1,
    }


def test_a_zspage_goes_with_its_last_object() -> None:
    pool = ZsPool()
    first, second = fill(pool, 2, 32)
    discard(pool, first)
    assert pool.used_pages == 3
    discard(pool, second)
    assert pool.used_pages == 0


def test_a_freed_place_is_used_again() -> None:
    pool = ZsPool()
    handles = fill(pool, 256, 1000)
    used = pool.used_pages
    for handle in handles[::2]:
        discard(pool, handle)
    for _ in handles[::2]:
        put(pool, bytes(1000))
    assert pool.used_pages == used


def test_put_prefers_the_fullest_zspage() -> None:
    pool = ZsPool()
    handles = fill(pool, 256, 1000)
    zspages = defaultdict(list)
    for handle in handles:
        zspages[zspage_of(handle)].append(handle)
    sparse, dense = list(zspages)[:2]
    for handle in zspages[sparse][1:]:
        discard(pool, handle)
    discard(pool, zspages[dense][0])
    assert zspage_of(put(pool, bytes(1000))) == dense


def test_compact_moves_objects_and_tells_their_owners() -> None:
    pool = ZsPool()
    handles = dict(enumerate(fill(pool, 1000, 800)))
    for owner in range(1000):
        if owner % 4:
            discard(pool, handles.pop(owner))
    before = pool.used_pages
    handles.update(compact(pool))
    assert pool.used_pages < before / 3
    for owner, handle in handles.items():
        assert get(pool, handle, 800) == b"%8d" % owner * 100


def test_compact_stops_after_about_so_many_objects() -> None:
    pool = ZsPool()
    handles = fill(pool, 1000, 800)
    for handle in handles[::2]:
        discard(pool, handle)
    per_zspage = SIZE_CLASSES[class_index(800)].objects_per_zspage
    assert 10 <= len(compact(pool, 10)) < 10 + per_zspage


def test_compact_of_a_dense_pool_moves_nothing() -> None:
    pool = ZsPool()
    fill(pool, 1000, 800)
    assert compact(pool) == []


def test_compact_leaves_huge_objects_where_they_are() -> None:
    pool = ZsPool()
    handles = fill(pool, 100, 4096)
    for handle in handles[::2]:
        discard(pool, handle)
    assert compact(pool) == []
    assert pool.used_pages == 50


def test_clear_forgets_everything_and_the_pool_works_on() -> None:
    pool = ZsPool()
    fill(pool, 1000, 800)
    pool.clear()
    assert (pool.object_count, pool.used_pages, pool.spare_pages) == (0, 0, 0)
    handle = put(pool, b"again")
    assert get(pool, handle, 5) == b"again"


def test_clear_gives_the_memory_back(resident_bytes: Callable[[], int]) -> None:
    pool = ZsPool()
    before = resident_bytes()
    for owner in range(MANY):
        put(pool, bytes(3600), owner)
    assert resident_bytes() - before > 190 * MIB
    pool.clear()
    assert resident_bytes() - before < 4 * MIB


def test_discarding_everything_gives_the_memory_back(resident_bytes: Callable[[], int]) -> None:
    pool = ZsPool()
    before = resident_bytes()
    handles = [put(pool, bytes(3600), owner) for owner in range(MANY)]
    handles_bytes = 4 * MIB
    random.Random(0).shuffle(handles)
    for handle in handles:
        discard(pool, handle)
    assert pool.used_pages == 0
    assert pool.spare_pages <= 1024
    assert resident_bytes() - before < pool.spare_pages * 4096 + handles_bytes + 4 * MIB


def test_compaction_gives_the_memory_back(resident_bytes: Callable[[], int]) -> None:
    pool = ZsPool()
    before = resident_bytes()
    handles = [put(pool, bytes(1000), owner) for owner in range(2 * MANY)]
    peak = resident_bytes() - before
    for owner in range(len(handles)):
        if owner % 8:
            discard(pool, handles[owner])
    while compact(pool, 1 << 16):
        pass
    assert pool.spare_pages == 0
    assert resident_bytes() - before < peak / 4


def test_locked_memory_goes_back_too() -> None:
    ended = subprocess.run([sys.executable, "-c", LOCKED], timeout=60, check=False, capture_output=True, text=True)
    if ended.returncode == 77:
        pytest.skip("mlockall is not allowed here")
    assert ended.returncode == 0, ended.stderr


def test_memory_in_use_is_resident_as_used_pages_says(resident_bytes: Callable[[], int]) -> None:
    pool = ZsPool()
    before = resident_bytes()
    for owner in range(MANY):
        put(pool, bytes(2000), owner)
    assert resident_bytes() - before == pytest.approx(pool.used_pages * 4096, rel=0.02)


class PoolMachine(RuleBasedStateMachine):
    """A pool against a dict: contents, counts, and where each object may be."""

    owners: Bundle[int] = Bundle("owners")
    system_page_bytes = SYSTEM_PAGE_BYTES

    def __init__(self) -> None:
        super().__init__()
        self.pool = ZsPool(self.system_page_bytes)
        self.payloads: dict[int, bytes] = {}
        self.handles: dict[int, int] = {}
        self.next_owner = 0

    def zspages(self) -> dict[int, list[int]]:
        """Owners by the zspage that their object is in."""
        zspages = defaultdict(list)
        for owner, handle in self.handles.items():
            zspages[zspage_of(handle)].append(owner)
        return zspages

    def store(self, payload: bytes) -> int:
        owner = self.next_owner
        self.next_owner += 1
        self.handles[owner] = put(self.pool, payload, owner)
        self.payloads[owner] = payload
        return owner

    @rule(target=owners, length=st.integers(1, 4096), seed=st.integers(0, 1 << 32))
    def put(self, length: int, seed: int) -> int:
        payload = random.Random(seed).randbytes(length)
        others = [owners for owners in self.zspages().values() if self.same_class(owners, payload)]
        used = self.pool.used_pages
        owner = self.store(payload)
        room = any(len(owners) < size_class_of(payload).objects_per_zspage for owners in others)
        grown = 0 if room else size_class_of(payload).pages_per_zspage
        assert self.pool.used_pages == used + grown
        return owner

    def same_class(self, owners: list[int], payload: bytes) -> bool:
        return size_class_of(self.payloads[owners[0]]) == size_class_of(payload)

    @rule(length=st.sampled_from([20, 32, 500, 800, 1300, 2000, 3000, 3600, 4096]), count=st.integers(1, 60))
    def put_many(self, length: int, count: int) -> None:
        for _ in range(count):
            self.store(random.Random(self.next_owner).randbytes(length))

    @rule(owner=consumes(owners))
    def discard(self, owner: int) -> None:
        if owner in self.handles:
            discard(self.pool, self.handles.pop(owner))
            del self.payloads[owner]

    @rule(one_in=st.integers(1, 7), rest=st.integers(0, 6))
    def discard_many(self, one_in: int, rest: int) -> None:
        for owner in [owner for owner in self.handles if owner % one_in == rest % one_in]:
            self.discard(owner)

    @rule(max_objects=st.integers(1, 100) | st.none())
    def compact(self, max_objects: int | None) -> None:
        used = self.pool.used_pages
        moves = compact(self.pool) if max_objects is None else compact(self.pool, max_objects)
        assert self.pool.used_pages <= used
        self.handles.update(moves)
        if max_objects is None:
            assert all(free < size_class.objects_per_zspage for size_class, free in self.slack().items())

    def slack(self) -> Counter[SizeClass]:
        """Places for objects that are free, in the zspages of each class."""
        free: Counter[SizeClass] = Counter()
        for owners in self.zspages().values():
            size_class = size_class_of(self.payloads[owners[0]])
            free[size_class] += size_class.objects_per_zspage - len(owners)
        return free

    @rule()
    def clear(self) -> None:
        self.pool.clear()
        self.payloads.clear()
        self.handles.clear()

    @invariant()
    def every_object_is_right(self) -> None:
        for owner, payload in self.payloads.items():
            assert get(self.pool, self.handles[owner], len(payload)) == payload

    @invariant()
    def every_object_has_a_place_of_its_own(self) -> None:
        assert len(set(self.handles.values())) == len(self.handles) == self.pool.object_count
        for owners in self.zspages().values():
            size_class = size_class_of(self.payloads[owners[0]])
            assert all(size_class_of(self.payloads[owner]) == size_class for owner in owners)
            assert all(self.handles[owner] & 0xFFFF < size_class.objects_per_zspage for owner in owners)

    @invariant()
    def used_pages_are_those_of_the_zspages(self) -> None:
        pages = sum(size_class_of(self.payloads[owners[0]]).pages_per_zspage for owners in self.zspages().values())
        assert self.pool.used_pages == pages
        assert pages * 4096 >= sum(map(len, self.payloads.values()))


PoolMachine.TestCase.settings = settings(max_examples=60, stateful_step_count=30)
TestPoolAgainstADict = PoolMachine.TestCase


class LargePagesMachine(PoolMachine):
    """The same where sixteen of our pages are one of the system's."""

    system_page_bytes = 65536


LargePagesMachine.TestCase.settings = settings(max_examples=30, stateful_step_count=30)
TestPoolOfLargePagesAgainstADict = LargePagesMachine.TestCase
