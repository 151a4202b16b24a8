# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""Reading: from a slot back to 4096 bytes, on any thread. The slot's lock keeps its object alive and where it is."""

from libc.string cimport memcpy, memset

from zramfs.block.slots cimport (
    EMPTY,
    LASTING,
    PRIORITY_SHIFT,
    STORED,
    WRITTEN,
    lock_slot,
    marks_of,
    touch_slot,
    unlock_slot_with,
)
from zramfs.page cimport PAGE_BYTES


cdef int load_page(SlotTable table, uint64_t page, Codecs codecs, uint8_t *out, BootTime now) noexcept nogil:
    """zram_read_page(): fill `out` with 4096 bytes; a `Loaded`. That is an access, and clears the idle mark."""
    cdef Slot *slot = &table.slots[page]
    cdef uint8_t marks
    cdef int result
    if table.is_group_empty(page):
        memset(out, 0, PAGE_BYTES)
        return LOADED
    lock_slot(table, slot)
    marks = marks_of(slot)
    if slot.kind != EMPTY:
        touch_slot(table, page, slot, now)
        marks &= LASTING
    result = decode_page(table, slot, codecs, out)
    unlock_slot_with(slot, marks)
    return result


cdef int decode_page(SlotTable table, const Slot *slot, Codecs codecs, uint8_t *out) noexcept nogil:
    """Fill `out` from a slot that the caller has locked; a `Loaded`."""
    cdef int i
    if slot.kind == STORED and slot.length == PAGE_BYTES:
        memcpy(out, table.pool.payload(slot.value), PAGE_BYTES)
    elif slot.kind == STORED:
        if codecs.decompress(marks_of(slot) >> PRIORITY_SHIFT, table.pool.payload(slot.value), slot.length, out):
            return CORRUPT
    elif slot.kind == WRITTEN:
        return ELSEWHERE
    elif slot.kind == EMPTY or slot.value == 0:
        memset(out, 0, PAGE_BYTES)
    else:
        for i in range(0, PAGE_BYTES, 8):
            memcpy(out + i, &slot.value, 8)  # `out` is aligned to nothing in an unaligned read
    return LOADED


cdef int load_range(
    SlotTable table, uint64_t offset_bytes, uint64_t size_bytes, Codecs codecs, uint8_t *out, BootTime now
) noexcept nogil:
    """Load any range; LOADED, or what the first page that is not to be had so says: then `out` is worth nothing."""
    cdef uint8_t whole[PAGE_BYTES]
    cdef uint64_t page = offset_bytes // PAGE_BYTES
    cdef uint64_t skip = offset_bytes % PAGE_BYTES
    cdef uint64_t portion
    cdef int result
    while size_bytes:
        portion = min(PAGE_BYTES - skip, size_bytes)
        result = load_page(table, page, codecs, out if portion == PAGE_BYTES else <uint8_t *>whole, now)
        if result != LOADED:
            return result
        if portion < PAGE_BYTES:
            memcpy(out, whole + skip, portion)
        out += portion
        size_bytes -= portion
        skip = 0
        page += 1
    return LOADED
