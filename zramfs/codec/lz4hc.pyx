# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""LZ4 blocks as lz4hc makes them: slower to compress and smaller; liblz4 both ways."""

from libc.stdint cimport uint8_t

from zramfs.codec.run cimport FAILED, PAGE_BYTES, SCRATCH_BYTES, PageCodec

cdef extern from "<lz4hc.h>" nogil:
    ctypedef struct LZ4_streamHC_t:
        pass
    LZ4_streamHC_t *LZ4_createStreamHC()
    int LZ4_freeStreamHC(LZ4_streamHC_t *stream)
    void LZ4_resetStreamHC_fast(LZ4_streamHC_t *stream, int level)
    int LZ4_compress_HC_continue(LZ4_streamHC_t *stream, const char *source, char *block, int bytes, int capacity_bytes)

cdef extern from "<lz4.h>" nogil:
    int LZ4_decompress_safe(const char *source, char *destination, int compressed_bytes, int capacity_bytes)


cdef class Lz4hcCodec(PageCodec):
    """LZ4 at a level of 1 to 12, which compresses best."""

    cdef LZ4_streamHC_t *stream
    cdef readonly int level

    def __cinit__(self, int level):
        self.stream = LZ4_createStreamHC()
        if self.stream == NULL:
            raise MemoryError
        self.level = level

    def __dealloc__(self):
        LZ4_freeStreamHC(self.stream)

    cdef int compress_page(self, const uint8_t *page, uint8_t *data) noexcept nogil:
        # A stream, because its fast reset leaves the 256 KiB of tables that LZ4_compress_HC() clears for each page.
        LZ4_resetStreamHC_fast(self.stream, self.level)
        cdef int length = LZ4_compress_HC_continue(
            self.stream, <const char *>page, <char *>data, PAGE_BYTES, SCRATCH_BYTES
        )
        return length if length > 0 else FAILED

    cdef int decompress_page(self, const uint8_t *data, int length, uint8_t *page) noexcept nogil:
        cdef int bytes_out = LZ4_decompress_safe(<const char *>data, <char *>page, length, PAGE_BYTES)
        return 0 if bytes_out == PAGE_BYTES else -1

    def __repr__(self):
        return f"<Lz4hcCodec level={self.level}>"
