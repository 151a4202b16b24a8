# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""LZ4 blocks, one page at a time, without the GIL and without a Python object on the way.

Compressed by `lz4_page.c`, which chooses the kernel's matches; decompressed by the system's liblz4.
"""

from libc.stdint cimport uint8_t

from zramfs.codec.run cimport PAGE_BYTES, PageCodec

cdef extern from "lz4_page.h" nogil:
    struct lz4_page_table:
        pass
    int lz4_page_compress(lz4_page_table *table, const uint8_t *page, uint8_t *block, unsigned int acceleration)

cdef extern from "<lz4.h>" nogil:
    int LZ4_decompress_safe(const char *source, char *destination, int compressed_bytes, int capacity_bytes)


cdef class Lz4Codec(PageCodec):
    """LZ4 at an acceleration of 1 (the kernel's, compresses best) to 65537 (fastest)."""

    cdef lz4_page_table table
    cdef readonly int acceleration

    def __cinit__(self, int acceleration=1):
        self.acceleration = min(max(acceleration, 1), 65537)  # as liblz4 does: 0 would search nowhere

    cdef int compress_page(self, const uint8_t *page, uint8_t *data) noexcept nogil:
        return lz4_page_compress(&self.table, page, data, self.acceleration)

    cdef int decompress_page(self, const uint8_t *data, int length, uint8_t *page) noexcept nogil:
        cdef int bytes_out = LZ4_decompress_safe(<const char *>data, <char *>page, length, PAGE_BYTES)
        return 0 if bytes_out == PAGE_BYTES else -1

    def __repr__(self):
        return f"<Lz4Codec acceleration={self.acceleration}>"
