# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""The pages that writeback or recompression chooses, the largest objects first (zram_pp_ctl)."""

from array import array

from libc.stdint cimport uint8_t, uint64_t

from zramfs.codec.run cimport PAGE_BYTES
from zramfs.device.scan cimport SLICE_STEPS, is_group_empty, next_group
from zramfs.device.slots cimport IDLE, INCOMPRESSIBLE, PENDING, PRIORITY_SHIFT, STORED, Slot, SlotTable

cdef enum:
    BUCKET_BYTES = 64       # PP_BUCKET_SIZE_RANGE: objects whose sizes differ by less are as good as each other
    NO_PRIORITY = -1


cdef inline bint can_improve(Slot *slot, int below_priority) noexcept:
    """Whether an algorithm is left to try (scan_slots_for_recompress)."""
    return not slot.marks & INCOMPRESSIBLE and (slot.marks >> PRIORITY_SHIFT) + 1 < below_priority


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
        cdef SlotTable table = self.table
        cdef uint8_t required = (IDLE if idle else 0) | (INCOMPRESSIBLE if incompressible else 0)
        cdef int steps = 0
        cdef Slot *slot
        while page < end and steps < SLICE_STEPS:
            steps += 1
            if is_group_empty(table, page):
                page = next_group(page)
                continue
            slot = &table.slots[page]
            if (
                slot.kind == STORED
                and slot.marks & required == required
                and (not huge or slot.length == PAGE_BYTES)
                and (below_priority == NO_PRIORITY or can_improve(slot, below_priority))
            ):
                slot.marks |= PENDING
                self.buckets[slot.length // BUCKET_BYTES].append(page)
            page += 1
        return min(page, end)

    def next(self):
        """Take the next page that is still a candidate; None when there is none left."""
        for size in range(len(self.buckets) - 1, -1, -1):
            bucket = self.buckets[size]
            while self.taken[size] < len(bucket):
                page = bucket[self.taken[size]]
                self.taken[size] += 1
                if self.table.slots[<uint64_t>page].marks & PENDING:
                    return page
        return None

    def __len__(self):
        return sum(map(len, self.buckets)) - sum(self.taken)

    def __repr__(self):
        return f"<Candidates {len(self)} pages>"
