from libc.stdint cimport uint8_t, uint32_t, uint64_t

from zramfs.block.slots cimport Codecs, Slot, SlotTable
from zramfs.clock cimport BootTime
from zramfs.codec.run cimport CompressedPage, CompressedRun
from zramfs.streams cimport Stream

cdef enum Stored:
    KEPT = 0
    NO_ROOM = 1     # mem_limit, or the system has no memory
    NOT_COMPRESSED = 2  # the codec failed
    NOT_LOADED = 3  # the page that is to be patched does not decompress
    IS_ELSEWHERE = 4    # it is in the backing device
    NO_CANDIDATE = 5    # of a replacement: the page was accessed or freed since it was chosen
    NOT_SMALLER = 6     # likewise: the other object saves no memory

cdef int store_run(SlotTable table, int channel, uint64_t first_page, CompressedRun run, BootTime now) noexcept nogil
cdef int patch_page(
    SlotTable table, int channel, uint64_t page, uint32_t skip_bytes, const uint8_t *patch, uint32_t size_bytes,
    Codecs codecs, Stream stream, BootTime now, const uint8_t *contents, uint64_t block
) noexcept nogil
cdef uint64_t discard_pages(
    SlotTable table, int channel, uint64_t first_page, uint64_t pages, uint64_t most_freed
) noexcept nogil
cdef Slot exchange_slot(SlotTable table, int channel, uint64_t page, Slot *slot, Slot fresh) noexcept nogil
cdef void free_contents(SlotTable table, Slot old) noexcept nogil
cdef bint replace_by_block(
    SlotTable table, int channel, uint64_t page, uint64_t block, bint remembers
) noexcept nogil
cdef int replace_by_smaller(
    SlotTable table, int channel, uint64_t page, CompressedPage *compressed, uint8_t priority, uint32_t threshold_bytes
) noexcept nogil
