# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""What takes the place of a page's object: a block of the backing device, or a smaller object of another algorithm.

Neither is an access to the page: it keeps the time of its last one.
"""

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy

from zramfs.clock cimport boot_time_s
from zramfs.codec.run cimport CompressedPage, CompressedRun
from zramfs.device.slots cimport (
    IDLE,
    INCOMPRESSIBLE,
    PENDING,
    PRIORITY_SHIFT,
    STORED,
    WRITTEN,
    Codecs,
    Slot,
    SlotTable,
)
from zramfs.pool.zspool cimport NO_HANDLE

from zramfs.errors import CorruptPage, ZramError


def load_candidate(SlotTable table not None, uint64_t page, uint8_t[::1] out not None, Codecs codecs not None):
    """Fill `out` with the contents of a page that is still a candidate; False if it is none.

    Raises CorruptPage if it does not decompress.
    """
    cdef Slot *slot = &table.slots[page]
    if not slot.marks & PENDING:
        return False
    if table._decode_page(slot, codecs, &out[0]):
        raise CorruptPage(f"page {page} does not decompress")
    return True


# ---- writeback --------------------------------------------------------------------------------------------------


def commit_written_back(SlotTable table not None, uint64_t page, uint64_t block):
    """Let `block`, which has the page's contents now, stand for its object (zram_writeback_complete).

    False, and nothing is done: the page was accessed or freed since it was loaded.
    """
    cdef Slot *slot = &table.slots[page]
    cdef uint32_t accessed_s = slot.accessed_s
    if not slot.marks & PENDING:
        return False
    table._fill_slot(page, Slot(value=block, accessed_s=accessed_s, length=0, kind=WRITTEN, marks=0))
    return True


def written_back(SlotTable table not None, uint64_t first_page, uint64_t end_page):
    """Numbers of the pages in the range that are in the backing device, and of their blocks; that is an access."""
    cdef uint64_t page
    cdef uint32_t now_s = boot_time_s()
    found = []
    for page in range(first_page, end_page):
        if table.slots[page].kind == WRITTEN:
            table.slots[page].accessed_s = now_s
            found.append((page, table.slots[page].value))
    return found


# ---- recompression ------------------------------------------------------------------------------------------------


def object_bytes(SlotTable table not None, uint64_t page):
    """The length of the page's object."""
    return table.slots[page].length


def priority(SlotTable table not None, uint64_t page):
    """That of the algorithm which compressed the page."""
    return table.slots[page].marks >> PRIORITY_SHIFT


def clear_idle(SlotTable table not None, uint64_t page):
    """The page was worked on, and is not to be chosen as an idle one for something else."""
    table.slots[page].marks &= ~IDLE


def mark_incompressible(SlotTable table not None, uint64_t page):
    """No algorithm made the page's object smaller, and none is to be tried again."""
    table.slots[page].marks |= INCOMPRESSIBLE


def commit_recompressed(
    SlotTable table not None, uint64_t page, CompressedRun run not None, uint8_t run_priority, uint32_t threshold_bytes
):
    """Keep the one page of `run` instead of the page's object, if that saves memory (recompress_slot); whether it did.

    It does if its size class is a smaller one; and it must be shorter than the threshold, unless that is 0. Raises
    ZramError if its codec failed, or if the system has no memory left; the page stays as it was.
    """
    cdef Slot *slot = &table.slots[page]
    cdef CompressedPage *compressed = &run.pages[0]
    cdef uint32_t accessed_s = slot.accessed_s
    cdef uint16_t length
    cdef uint64_t handle
    if compressed.length <= 0:
        raise ZramError(f"page {page} could not be compressed")
    if table.pool.class_of(min(compressed.length, 4096)) >= table.pool.class_of(slot.length):
        return False
    if threshold_bytes and <uint32_t>compressed.length >= threshold_bytes:
        return False
    length = <uint16_t>compressed.length
    handle = table.pool.allocate(length, page)
    if handle == NO_HANDLE:
        raise ZramError(f"there is no memory left to recompress page {page}")
    memcpy(table.pool.payload(handle), compressed.data, length)
    table._fill_slot(page, Slot(
        value=handle, accessed_s=accessed_s, length=length, kind=STORED, marks=run_priority << PRIORITY_SHIFT
    ))
    table.compressed_bytes += length
    return True
