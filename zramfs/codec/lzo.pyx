# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""LZO1X-1 by liblzo2, the library that the kernel's lzo comes from."""

from libc.stdint cimport uint8_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy

from zramfs.codec.run cimport FAILED, PAGE_BYTES, PageCodec

cdef extern from "<lzo/lzo1x.h>" nogil:
    ctypedef size_t lzo_uint
    enum:
        LZO_E_OK
        LZO1X_1_MEM_COMPRESS
    int lzo_init()
    int lzo1x_1_compress(const uint8_t *source, lzo_uint bytes, uint8_t *data, lzo_uint *length, void *memory)
    int lzo1x_decompress_safe(const uint8_t *data, lzo_uint length, uint8_t *out, lzo_uint *bytes_out, void *memory)

cdef enum:
    WORST_BYTES = PAGE_BYTES + PAGE_BYTES // 16 + 67    # lzo1x_worst_compress(); liblzo2 does not look for the end

if lzo_init() != LZO_E_OK:
    raise ImportError("liblzo2 does not fit this machine")


cdef class LzoCodec(PageCodec):
    """LZO1X-1; there is nothing to choose."""

    cdef uint8_t *memory                # of the compressor
    cdef uint8_t worst[WORST_BYTES]     # a page's compressed form, which may be longer than a stream's scratch

    def __cinit__(self):
        self.memory = <uint8_t *>calloc(1, LZO1X_1_MEM_COMPRESS)
        if self.memory == NULL:
            raise MemoryError

    def __dealloc__(self):
        free(self.memory)

    cdef int compress_page(self, const uint8_t *page, uint8_t *data) noexcept nogil:
        cdef lzo_uint length = 0
        if lzo1x_1_compress(page, PAGE_BYTES, self.worst, &length, self.memory) != LZO_E_OK:
            return FAILED
        if length >= PAGE_BYTES:
            return PAGE_BYTES
        memcpy(data, self.worst, length)
        return <int>length

    cdef int decompress_page(self, const uint8_t *data, int length, uint8_t *page) noexcept nogil:
        cdef lzo_uint bytes_out = PAGE_BYTES
        if lzo1x_decompress_safe(data, length, page, &bytes_out, NULL) != LZO_E_OK:
            return -1
        return 0 if bytes_out == PAGE_BYTES else -1

    def __repr__(self):
        return "<LzoCodec>"
