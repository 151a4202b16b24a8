from libc.stdint cimport uint8_t, uint64_t

from zramfs.block.slots cimport Codecs, Slot, SlotTable
from zramfs.clock cimport BootTime

cdef enum Loaded:
    LOADED = 0
    CORRUPT = 1     # it does not decompress
    ELSEWHERE = 2   # it is in the backing device

cdef int load_page(SlotTable table, uint64_t page, Codecs codecs, uint8_t *out, BootTime now) noexcept nogil
cdef int load_range(
    SlotTable table, uint64_t offset_bytes, uint64_t size_bytes, Codecs codecs, uint8_t *out, BootTime now
) noexcept nogil
cdef int decode_page(SlotTable table, const Slot *slot, Codecs codecs, uint8_t *out) noexcept nogil
