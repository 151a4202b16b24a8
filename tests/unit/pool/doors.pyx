# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""Doors to what a pool consists of, for the tests beside it alone: an arena's zspages, and one size class's compaction.

And a table of slots over a pool, with a lock each, as the block layer has: what several threads need to share a pool.
Threads that only meet at calls of Python hardly ever meet.
"""

from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcmp, memset

from zramfs.atomic cimport load_u64, store_u64
from zramfs.page cimport PAGE_BYTES
from zramfs.pool.arena cimport Arena
from zramfs.pool.compaction cimport Owners as AskedOwners
from zramfs.pool.compaction cimport compact_class
from zramfs.pool.spinlock cimport SpinLock, give_lock, sched_yield, take_lock
from zramfs.pool.zspages cimport MAX_PAGES_PER_ZSPAGE, NONE, SizeClass, fullness_group, tenths_for, zspage_at
from zramfs.pool.zspool cimport NO_HANDLE, ZsPool

cdef extern from * nogil:
    """
    static int zramfs_try_word(uint64_t *word) { return !__atomic_exchange_n(word, 1, __ATOMIC_ACQUIRE); }
    """
    bint try_word "zramfs_try_word"(uint64_t *word)

cdef struct Slot:
    SpinLock lock
    uint64_t handle
    uint32_t size_bytes
    uint8_t stamp


cdef inline uint64_t draw(uint64_t *state) noexcept nogil:
    state[0] ^= state[0] << 13
    state[0] ^= state[0] >> 7
    state[0] ^= state[0] << 17
    return state[0] >> 16


cdef bint try_slot(void *owners, uint64_t owner, uint64_t handle) noexcept nogil:
    cdef Slot *slot = <Slot *>owners + owner
    if not try_word(&slot.lock.word):
        return False
    if slot.handle == handle:
        return True
    give_lock(&slot.lock)
    return False


cdef void relocate_slot(void *owners, uint64_t owner, uint64_t handle) noexcept nogil:
    cdef Slot *slot = <Slot *>owners + owner
    slot.handle = handle
    give_lock(&slot.lock)


cdef class Owners:
    cdef ZsPool pool
    cdef Slot *slots
    cdef uint64_t count
    cdef uint64_t is_over

    def __cinit__(self, ZsPool pool not None, uint64_t count):
        cdef uint64_t i
        self.pool = pool
        self.count = count
        self.slots = <Slot *>calloc(count, sizeof(Slot))
        for i in range(count):
            self.slots[i].handle = NO_HANDLE

    def __dealloc__(self):
        free(self.slots)

    cdef uint64_t begin_write(self, uint64_t page, uint32_t size_bytes, uint8_t stamp) noexcept nogil:
        cdef uint64_t handle = self.pool.allocate(size_bytes, page)
        self.pool.note_peak()
        memset(self.pool.payload(handle), stamp, size_bytes)
        return handle

    cdef void exchange(self, uint64_t page, uint64_t handle, uint32_t size_bytes, uint8_t stamp) noexcept nogil:
        cdef Slot *slot = &self.slots[page]
        cdef uint64_t old
        take_lock(&slot.lock)
        old = slot.handle
        slot.handle = handle
        slot.size_bytes = size_bytes
        slot.stamp = stamp
        give_lock(&slot.lock)
        if old != NO_HANDLE:
            self.pool.free(old)

    cdef bint is_right(self, uint64_t page) noexcept nogil:
        cdef Slot *slot = &self.slots[page]
        cdef uint8_t *payload
        cdef bint is_right = True
        cdef uint32_t i
        take_lock(&slot.lock)
        if slot.handle != NO_HANDLE:
            payload = self.pool.payload(slot.handle)
            for i in range(slot.size_bytes):
                is_right = is_right and payload[i] == slot.stamp
        give_lock(&slot.lock)
        return is_right

    def churn(self, uint64_t seed, uint64_t steps, uint32_t least_bytes, uint32_t most_bytes):
        """Write, read and discard pages at random; how many were read wrongly."""
        cdef uint64_t state = seed * 0x9E3779B97F4A7C15ULL | 1
        cdef uint64_t wrong = 0
        cdef uint64_t i, page, handle, choice
        cdef uint32_t size_bytes
        cdef uint8_t stamp
        with nogil:
            for i in range(steps):
                page = draw(&state) % self.count
                choice = draw(&state) % 8
                if choice < 4:
                    size_bytes = least_bytes + <uint32_t>(draw(&state) % (most_bytes - least_bytes + 1))
                    stamp = <uint8_t>draw(&state)
                    handle = self.begin_write(page, size_bytes, stamp)
                    if draw(&state) % 16 == 0:
                        sched_yield()
                    self.exchange(page, handle, size_bytes, stamp)
                elif choice < 6:
                    wrong += not self.is_right(page)
                else:
                    self.exchange(page, NO_HANDLE, 0, 0)
        return wrong

    def compact_until_over(self):
        """Compact again and again until `end`; how many objects were moved."""
        cdef uint64_t moved = 0
        with nogil:
            while not load_u64(&self.is_over):
                moved += self.pool.compact_some(64, try_slot, relocate_slot, self.slots)
                sched_yield()
        return moved

    def end(self):
        store_u64(&self.is_over, 1)

    def begin(self, uint64_t page, uint32_t size_bytes, uint8_t stamp):
        """The first half of a write: an object that is filled, and that its page does not have yet."""
        return self.begin_write(page, size_bytes, stamp)

    def commit(self, uint64_t page, uint64_t handle, uint32_t size_bytes, uint8_t stamp):
        """The second half: the page has the object."""
        self.exchange(page, handle, size_bytes, stamp)

    def write(self, uint64_t page, uint32_t size_bytes, uint8_t stamp):
        self.exchange(page, self.begin_write(page, size_bytes, stamp), size_bytes, stamp)

    def discard(self, uint64_t page):
        self.exchange(page, NO_HANDLE, 0, 0)

    def handle_of(self, uint64_t page):
        return self.slots[page].handle

    def lock(self, uint64_t page):
        take_lock(&self.slots[page].lock)

    def unlock(self, uint64_t page):
        give_lock(&self.slots[page].lock)

    def compact(self, uint64_t max_objects):
        with nogil:
            moved = self.pool.compact_some(max_objects, try_slot, relocate_slot, self.slots)
        return moved

    def compact_class(self, uint32_t payload_bytes, uint64_t max_objects):
        """Compact one size class; how many objects were moved, and how many pages freed."""
        cdef AskedOwners asked = AskedOwners(try_slot, relocate_slot, self.slots, 0)
        cdef SizeClass *size_class = self.pool._class_at(self.pool.class_of(payload_bytes))
        with nogil:
            moved = compact_class(size_class, self.pool.arena, max_objects, &asked)
        return moved, asked.freed_pages

    def wrong_pages(self):
        return [page for page in range(self.count) if not self.is_right(page)]


def group_of(uint32_t in_use, uint32_t objects):
    """The fullness group of a zspage, as the pool has it."""
    cdef SizeClass size_class
    size_class.objects = objects
    size_class.tenths = tenths_for(objects)
    return fullness_group(&size_class, in_use)


# ---- an arena -------------------------------------------------------------------------------------------------------

cdef class Zspages:
    """An arena, and a size class for each size that its zspages can have: of so many objects, 1 for the huge one."""
    cdef Arena arena
    cdef SizeClass classes[MAX_PAGES_PER_ZSPAGE + 1]

    def __cinit__(self, uint64_t system_page_bytes=4096, uint32_t objects=2):
        self.arena = Arena(system_page_bytes)
        for pages in range(1, MAX_PAGES_PER_ZSPAGE + 1):
            self.classes[pages].pages = pages
            self.classes[pages].objects = objects

    def take(self, int pages):
        """A zspage of so many pages: its number, and where it is."""
        cdef uint32_t index
        with nogil:
            index = self.arena.take(&self.classes[pages])
        if index == NONE:
            return None
        return index, <uint64_t>zspage_at(self.arena.chunks, index).base

    def give(self, uint32_t index, int pages):
        with nogil:
            self.arena.give(index, &self.classes[pages])

    def release_spares(self):
        with nogil:
            self.arena.release_spares()

    def clear(self):
        self.arena.clear()

    def raise_peak(self):
        self.arena.raise_peak()

    def reset_peak(self):
        self.arena.reset_peak()

    def fill(self, uint32_t index, int pages, uint8_t stamp):
        memset(zspage_at(self.arena.chunks, index).base, stamp, pages * PAGE_BYTES)

    def is_filled(self, uint32_t index, int pages, uint8_t stamp):
        """Whether each byte of it is this."""
        return is_filled(zspage_at(self.arena.chunks, index).base, pages * PAGE_BYTES, stamp)

    def in_use(self, uint32_t index):
        """Objects that a zspage has, and has had."""
        return zspage_at(self.arena.chunks, index).in_use, zspage_at(self.arena.chunks, index).untouched

    def use(self, uint32_t index):
        """Leave what objects leave in a zspage."""
        zspage_at(self.arena.chunks, index).untouched = 2

    def objects(self, int pages):
        return self.classes[pages].objects_in_use

    @property
    def used_pages(self):
        return self.arena.used_pages

    @property
    def spare_pages(self):
        return self.arena.spare_pages

    @property
    def spare_pages_max(self):
        return self.arena.spare_pages_max

    @property
    def peak_pages(self):
        return self.arena.peak_pages

    @property
    def zspage_count(self):
        """Zspages that there ever were."""
        return self.arena.zspage_count

    def churn(self, uint64_t seed, uint64_t steps):
        """Take zspages and give them back at random, 64 at a time; how many were somebody else's meanwhile."""
        cdef uint64_t state = seed * 0x9E3779B97F4A7C15ULL | 1
        cdef uint32_t held[64]
        cdef uint8_t pages_of[64]
        cdef uint64_t wrong = 0
        cdef uint64_t i
        cdef int place, pages
        memset(pages_of, 0, sizeof(pages_of))
        with nogil:
            for i in range(steps + 64):
                place = <int>(draw(&state) % 64) if i < steps else <int>(i - steps)
                pages = pages_of[place]
                if pages:
                    wrong += not is_filled(
                        zspage_at(self.arena.chunks, held[place]).base, pages * PAGE_BYTES, <uint8_t>seed
                    )
                    self.arena.give(held[place], &self.classes[pages])
                    pages_of[place] = 0
                elif i < steps:
                    pages = 1 + <int>(draw(&state) % MAX_PAGES_PER_ZSPAGE)
                    held[place] = self.arena.take(&self.classes[pages])
                    memset(zspage_at(self.arena.chunks, held[place]).base, <int>seed, pages * PAGE_BYTES)
                    pages_of[place] = <uint8_t>pages
                if draw(&state) % 256 == 0:
                    self.arena.release_spares()
        return wrong


cdef bint is_filled(const uint8_t *start, uint64_t size_bytes, uint8_t stamp) noexcept nogil:
    return start[0] == stamp and memcmp(start, start + 1, size_bytes - 1) == 0
