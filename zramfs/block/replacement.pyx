# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""What upkeep does to single pages: candidates are looked at, loaded, and replaced by a block or a smaller object.

The calls of the event loop, on its channel. None of them is an access to the page: it keeps the time of its last one.
A page that is accessed or freed by somebody else is no candidate from then on, and is left alone.
"""

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t

from zramfs.block.load cimport LOADED, decode_page
from zramfs.block.slots cimport (
    IDLE,
    INCOMPRESSIBLE,
    PENDING,
    PRIORITY_SHIFT,
    WRITTEN,
    Codecs,
    Slot,
    SlotTable,
    lock_slot,
    marks_of,
    unlock_slot,
    unlock_slot_with,
)
from zramfs.block.store cimport KEPT, NO_ROOM, NOT_COMPRESSED, replace_by_block, replace_by_smaller
from zramfs.clock cimport boot_time_s
from zramfs.zcomp.zcomp cimport PercpuStream

from zramfs.errors import CorruptPage, ZramError

cdef enum:
    CHANNEL = 0     # the event loop's
    NOT_LOOKED_AT = -1


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


def commit_written_back(SlotTable table not None, uint64_t page, uint64_t block):
    """Let `block`, which has the contents of a candidate, stand for its object (zram_writeback_complete).

    False, and nothing is done: it is no candidate any more.
    """
    cdef bint is_replaced
    with nogil:
        is_replaced = replace_by_block(table, CHANNEL, page, block)
    return is_replaced


def written_back(SlotTable table not None, uint64_t first_page, uint64_t end_page):
    """Numbers of the pages in the range that are in the backing device, and of their blocks; that is an access."""
    cdef uint64_t page, block
    cdef uint32_t now_s = boot_time_s()
    found = []
    for page in range(first_page, end_page):
        if block_of(table, page, now_s, &block):
            found.append((page, block))
    return found


cdef bint block_of(SlotTable table, uint64_t page, uint32_t now_s, uint64_t *block) noexcept nogil:
    """Access a page that is in the backing device; False if it is not there."""
    cdef Slot *slot = &table.slots[page]
    if table.is_group_empty(page):
        return False
    lock_slot(table, slot)
    cdef bint is_written = slot.kind == WRITTEN
    if is_written:
        slot.accessed_s = now_s
        block[0] = slot.value
    unlock_slot(slot)
    return is_written


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
