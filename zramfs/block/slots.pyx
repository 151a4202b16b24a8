# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""The slot table: what each page of the device holds, a lock for each slot, and the counts of what all of them hold.

`load` reads slots, `store` is the only code that fills and empties them.
"""

import os

from zramfs.atomic cimport count_u64, exchange_int, pause, peek_i64, peek_u16, peek_u64, poke_int, poke_u64
from zramfs.events cimport EFD_CLOEXEC, EFD_NONBLOCK, eventfd, eventfd_read, eventfd_write
from zramfs.threads cimport sched_yield

from zramfs.pool.size_classes import HUGE_CLASS_BYTES as _HUGE_CLASS_BYTES

cdef enum:
    # How often the lock is looked at before its holder is given the CPU: a page takes 2 µs to load, 100 looks take 3.
    LOOKS = 100

assert sizeof(Slot) == 16
assert sizeof(StoreCounts) == 128

HUGE_CLASS_BYTES = _HUGE_CLASS_BYTES


cdef class Codecs:
    """What decompresses the pages of a device on one channel: a codec of each algorithm, by its priority."""

    def __init__(self, PageCodec primary not None, others=None):
        others = others or {}
        self.primary = primary
        self.first, self.second, self.third = (others.get(priority) for priority in (1, 2, 3))

    @property
    def needs_gil(self):
        """Whether one of them is Python, and for the event loop's thread only."""
        return any([each.needs_gil for each in (self.primary, self.first, self.second, self.third) if each is not None])

    cdef int decompress(self, uint8_t priority, const uint8_t *data, int length, uint8_t *page) noexcept nogil:
        """0, or -1 if `data` does not give exactly one page. A page has the priority of an algorithm that there is."""
        if priority == 0:
            return self.primary.decompress_page(data, length, page)
        if priority == 1:
            return self.first.decompress_page(data, length, page)
        if priority == 2:
            return self.second.decompress_page(data, length, page)
        return self.third.decompress_page(data, length, page)


cdef class SlotTable:
    """The slots of `page_count` pages, with the pool that holds their objects.

    The table is address space until a page is written. `limit_pages` is mem_limit, 0 for none; `blocks` are those of
    the backing device, if there is one. `in_fractions`: times of access are kept more exactly than in seconds, for 4
    bytes more a page. Raises MemoryError when not even address space can be had.
    """

    def __cinit__(
        self, uint64_t page_count, uint64_t limit_pages=0, BlockMap blocks=None, int channel_count=1, *,
        bint in_fractions=False
    ):
        cdef uint64_t slots_bytes = page_count * sizeof(Slot)
        cdef uint64_t groups_bytes = (page_count // GROUP_SLOTS + 1) * sizeof(uint16_t)
        self.limit_fd = -1  # before anything fails: `__dealloc__` would close descriptor 0
        self.page_count = page_count
        self.limit_pages_now = limit_pages
        self.blocks = blocks
        self.memory = LazyMemory(slots_bytes + groups_bytes)
        self.slots = <Slot *>self.memory.start
        self.group_use = <uint16_t *>(self.memory.start + slots_bytes)
        if in_fractions:
            self.fractions_memory = LazyMemory(page_count * sizeof(uint32_t))
            self.fractions_ns = <uint32_t *>self.fractions_memory.start
        self.channel_count = channel_count
        self.counts_memory = LazyMemory(channel_count * sizeof(StoreCounts))
        self.counts = <StoreCounts *>self.counts_memory.start
        self.pool = ZsPool()
        self.limit_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)
        if self.limit_fd < 0:
            raise MemoryError("no eventfd for mem_limit")

    def __dealloc__(self):
        self.close_limit()

    # ---- slots --------------------------------------------------------------------------------------------------

    cdef void wait_for_slot(self, Slot *slot) noexcept nogil:
        """Lock a slot that somebody has."""
        cdef int looks = 0
        count_u64(&self.slot_waits, 1)
        while not try_lock_slot(slot):
            while peek_u8(&slot.marks) & LOCKED and looks < LOOKS:
                looks += 1
                pause()
            if looks == LOOKS:
                looks = 0
                sched_yield()

    cdef bint is_group_empty(self, uint64_t page) noexcept nogil:
        """Whether nothing in the page's group is in use; then its slots need not be touched, which costs memory."""
        return peek_u16(&self.group_use[page // GROUP_SLOTS]) == 0

    cdef uint64_t find_page(self, uint64_t page, bint in_use) noexcept nogil:
        """The first page from `page` on that is in use, or that is not; the number of pages if there is none.

        Its slots are looked at without their locks: whoever asks has to expect changes anyway.
        """
        cdef uint16_t all_alike = 0 if in_use else GROUP_SLOTS
        while page < self.page_count:
            if page % GROUP_SLOTS == 0 and peek_u16(&self.group_use[page // GROUP_SLOTS]) == all_alike:
                page += GROUP_SLOTS
            elif (peek_u8(&self.slots[page].kind) != EMPTY) == in_use:
                return page
            else:
                page += 1
        return self.page_count

    def find(self, uint64_t page, bint in_use):
        """Return the first page from `page` on that is in use, or that is not; the number of pages if there is none."""
        with nogil:
            page = self.find_page(page, in_use)
        return page

    # ---- counts -------------------------------------------------------------------------------------------------

    @property
    def stored_pages(self):
        """Pages in use: orig_data_size, in pages."""
        return sum(peek_i64(&self.counts[channel].stored_pages) for channel in range(self.channel_count))

    @property
    def compressed_bytes(self):
        """Bytes of all objects: compr_data_size."""
        return sum(peek_i64(&self.counts[channel].compressed_bytes) for channel in range(self.channel_count))

    @property
    def same_pages(self):
        """Pages that are same-filled, and have no object."""
        return sum(peek_i64(&self.counts[channel].same_pages) for channel in range(self.channel_count))

    @property
    def huge_pages(self):
        """Pages that are stored raw."""
        return sum(peek_i64(&self.counts[channel].huge_pages) for channel in range(self.channel_count))

    @property
    def huge_pages_since(self):
        """Pages that were stored raw, since the beginning."""
        return sum(peek_u64(&self.counts[channel].huge_pages_since) for channel in range(self.channel_count))

    @property
    def freed_notifications(self):
        """Pages that were discarded, empty ones among them."""
        return sum(peek_u64(&self.counts[channel].freed_notifications) for channel in range(self.channel_count))

    @property
    def lock_waits(self):
        """How often the lock of a slot was waited for."""
        return peek_u64(&self.slot_waits)

    # ---- memory -------------------------------------------------------------------------------------------------

    @property
    def limit_pages(self):
        """mem_limit in pages, 0 for none; holds from the next write on."""
        return peek_u64(&self.limit_pages_now)

    @limit_pages.setter
    def limit_pages(self, uint64_t pages):
        poke_u64(&self.limit_pages_now, pages)

    cdef void note_limit_hit(self) noexcept nogil:
        """Count a page that mem_limit keeps out, and tell the event loop of the first."""
        count_u64(&self.limit_hits_now, 1)
        if not exchange_int(&self.limit_told, 1):
            eventfd_write(self.limit_fd, 1)

    @property
    def limit_hits(self):
        """Pages that mem_limit kept out, since `reset_limit_hits`."""
        return peek_u64(&self.limit_hits_now) - self.limit_hits_before

    def reset_limit_hits(self):
        """Count them anew."""
        self.limit_hits_before = peek_u64(&self.limit_hits_now)

    def heed_limit(self):
        """Let `limit_fd` be readable no more, because whoever waits for it has been told."""
        cdef uint64_t ignored
        eventfd_read(self.limit_fd, &ignored)

    def rearm_limit(self):
        """Tell of the next page that mem_limit keeps out."""
        poke_int(&self.limit_told, 0)

    def close_limit(self):
        """Close `limit_fd`, for which nobody waits."""
        if self.limit_fd >= 0:
            os.close(self.limit_fd)
        self.limit_fd = -1

    @property
    def used_pages(self):
        """Pages of memory in zspages: mem_used_total, in pages."""
        return self.pool.pages_in_use()

    @property
    def peak_pages(self):
        """The most of them that there were: mem_used_max."""
        return self.pool.peak_pages()

    @property
    def object_count(self):
        """Objects in the pool: one for each page that is neither empty nor same-filled."""
        return self.pool.objects_in_use()

    @property
    def compacted_pages(self):
        """Pages of memory that compaction gave back."""
        return self.pool.compacted_pages()

    def compact_some(self, uint64_t max_objects):
        """Move up to about `max_objects` objects to free whole zspages; False when nothing is left to gain."""
        cdef uint64_t moved
        with nogil:
            moved = self.pool.compact_some(max_objects, try_lock_owner, relocate_and_unlock, self.slots)
        return moved > 0

    def reset_peak(self):
        """The peak is what is used now (mem_used_max <- 0)."""
        self.pool.reset_peak()

    def close(self):
        """Give all memory back at once; the table holds nothing any more. Nobody uses it."""
        self.close_limit()
        self.pool.clear()
        self.memory = self.fractions_memory = None
        self.slots = NULL
        self.fractions_ns = NULL
        self.page_count = 0

    def __repr__(self):
        return f"<SlotTable {self.stored_pages} of {self.page_count} pages, {self.pool!r}>"


cdef bint try_lock_owner(void *slots, uint64_t owner, uint64_t handle) noexcept nogil:
    """Lock the slot of an object that compaction wants to move; False if it is locked, or has another object.

    A slot that has another one is about to get this one, or has just got rid of it.
    """
    cdef Slot *slot = &(<Slot *>slots)[owner]
    if not try_lock_slot(slot):
        return False
    if slot.kind == STORED and slot.value == handle:
        return True
    unlock_slot(slot)
    return False


cdef void relocate_and_unlock(void *slots, uint64_t owner, uint64_t handle) noexcept nogil:
    cdef Slot *slot = &(<Slot *>slots)[owner]
    slot.value = handle
    unlock_slot(slot)
