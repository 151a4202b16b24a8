# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""Deflate: compressed by zlib, which has the kernel's levels and windows, and decompressed by libdeflate.

libdeflate compresses with a window of 32 KiB only; it reads what any window made.
"""

from libc.stdint cimport uint8_t
from libc.string cimport memset

from zramfs.codec.run cimport FAILED, SCRATCH_BYTES, PageCodec
from zramfs.page cimport PAGE_BYTES

cdef extern from "<zlib.h>" nogil:
    ctypedef struct z_stream:
        uint8_t *next_in
        unsigned int avail_in
        uint8_t *next_out
        unsigned int avail_out
    enum:
        Z_OK
        Z_STREAM_END
        Z_MEM_ERROR
        Z_FINISH
        Z_DEFLATED
        Z_DEFAULT_STRATEGY
    int deflateInit2(z_stream *stream, int level, int method, int window_bits, int mem_level, int strategy)
    int deflateReset(z_stream *stream)
    int deflate(z_stream *stream, int flush)
    int deflateEnd(z_stream *stream)

cdef extern from "<libdeflate.h>" nogil:
    struct libdeflate_decompressor:
        pass
    libdeflate_decompressor *libdeflate_alloc_decompressor()
    void libdeflate_free_decompressor(libdeflate_decompressor *)
    int libdeflate_deflate_decompress(
        libdeflate_decompressor *, const void *data, size_t bytes, void *out, size_t capacity, size_t *bytes_out
    )
    int libdeflate_zlib_decompress(
        libdeflate_decompressor *, const void *data, size_t bytes, void *out, size_t capacity, size_t *bytes_out
    )

cdef enum:
    MEM_LEVEL = 8       # the kernel's MAX_MEM_LEVEL (include/linux/zconf.h), and zlib's default


cdef class DeflateCodec(PageCodec):
    """Deflate at a level of -1 to 9; `winbits` is the window's size as a power of two, 9 to 15, negated for raw data.

    ValueError for what zlib does not take.
    """

    cdef z_stream stream
    cdef libdeflate_decompressor *decompressor
    cdef bint is_set_up
    cdef readonly int level
    cdef readonly int winbits

    def __cinit__(self, int level, int winbits):
        memset(&self.stream, 0, sizeof(self.stream))
        self.level, self.winbits = level, winbits
        cdef int status = deflateInit2(&self.stream, level, Z_DEFLATED, winbits, MEM_LEVEL, Z_DEFAULT_STRATEGY)
        if status == Z_MEM_ERROR:
            raise MemoryError
        if status != Z_OK:
            raise ValueError(f"zlib has no level {level} with window {winbits}")
        self.is_set_up = True
        self.decompressor = libdeflate_alloc_decompressor()
        if self.decompressor == NULL:
            raise MemoryError

    def __dealloc__(self):
        if self.is_set_up:
            deflateEnd(&self.stream)
        libdeflate_free_decompressor(self.decompressor)

    cdef int compress_page(self, const uint8_t *page, uint8_t *data) noexcept nogil:
        if deflateReset(&self.stream) != Z_OK:
            return FAILED
        self.stream.next_in, self.stream.avail_in = <uint8_t *>page, PAGE_BYTES
        self.stream.next_out, self.stream.avail_out = data, SCRATCH_BYTES
        if deflate(&self.stream, Z_FINISH) != Z_STREAM_END:
            return PAGE_BYTES  # more than there is room for
        return SCRATCH_BYTES - <int>self.stream.avail_out

    cdef int decompress_page(self, const uint8_t *data, int length, uint8_t *page) noexcept nogil:
        # Without a place for the number of bytes, anything but a whole page is an error to libdeflate.
        if self.winbits < 0:
            return -1 if libdeflate_deflate_decompress(self.decompressor, data, length, page, PAGE_BYTES, NULL) else 0
        return -1 if libdeflate_zlib_decompress(self.decompressor, data, length, page, PAGE_BYTES, NULL) else 0

    def __repr__(self):
        return f"<DeflateCodec level={self.level} winbits={self.winbits}>"
