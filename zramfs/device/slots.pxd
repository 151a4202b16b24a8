from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t

from zramfs.codec.run cimport CompressedPage, CompressedRun, PageCodec
from zramfs.device.blocks cimport BlockMap
from zramfs.memory cimport LazyMemory
from zramfs.pool.zspool cimport ZsPool
from zramfs.threads cimport pthread_cond_t, pthread_mutex_t

cdef enum:
    # Slots that share a count of those in use: a page's worth of table. What nothing was stored in is skipped by the
    # count, so that discarding or searching an empty 1 TiB device touches 2 MiB instead of 4 GiB.
    GROUP_SLOTS = 256

cdef enum Kind:
    EMPTY = 0       # never written, or discarded: reads as zeros
    SAME = 1        # `value` is the word that fills it
    STORED = 2      # `value` is the pool's handle for `length` bytes; PAGE_BYTES of them: stored raw (huge)
    WRITTEN = 3     # `value` is the backing device's block that has the page (ZRAM_WB)

cdef enum Mark:
    IDLE = 1        # not accessed since it was marked (ZRAM_IDLE)
    PENDING = 2     # chosen for being processed, and neither accessed nor freed since (ZRAM_PP_SLOT)
    INCOMPRESSIBLE = 4  # no algorithm makes its object smaller (ZRAM_INCOMPRESSIBLE)
    PRIORITY = 48   # that of the algorithm that compressed the page: 0 for the primary one, or 1 to 3
    LASTING = INCOMPRESSIBLE | PRIORITY     # what an access leaves

cdef enum:
    PRIORITY_SHIFT = 4

# 16 bytes a slot, 0.4 % of what the device can hold, and only for those that were touched.
cdef struct Slot:
    uint64_t value
    uint32_t accessed_s     # when it was last read or written, by boot_time_s()
    uint16_t length
    uint8_t kind
    uint8_t marks

cdef class Codecs:
    cdef PageCodec primary
    cdef PageCodec first
    cdef PageCodec second
    cdef PageCodec third

    cdef int decompress(self, uint8_t priority, const uint8_t *data, int length, uint8_t *page) noexcept nogil

cdef class ReadHelper:
    cdef Codecs codecs
    cdef object thread
    cdef SlotTable table                # of the read in progress; its pages and where they go
    cdef uint64_t first_page
    cdef uint64_t pages
    cdef uint8_t *out
    cdef uint64_t next_page             # the first that nobody has taken; this and what follows under the lock
    cdef int64_t failed_page
    cdef bint is_helping
    cdef bint closing
    cdef pthread_mutex_t lock
    cdef pthread_cond_t changed

    cdef int64_t read(self, SlotTable table, uint64_t first_page, uint64_t pages, uint8_t *out, Codecs codecs)
    cdef void _yield(self) noexcept nogil
    cdef void _load_shares(self, Codecs codecs) noexcept nogil

cdef class SlotTable:
    cdef LazyMemory memory              # has the slots, and behind them the counts
    cdef Slot *slots
    cdef uint32_t now_s                 # when the read in progress began
    cdef uint16_t *group_use            # slots in use, of each group
    cdef readonly uint64_t page_count
    cdef ZsPool pool
    cdef BlockMap blocks                # those of the backing device; None without one
    cdef int huge_class_bytes
    cdef public uint64_t limit_pages
    cdef readonly uint64_t stored_pages
    cdef readonly uint64_t compressed_bytes
    cdef readonly uint64_t same_pages
    cdef readonly uint64_t huge_pages
    cdef readonly uint64_t huge_pages_since
    cdef readonly uint64_t compacted_pages
    cdef readonly uint64_t peak_pages
    cdef readonly uint64_t freed_notifications

    cpdef int store(self, uint64_t first_page, CompressedRun run) except -1
    cdef int _store_page(self, uint64_t page, CompressedPage *compressed, uint32_t now_s) noexcept nogil
    cdef void _fill_slot(self, uint64_t page, Slot slot) noexcept nogil
    cdef void _free_slot(self, uint64_t page) noexcept nogil
    cpdef bint read_into(self, uint64_t offset_bytes, object out, Codecs codecs, ReadHelper helper=*) except -1
    cdef int64_t _load(self, uint64_t offset_bytes, uint64_t size_bytes, Codecs codecs, uint8_t *out) noexcept nogil
    cdef int _load_page(self, uint64_t page, Codecs codecs, uint8_t *out) noexcept nogil
    cdef int _decode_page(self, Slot *slot, Codecs codecs, uint8_t *out) noexcept nogil
