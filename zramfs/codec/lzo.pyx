# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""LZO1X streams, one page at a time: the kernel's lzo, and its lzo-rle, which has runs of zeros besides.

Compressed by `lzo_compress_page.c`, which chooses the kernel's matches; `lzo_decompress_page.c` takes either kind.
"""

from libc.stdint cimport uint8_t

from zramfs.codec.run cimport PageCodec
from zramfs.page cimport PAGE_BYTES

cdef extern from "lzo_page.h" nogil:
    struct lzo_page_table:
        pass
    int lzo_page_compress(
        lzo_page_table *table, const uint8_t *page, int page_bytes, uint8_t *stream, bint zero_runs)
    int lzo_page_decompress(const uint8_t *stream, int length, uint8_t *page, int page_bytes)


cdef class LzoCodec(PageCodec):
    """LZO1X-1; with `zero_runs` it is lzo-rle."""

    cdef lzo_page_table table
    cdef readonly bint zero_runs

    def __cinit__(self, *, bint zero_runs=False):
        self.zero_runs = zero_runs

    cdef int compress_page(self, const uint8_t *page, uint8_t *data) noexcept nogil:
        return lzo_page_compress(&self.table, page, PAGE_BYTES, data, self.zero_runs)

    cdef int decompress_page(self, const uint8_t *data, int length, uint8_t *page) noexcept nogil:
        return lzo_page_decompress(data, length, page, PAGE_BYTES)

    def __repr__(self):
        return f"<LzoCodec zero_runs={self.zero_runs}>"
