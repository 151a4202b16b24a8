# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""A table of slots over a pool, with a lock each, as the block layer has: what several threads need to share a pool.

Compiled for the tests, because threads that only meet at calls of Python hardly ever meet.
"""

from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memset

from zramfs.atomic cimport load_u64, store_u64
from zramfs.pool.spinlock cimport SpinLock, give_lock, sched_yield, take_lock
from zramfs.pool.zspages cimport SizeClass, fullness_group, tenths_for
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

    def wrong_pages(self):
        return [page for page in range(self.count) if not self.is_right(page)]


def group_of(uint32_t in_use, uint32_t objects):
    """The fullness group of a zspage, as the pool has it."""
    cdef SizeClass size_class
    size_class.objects = objects
    size_class.tenths = tenths_for(objects)
    return fullness_group(&size_class, in_use)
