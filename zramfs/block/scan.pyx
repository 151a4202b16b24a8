# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""Walks over the slots of a disk, a slice at a time: idle marks, and what block_state tells of each.

A slice ends after so many steps; a step is a slot, or a whole group of them of which none is in use. Each slot is
locked for its step alone: requests go on meanwhile.
"""

from libc.stdint cimport INT64_MAX, int64_t, uint64_t
from libc.stdio cimport snprintf

from zramfs.block.slots cimport (
    EMPTY,
    GROUP_SLOTS,
    IDLE,
    INCOMPRESSIBLE,
    PRIORITY,
    SAME,
    STORED,
    WRITTEN,
    Slot,
    SlotTable,
    contents_of,
    last_access_of,
    lock_slot,
    marks_of,
    unlock_slot,
    unlock_slot_with,
)
from zramfs.clock cimport BootTime, boot_time
from zramfs.page cimport PAGE_BYTES

cdef enum:
    PORTION_LINES = 256         # of block_state: 0.1 ms
    LINE_BYTES = 64             # room for one
    USUAL_LINE_BYTES = 40       # 12 digits, 12 more, a fraction of 6, flags, blanks and the newline
    NS_PER_US = 1000
    NS_PER_S = 1000000000


def mark_idle_some(SlotTable table not None, uint64_t page, age_s=None):
    """Mark pages from `page` on that were not accessed for `age_s` seconds, or all; where to go on (mark_idle).

    Younger pages lose their mark. Same-filled pages, and those that are written back, never have one.
    """
    cdef int64_t cutoff_ns = INT64_MAX if age_s is None else cutoff(table, age_s)
    cdef int steps = 0
    with nogil:
        while page < table.page_count and steps < SLICE_STEPS:
            steps += 1
            if table.is_group_empty(page):
                page = (page // GROUP_SLOTS + 1) * GROUP_SLOTS
            else:
                mark_idle(table, page, cutoff_ns)
                page += 1
    return min(page, table.page_count)


cdef int64_t cutoff(SlotTable table, age_s):
    """When what is `age_s` old now was accessed, at the latest; negative where that is before the system was booted."""
    cdef BootTime now = boot_time()
    if table.fractions_ns == NULL:
        now.ns = 0
    return ns_of(now) - <int64_t>min(age_s, now.s + 1) * NS_PER_S


cdef inline int64_t ns_of(BootTime moment) noexcept nogil:
    return <int64_t>moment.s * NS_PER_S + moment.ns


cdef void mark_idle(SlotTable table, uint64_t page, int64_t cutoff_ns) noexcept nogil:
    cdef Slot *slot = &table.slots[page]
    lock_slot(table, slot)
    if slot.kind == STORED and ns_of(last_access_of(table, page)) < cutoff_ns:
        unlock_slot_with(slot, marks_of(slot) | IDLE)
    else:
        unlock_slot_with(slot, marks_of(slot) & ~IDLE)


def describe_some(SlotTable table not None, uint64_t page):
    """Lines of block_state for pages from `page` on that are in use, and where to go on (read_block_state)."""
    cdef char lines[PORTION_LINES * LINE_BYTES]
    cdef int length = 0
    cdef int steps = 0
    with nogil:
        while page < table.page_count and steps < SLICE_STEPS and length <= (PORTION_LINES - 1) * LINE_BYTES:
            steps += 1
            if table.is_group_empty(page):
                page = (page // GROUP_SLOTS + 1) * GROUP_SLOTS
            else:
                length += describe(table, page, lines + length)
                page += 1
    return lines[:length].decode("ascii"), min(page, table.page_count)


def described_bytes(SlotTable table not None):
    """How long all lines of block_state are; a few bytes more if pages have numbers of more than 12 digits."""
    return table.stored_pages * USUAL_LINE_BYTES


cdef int describe(SlotTable table, uint64_t page, char *line) noexcept nogil:
    """One line, and its length; none for an empty page. The time has whole seconds, unless the table has fractions."""
    cdef Slot slot
    cdef BootTime accessed
    lock_slot(table, &table.slots[page])
    slot = contents_of(&table.slots[page])
    accessed = last_access_of(table, page)
    unlock_slot(&table.slots[page])
    if slot.kind == EMPTY:
        return 0
    return snprintf(
        line, LINE_BYTES, b"%12zu %12u.%06u %c%c%c%c%c%c\n", <size_t>page, accessed.s, accessed.ns // NS_PER_US,
        c"s" if slot.kind == SAME else c".",
        c"w" if slot.kind == WRITTEN else c".",
        c"h" if slot.length == PAGE_BYTES else c".",
        c"i" if slot.marks & IDLE else c".",
        c"r" if slot.marks & PRIORITY else c".",
        c"n" if slot.marks & INCOMPRESSIBLE else c".",
    )
