# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""The pages that writeback or recompression chooses, the largest objects first (zram_pp_ctl)."""

from array import array

from libc.stdint cimport uint8_t, uint16_t, uint64_t

from zramfs.block.scan cimport SLICE_STEPS
from zramfs.block.slots cimport (
    GROUP_SLOTS,
    IDLE,
    INCOMPRESSIBLE,
    PENDING,
    PRIORITY_SHIFT,
    STORED,
    Slot,
    SlotTable,
    lock_slot,
    marks_of,
    unlock_slot,
    unlock_slot_with,
)
from zramfs.page cimport PAGE_BYTES

cdef enum:
    BUCKET_BYTES = 64       # PP_BUCKET_SIZE_RANGE: objects whose sizes differ by less are as good as each other
    NO_PRIORITY = -1

# What is asked of a page.
cdef struct Criteria:
    uint8_t marks
    uint16_t least_bytes
    int below_priority      # an algorithm before this one is better than the page's; NO_PRIORITY: whatever that is


cdef bint fits(const Slot *slot, const Criteria *criteria) noexcept nogil:
    cdef uint8_t marks = marks_of(slot)
    if slot.kind != STORED or marks & criteria.marks != criteria.marks or slot.length < criteria.least_bytes:
        return False
    if criteria.below_priority == NO_PRIORITY:
        return True
    return not marks & INCOMPRESSIBLE and (marks >> PRIORITY_SHIFT) + 1 < criteria.below_priority


cdef uint16_t choose(SlotTable table, Slot *slot, const Criteria *criteria) noexcept nogil:
    """Mark a page that fits (scan_slots_for_writeback, scan_slots_for_recompress); the bytes of its object, or 0."""
    cdef uint16_t length = 0
    lock_slot(table, slot)
    if fits(slot, criteria):
        length = slot.length
        unlock_slot_with(slot, marks_of(slot) | PENDING)
    else:
        unlock_slot(slot)
    return length


cdef class Candidates:
    """Pages of a table that wait for being processed. Each has a mark until it is accessed or freed: then it is none.

    Of the objects of about one size the first comes first, so that neighbours stay neighbours in a backing device.
    """

    cdef SlotTable table
    cdef list buckets       # numbers of pages, by the size of their objects
    cdef list taken         # how many of them

    def __init__(self, SlotTable table not None):
        self.table = table
        self.buckets = [array("Q") for _ in range(PAGE_BYTES // BUCKET_BYTES + 1)]
        self.taken = [0] * len(self.buckets)

    def add_some(
        self,
        uint64_t page,
        uint64_t end,
        *,
        bint idle=False,
        bint huge=False,
        bint incompressible=False,
        int below_priority=NO_PRIORITY,
    ):
        """Choose pages with an object from `page` to before `end`, that are idle, huge or incompressible if asked for.

        `below_priority`: for recompression, if algorithms before this priority are better than theirs. A slice of them;
        where to go on.
        """
        cdef Criteria criteria = Criteria(
            marks=(IDLE if idle else 0) | (INCOMPRESSIBLE if incompressible else 0),
            least_bytes=PAGE_BYTES if huge else 0,
            below_priority=below_priority,
        )
        cdef uint16_t lengths[SLICE_STEPS]
        cdef uint64_t pages[SLICE_STEPS]
        cdef int count = 0
        cdef int steps = 0
        cdef int i
        with nogil:
            while page < end and steps < SLICE_STEPS:
                steps += 1
                if self.table.is_group_empty(page):
                    page = (page // GROUP_SLOTS + 1) * GROUP_SLOTS
                    continue
                lengths[count] = choose(self.table, &self.table.slots[page], &criteria)
                pages[count] = page
                count += lengths[count] != 0
                page += 1
        for i in range(count):
            self.buckets[lengths[i] // BUCKET_BYTES].append(pages[i])
        return min(page, end)

    def next(self):
        """Take the next page that is still a candidate; None when there is none left."""
        for size in range(len(self.buckets) - 1, -1, -1):
            bucket = self.buckets[size]
            while self.taken[size] < len(bucket):
                page = bucket[self.taken[size]]
                self.taken[size] += 1
                if self._is_pending(page):
                    return page
        return None

    cdef bint _is_pending(self, uint64_t page):
        cdef Slot *slot = &self.table.slots[page]
        lock_slot(self.table, slot)
        cdef bint pending = marks_of(slot) & PENDING
        unlock_slot(slot)
        return pending

    def __len__(self):
        return sum(map(len, self.buckets)) - sum(self.taken)

    def __repr__(self):
        return f"<Candidates {len(self)} pages>"
