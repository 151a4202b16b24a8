# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""LZ4 blocks by the system's liblz4, one page at a time, without the GIL and without a Python object on the way."""

from libc.stdint cimport uint8_t
from libc.stdlib cimport free, malloc

from zramfs.codec.run cimport FAILED, PAGE_BYTES, SCRATCH_BYTES, PageCodec

cdef extern from "<lz4.h>" nogil:
    int LZ4_sizeofState()
    int LZ4_compress_fast_extState(
        void *state, const char *source, char *destination, int source_bytes, int capacity_bytes, int acceleration
    )
    int LZ4_decompress_safe(const char *source, char *destination, int compressed_bytes, int capacity_bytes)


cdef class Lz4Codec(PageCodec):
    """LZ4 at an acceleration of 1 (the kernel's, compresses best) to 65537 (fastest)."""

    cdef void *state
    cdef readonly int acceleration

    def __cinit__(self, int acceleration=1):
        self.acceleration = acceleration
        self.state = malloc(LZ4_sizeofState())
        if self.state == NULL:
            raise MemoryError

    def __dealloc__(self):
        free(self.state)

    cdef int compress_page(self, const uint8_t *page, uint8_t *data) noexcept nogil:
        cdef int length = LZ4_compress_fast_extState(
            self.state, <const char *>page, <char *>data, PAGE_BYTES, SCRATCH_BYTES, self.acceleration
        )
        return length if length > 0 else FAILED

    cdef int decompress_page(self, const uint8_t *data, int length, uint8_t *page) noexcept nogil:
        cdef int bytes_out = LZ4_decompress_safe(<const char *>data, <char *>page, length, PAGE_BYTES)
        return 0 if bytes_out == PAGE_BYTES else -1

    def __repr__(self):
        return f"<Lz4Codec acceleration={self.acceleration}>"
