from libc.stdint cimport int32_t, int64_t, uint8_t, uint64_t

from zramfs.memory cimport LazyMemory

cdef extern from "<sched.h>" nogil:
    int sched_getcpu()

cdef enum:
    SCRATCH_BYTES = 4224    # room for one page's compressed form: over LZ4's worst case (4128), 66 cache lines
    FAILED = -1             # the codec gave up; a CompressedPage's length
    SAME_FILLED = 0         # all its 8-byte words are equal; a CompressedPage's length

# What became of one page.
cdef struct CompressedPage:
    const uint8_t *page     # the page itself, for those that are stored raw
    uint8_t *data           # its compressed form, in scratch memory
    uint64_t fill           # the word that fills a same-filled page
    int32_t length          # bytes of `data`, 1 to SCRATCH_BYTES; or SAME_FILLED, or FAILED

cdef class PageCodec:
    cdef readonly bint needs_gil        # it is Python: only on the event loop's thread

    cdef int compress_page(self, const uint8_t *page, uint8_t *data) noexcept nogil
    cdef int decompress_page(self, const uint8_t *data, int length, uint8_t *page) noexcept nogil

cdef bint is_same_filled(const uint8_t *page, uint64_t *fill) noexcept nogil
cdef void compress(PageCodec codec, const uint8_t *page, CompressedPage *result) noexcept nogil

cdef class CompressedRun:
    cdef CompressedPage *pages
    cdef CompressedPage *own_pages  # the same, if they are nobody else's; or NULL
    cdef LazyMemory room            # whose they are otherwise
    cdef readonly int capacity
    cdef readonly int count         # pages in use; what they point at is whoever's data it was

cdef class RunCompressor:
    cdef PageCodec codec
    cdef readonly CompressedRun run
    cdef readonly int64_t page_ns   # what a page took lately, in the runs of several; of one, unknown: 0. Atomic
    cdef LazyMemory scratch         # SCRATCH_BYTES a page

    cdef int compress_pages(self, const uint8_t *first_page, int pages, int64_t enough_ns) noexcept nogil
