# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""Zstandard frames by libzstd, with a digested dictionary if there is one."""

from libc.stdint cimport uint8_t

from zramfs.codec.run cimport FAILED, SCRATCH_BYTES, PageCodec
from zramfs.page cimport PAGE_BYTES

cdef extern from "<zstd.h>" nogil:
    ctypedef struct ZSTD_CCtx:
        pass
    ctypedef struct ZSTD_DCtx:
        pass
    ctypedef struct ZSTD_CDict:
        pass
    ctypedef struct ZSTD_DDict:
        pass
    ZSTD_CCtx *ZSTD_createCCtx()
    size_t ZSTD_freeCCtx(ZSTD_CCtx *context)
    ZSTD_DCtx *ZSTD_createDCtx()
    size_t ZSTD_freeDCtx(ZSTD_DCtx *context)
    ZSTD_CDict *ZSTD_createCDict(const void *content, size_t bytes, int level)
    size_t ZSTD_freeCDict(ZSTD_CDict *dictionary)
    ZSTD_DDict *ZSTD_createDDict(const void *content, size_t bytes)
    size_t ZSTD_freeDDict(ZSTD_DDict *dictionary)
    size_t ZSTD_compressCCtx(ZSTD_CCtx *, void *frame, size_t capacity, const void *source, size_t bytes, int level)
    size_t ZSTD_compress_usingCDict(
        ZSTD_CCtx *, void *frame, size_t capacity, const void *source, size_t bytes, const ZSTD_CDict *
    )
    size_t ZSTD_decompressDCtx(ZSTD_DCtx *, void *out, size_t capacity, const void *frame, size_t bytes)
    size_t ZSTD_decompress_usingDDict(
        ZSTD_DCtx *, void *out, size_t capacity, const void *frame, size_t bytes, const ZSTD_DDict *
    )
    unsigned ZSTD_isError(size_t result)
    int ZSTD_minCLevel()
    int ZSTD_maxCLevel()

MIN_LEVEL = ZSTD_minCLevel()
MAX_LEVEL = ZSTD_maxCLevel()


cdef class ZstdDictionary:
    """A dictionary digested for one level; any number of codecs may share it. ValueError if libzstd cannot read it."""

    cdef ZSTD_CDict *compressing
    cdef ZSTD_DDict *decompressing

    def __cinit__(self, bytes content not None, int level):
        self.compressing = ZSTD_createCDict(<const uint8_t *>content, len(content), level)
        self.decompressing = ZSTD_createDDict(<const uint8_t *>content, len(content))
        if self.compressing == NULL or self.decompressing == NULL:
            raise ValueError("this is no zstd dictionary")

    def __dealloc__(self):
        ZSTD_freeCDict(self.compressing)
        ZSTD_freeDDict(self.decompressing)


cdef class ZstdCodec(PageCodec):
    """Zstandard at a level of MIN_LEVEL (fastest) to MAX_LEVEL; with a dictionary at the dictionary's level."""

    cdef ZSTD_CCtx *compressor
    cdef ZSTD_DCtx *decompressor
    cdef ZstdDictionary dictionary
    cdef readonly int level

    def __cinit__(self, int level, ZstdDictionary dictionary=None):
        self.compressor = ZSTD_createCCtx()
        self.decompressor = ZSTD_createDCtx()
        if self.compressor == NULL or self.decompressor == NULL:
            raise MemoryError
        self.dictionary = dictionary
        self.level = level

    def __dealloc__(self):
        ZSTD_freeCCtx(self.compressor)
        ZSTD_freeDCtx(self.decompressor)

    cdef int compress_page(self, const uint8_t *page, uint8_t *data) noexcept nogil:
        cdef size_t length
        if self.dictionary is None:
            length = ZSTD_compressCCtx(self.compressor, data, SCRATCH_BYTES, page, PAGE_BYTES, self.level)
        else:
            length = ZSTD_compress_usingCDict(
                self.compressor, data, SCRATCH_BYTES, page, PAGE_BYTES, self.dictionary.compressing
            )
        return FAILED if ZSTD_isError(length) else <int>length

    cdef int decompress_page(self, const uint8_t *data, int length, uint8_t *page) noexcept nogil:
        cdef size_t bytes_out
        if self.dictionary is None:
            bytes_out = ZSTD_decompressDCtx(self.decompressor, page, PAGE_BYTES, data, length)
        else:
            bytes_out = ZSTD_decompress_usingDDict(
                self.decompressor, page, PAGE_BYTES, data, length, self.dictionary.decompressing
            )
        return 0 if bytes_out == PAGE_BYTES else -1  # an error is a number far above

    def __repr__(self):
        return f"<ZstdCodec level={self.level}{'' if self.dictionary is None else ' with a dictionary'}>"
