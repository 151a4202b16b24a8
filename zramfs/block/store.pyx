# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""Every commit: the only code that fills and empties slots, on any thread.

Objects are allocated and copied before the slot's lock is taken, swapped under it, and freed after it; a page is
either its old or its new contents, and each object belongs to exactly one slot.
"""

from libc.stdint cimport uint16_t
from libc.string cimport memcpy, memset

from zramfs.atomic cimport count_i64, count_u16, count_u64, peek_u64, poke_u8
from zramfs.block.load cimport ELSEWHERE, decode_page
from zramfs.block.slots cimport (
    EMPTY,
    GROUP_SLOTS,
    LASTING,
    PENDING,
    PRIORITY_SHIFT,
    SAME,
    STORED,
    WRITTEN,
    StoreCounts,
    contents_of,
    forget_access,
    lock_slot,
    marks_of,
    touch_slot,
    unlock_slot,
    unlock_slot_with,
)
from zramfs.codec.run cimport SAME_FILLED
from zramfs.page cimport PAGE_BYTES
from zramfs.pool.zspool cimport NO_HANDLE

from zramfs.pool.size_classes import HUGE_CLASS_BYTES as _HUGE_CLASS_BYTES

cdef enum:
    HUGE_CLASS_BYTES = 3625     # compressed pages of so many bytes are stored raw

assert HUGE_CLASS_BYTES == _HUGE_CLASS_BYTES


cdef int store_run(
    SlotTable table, int channel, uint64_t first_page, CompressedRun run, BootTime now
) noexcept nogil:
    """Commit a compressed run to the pages from `first_page` on, in order; a `Stored`.

    At the first page that is not kept it ends; that page and those behind it have their old contents.
    """
    cdef Slot fresh
    cdef int i
    cdef int result
    for i in range(run.count):
        expect_replaced(table, first_page + i)
        result = make_contents(table, first_page + i, &run.pages[i], &fresh)
        if result != KEPT:
            return result
        replace_contents(table, channel, first_page + i, fresh, now)
    return KEPT


cdef int make_contents(SlotTable table, uint64_t page, CompressedPage *compressed, Slot *fresh) noexcept nogil:
    """Describe a compressed page as a slot, with an object of its own if it needs one; a `Stored`.

    As zram_write_page() does: allocate, then look at the peak and the limit. So both count the old object and the new.
    """
    cdef bint is_huge = compressed.length >= HUGE_CLASS_BYTES
    cdef uint16_t length = PAGE_BYTES if is_huge else <uint16_t>compressed.length
    cdef uint64_t limit_pages
    fresh[0] = Slot(value=compressed.fill, accessed_s=0, length=0, kind=SAME, marks=0)
    if compressed.length == SAME_FILLED:
        return KEPT
    if compressed.length < 0:
        return NOT_COMPRESSED
    fresh[0] = Slot(value=table.pool.allocate(length, page), accessed_s=0, length=length, kind=STORED, marks=0)
    if fresh.value == NO_HANDLE:
        return NO_ROOM
    table.pool.note_peak()
    limit_pages = peek_u64(&table.limit_pages_now)
    if limit_pages and table.pool.pages_in_use() > limit_pages:
        table.pool.free(fresh.value)
        table.note_limit_hit()
        return NO_ROOM
    memcpy(table.pool.payload(fresh.value), compressed.page if is_huge else compressed.data, length)
    return KEPT


cdef inline void expect_replaced(SlotTable table, uint64_t page) noexcept nogil:
    """Have the CPU fetch what the page's old object is freed by, while its new one is made."""
    cdef Slot *slot = &table.slots[page]
    lock_slot(table, slot)
    if slot.kind == STORED:
        table.pool.expect_free(slot.value)
    unlock_slot(slot)


cdef void replace_contents(SlotTable table, int channel, uint64_t page, Slot fresh, BootTime now) noexcept nogil:
    """Let the page hold this, which is an access, and free what it held."""
    cdef Slot *slot = &table.slots[page]
    lock_slot(table, slot)
    touch_slot(table, page, slot, now)
    free_contents(table, exchange_slot(table, channel, page, slot, fresh))


cdef inline uint16_t object_bytes(const Slot *slot) noexcept nogil:
    """How much of the pool a slot's object takes: none once it is written back."""
    return slot.length if slot.kind == STORED else 0


cdef Slot exchange_slot(SlotTable table, int channel, uint64_t page, Slot *slot, Slot fresh) noexcept nogil:
    """Fill a slot that the caller has locked, unlock and count it; what it held is the caller's to free.

    The time of its last access stays.
    """
    cdef Slot old = contents_of(slot)
    cdef StoreCounts *counts = &table.counts[channel]
    cdef bint was_used = old.kind != EMPTY
    cdef bint is_used = fresh.kind != EMPTY
    cdef uint16_t old_bytes = object_bytes(&old)
    cdef uint16_t fresh_bytes = object_bytes(&fresh)
    slot.value = fresh.value
    slot.length = fresh.length
    poke_u8(&slot.kind, fresh.kind)
    if is_used != was_used:
        count_u16(&table.group_use[page // GROUP_SLOTS], 1 if is_used else <uint16_t>-1)
        count_i64(&counts.stored_pages, <int>is_used - <int>was_used)
    unlock_slot_with(slot, fresh.marks)
    if fresh_bytes != old_bytes:
        count_i64(&counts.compressed_bytes, <int>fresh_bytes - <int>old_bytes)
    if (fresh.kind == SAME) != (old.kind == SAME):
        count_i64(&counts.same_pages, <int>(fresh.kind == SAME) - <int>(old.kind == SAME))
    if (fresh_bytes == PAGE_BYTES) != (old_bytes == PAGE_BYTES):
        count_i64(&counts.huge_pages, <int>(fresh_bytes == PAGE_BYTES) - <int>(old_bytes == PAGE_BYTES))
    if fresh_bytes == PAGE_BYTES:
        count_u64(&counts.huge_pages_since, 1)
    return old


cdef void free_contents(SlotTable table, Slot old) noexcept nogil:
    """zram_free_page(): give back what a slot held, which has something else by now."""
    if old.kind == STORED:
        table.pool.free(old.value)
    elif old.kind == WRITTEN:
        table.blocks.release(old.value)


cdef int patch_page(
    SlotTable table, int channel, uint64_t page, uint32_t skip_bytes, const uint8_t *patch, uint32_t size_bytes,
    Codecs codecs, Stream stream, BootTime now, const uint8_t *contents, uint64_t block
) noexcept nogil:
    """Read, patch, compress and store one page, in one step for everybody else; a `Stored`.

    The caller has the stream, a per-CPU one, so that the slot's lock is taken after the stream's. `contents` are those
    of `block` of the backing device, for a page that is there; without them IS_ELSEWHERE says so. `patch` NULL: zeros.
    """
    cdef uint8_t whole[PAGE_BYTES]
    cdef Slot *slot = &table.slots[page]
    cdef Slot fresh
    cdef int result
    lock_slot(table, slot)
    if slot.kind == WRITTEN and contents != NULL and slot.value == block:
        memcpy(whole, contents, PAGE_BYTES)
    else:
        result = decode_page(table, slot, codecs, whole)
        if result:
            unlock_slot(slot)
            return IS_ELSEWHERE if result == ELSEWHERE else NOT_LOADED
    if patch == NULL:
        memset(whole + skip_bytes, 0, size_bytes)
    else:
        memcpy(whole + skip_bytes, patch, size_bytes)
    stream.compress_pages(whole, 1)
    result = make_contents(table, page, &stream.run.pages[0], &fresh)
    if result != KEPT:
        unlock_slot(slot)
        return result
    touch_slot(table, page, slot, now)
    free_contents(table, exchange_slot(table, channel, page, slot, fresh))
    return KEPT


cdef uint64_t discard_pages(
    SlotTable table, int channel, uint64_t first_page, uint64_t pages, uint64_t most_freed
) noexcept nogil:
    """Free whole pages until `most_freed` that were in use are freed; how many pages are done with, of `pages`.

    Each counts as notified, even an empty one (zram_bio_discard).
    """
    cdef uint64_t page = first_page
    cdef uint64_t end = first_page + pages
    cdef uint64_t freed = 0
    cdef Slot nothing = Slot(value=0, accessed_s=0, length=0, kind=EMPTY, marks=0)
    cdef Slot *slot
    while page < end and freed < most_freed:
        if table.is_group_empty(page):
            page = min((page // GROUP_SLOTS + 1) * GROUP_SLOTS, end)
            continue
        slot = &table.slots[page]
        lock_slot(table, slot)
        if slot.kind == EMPTY:
            unlock_slot(slot)
        else:
            free_contents(table, exchange_slot(table, channel, page, slot, nothing))
            freed += 1
        page += 1
    count_u64(&table.counts[channel].freed_notifications, page - first_page)
    return page - first_page


cdef bint replace_by_block(
    SlotTable table, int channel, uint64_t page, uint64_t block, bint remembers
) noexcept nogil:
    """Let a block that has a candidate's contents stand for its object (zram_writeback_complete).

    `remembers`: the slot keeps the object's length, lasting marks and the time of its last access. False, and nothing
    is done: it is no candidate any more.
    """
    cdef Slot *slot = &table.slots[page]
    cdef Slot fresh
    lock_slot(table, slot)
    if not marks_of(slot) & PENDING:
        unlock_slot(slot)
        return False
    fresh = Slot(value=block, accessed_s=0, length=0, kind=WRITTEN, marks=0)
    if remembers:
        fresh.length = slot.length
        fresh.marks = marks_of(slot) & LASTING
    else:
        forget_access(table, page, slot)
    free_contents(table, exchange_slot(table, channel, page, slot, fresh))
    return True


cdef int replace_by_smaller(
    SlotTable table, int channel, uint64_t page, CompressedPage *compressed, uint8_t priority, uint32_t threshold_bytes
) noexcept nogil:
    """Keep what an algorithm of recompression made of a candidate, if that saves memory (recompress_slot); a `Stored`.

    It does if its size class is a smaller one; and it must be shorter than the threshold, unless that is 0. The page's
    last access is forgotten. Neither the peak nor the limit counts this. The object is made with the slot locked:
    whether one is needed is not known before.
    """
    cdef Slot *slot = &table.slots[page]
    cdef Slot fresh
    cdef int result = KEPT
    if compressed.length <= 0:
        return NOT_COMPRESSED
    lock_slot(table, slot)
    if not marks_of(slot) & PENDING:
        result = NO_CANDIDATE
    elif not is_smaller(table, compressed.length, slot.length):
        result = NOT_SMALLER
    elif threshold_bytes and <uint32_t>compressed.length >= threshold_bytes:
        result = NOT_SMALLER
    else:
        fresh.value = table.pool.allocate(compressed.length, page)
        if fresh.value == NO_HANDLE:
            result = NO_ROOM
    if result != KEPT:
        unlock_slot(slot)
        return result
    memcpy(table.pool.payload(fresh.value), compressed.data, compressed.length)
    fresh.length = <uint16_t>compressed.length
    fresh.kind = STORED
    fresh.marks = priority << PRIORITY_SHIFT
    forget_access(table, page, slot)
    free_contents(table, exchange_slot(table, channel, page, slot, fresh))
    return KEPT


cdef bint is_smaller(SlotTable table, int new_bytes, int old_bytes) noexcept nogil:
    """Whether an object takes less memory than another: its size class is a smaller one."""
    return table.pool.class_of(min(new_bytes, PAGE_BYTES)) < table.pool.class_of(old_bytes)
