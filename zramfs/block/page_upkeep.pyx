# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""What upkeep does to single pages: candidates are looked at, loaded, and replaced by a block or a smaller object.

The event loop calls them, on its channel. None of them is an access to the page. A page that is accessed or freed by
somebody else is no candidate from then on, and is left alone.
"""

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy, memset

from zramfs.block.load cimport LOADED, decode_page
from zramfs.block.slots cimport (
    IDLE,
    INCOMPRESSIBLE,
    PENDING,
    PRIORITY,
    PRIORITY_SHIFT,
    WRITTEN,
    Codecs,
    Slot,
    SlotTable,
    contents_of,
    lock_slot,
    marks_of,
    touch_slot,
    unlock_slot,
    unlock_slot_with,
)
from zramfs.block.store cimport KEPT, NO_ROOM, NOT_COMPRESSED, replace_by_block, replace_by_smaller
from zramfs.clock cimport BootTime, boot_time
from zramfs.page cimport PAGE_BYTES
from zramfs.zcomp.zcomp cimport PercpuStream

from collections import namedtuple

from zramfs.errors import CorruptPage, ZramError

cdef enum:
    CHANNEL = 0     # the event loop's
    NOT_LOOKED_AT = -1

# A page in the backing device, and its block. `length` and `priority` tell of its object, where that was remembered.
WrittenBack = namedtuple("WrittenBack", ["page", "block", "length", "priority"])


def load_candidate(SlotTable table not None, uint64_t page, uint8_t[::1] out not None, Codecs codecs not None):
    """Fill `out` with the contents of a page that is still a candidate; False if it is none.

    Raises CorruptPage if it does not decompress.
    """
    cdef Slot *slot = &table.slots[page]
    cdef uint8_t *room = &out[0]
    cdef int result = NOT_LOOKED_AT
    with nogil:
        lock_slot(table, slot)
        if marks_of(slot) & PENDING:
            result = decode_page(table, slot, codecs, room)
        unlock_slot(slot)
    if result > LOADED:
        raise CorruptPage(f"page {page} does not decompress")
    return result == LOADED


# ---- writeback --------------------------------------------------------------------------------------------------


def load_object(SlotTable table not None, uint64_t page, uint8_t[::1] out not None):
    """Fill `out`, a page, with a candidate's object as it is, and zeros behind it (read_from_zspool_raw).

    False if it is no candidate any more.
    """
    cdef Slot *slot = &table.slots[page]
    cdef uint8_t *room = &out[0]
    cdef bint is_candidate
    with nogil:
        lock_slot(table, slot)
        is_candidate = marks_of(slot) & PENDING  # which only a page with an object is
        if is_candidate:
            memcpy(room, table.pool.payload(slot.value), slot.length)
            memset(room + slot.length, 0, PAGE_BYTES - slot.length)
        unlock_slot(slot)
    return bool(is_candidate)


def commit_written_back(SlotTable table not None, uint64_t page, uint64_t block, *, bint remembers):
    """Let `block`, which has the contents of a candidate, stand for its object (zram_writeback_complete).

    `remembers`: what the object was stays known, as it must if the block has the object itself. False, and nothing is
    done: it is no candidate any more.
    """
    cdef bint is_replaced
    with nogil:
        is_replaced = replace_by_block(table, CHANNEL, page, block, remembers)
    return bool(is_replaced)


def written_back(SlotTable table not None, uint64_t first_page, uint64_t end_page):
    """Pages in the range that are in the backing device, each a WrittenBack; that is an access."""
    cdef uint64_t page
    cdef BootTime now = boot_time()
    cdef Slot seen
    found = []
    for page in range(first_page, end_page):
        if access_written(table, page, now, &seen):
            found.append(WrittenBack(page, seen.value, seen.length, (seen.marks & PRIORITY) >> PRIORITY_SHIFT))
    return found


cdef bint access_written(SlotTable table, uint64_t page, BootTime now, Slot *seen) noexcept nogil:
    """Access a page that is in the backing device, and tell of its slot; False if it is not there."""
    cdef Slot *slot = &table.slots[page]
    if table.is_group_empty(page):
        return False
    lock_slot(table, slot)
    cdef bint is_written = slot.kind == WRITTEN
    if is_written:
        touch_slot(table, page, slot, now)
        seen[0] = contents_of(slot)
    unlock_slot(slot)
    return is_written


def decompress_block(const uint8_t[::1] contents not None, written not None, Codecs codecs not None):
    """Return the page of a WrittenBack whose block has `contents`, its object; or raise CorruptPage."""
    cdef uint16_t length = written.length
    cdef uint8_t priority = written.priority
    if length == PAGE_BYTES:
        return bytes(contents)
    page = bytearray(PAGE_BYTES)
    cdef const uint8_t *data = &contents[0]
    cdef uint8_t *room = page
    cdef int result
    with nogil:
        result = codecs.decompress(priority, data, length, room)
    if result:
        raise CorruptPage(f"page {written.page} does not decompress: it is in block {written.block}")
    return page


# ---- recompression ------------------------------------------------------------------------------------------------


def object_bytes(SlotTable table not None, uint64_t page):
    """The length of the page's object."""
    cdef Slot *slot = &table.slots[page]
    lock_slot(table, slot)
    cdef uint16_t length = slot.length
    unlock_slot(slot)
    return length


def priority(SlotTable table not None, uint64_t page):
    """That of the algorithm which compressed the page."""
    cdef Slot *slot = &table.slots[page]
    lock_slot(table, slot)
    cdef uint8_t marks = marks_of(slot)
    unlock_slot(slot)
    return marks >> PRIORITY_SHIFT


def clear_idle(SlotTable table not None, uint64_t page):
    """A candidate was worked on, and is not to be chosen as an idle one for something else."""
    change_marks(table, page, IDLE, 0)


def mark_incompressible(SlotTable table not None, uint64_t page):
    """No algorithm made a candidate's object smaller, and none is to be tried again."""
    change_marks(table, page, 0, INCOMPRESSIBLE)


cdef void change_marks(SlotTable table, uint64_t page, uint8_t cleared, uint8_t added) noexcept nogil:
    """Change the marks of a page that is still a candidate."""
    cdef Slot *slot = &table.slots[page]
    lock_slot(table, slot)
    cdef uint8_t marks = marks_of(slot)
    if marks & PENDING:
        marks = (marks & ~cleared) | added
    unlock_slot_with(slot, marks)


def recompress_page(
    SlotTable table not None,
    uint64_t page,
    PercpuStream stream not None,
    const uint8_t[::1] contents not None,
    uint8_t stream_priority,
    uint32_t threshold_bytes,
):
    """Compress a candidate's contents on a stream, and keep the result if that saves memory (`replace_by_smaller`).

    Whether it is kept. Raises ZramError if the codec failed, or if the system has no memory left.
    """
    cdef const uint8_t *source = &contents[0]
    cdef int result
    with nogil:
        stream.lock()
        stream.compress_pages(source, 1)
        result = replace_by_smaller(table, CHANNEL, page, &stream.run.pages[0], stream_priority, threshold_bytes)
        stream.unlock()
    if result == NOT_COMPRESSED:
        raise ZramError(f"page {page} could not be compressed")
    if result == NO_ROOM:
        raise ZramError(f"there is no memory left to recompress page {page}")
    return result == KEPT
