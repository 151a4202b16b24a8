# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""LZ4 blocks as lz4hc makes them: slower to compress and smaller; liblz4 both ways."""

from libc.stdint cimport uint8_t
from libc.string cimport memcpy

from zramfs.codec.run cimport FAILED, SCRATCH_BYTES, PageCodec
from zramfs.page cimport PAGE_BYTES

cdef extern from "<lz4hc.h>" nogil:
    ctypedef struct LZ4_streamHC_t:
        pass
    LZ4_streamHC_t *LZ4_createStreamHC()
    int LZ4_freeStreamHC(LZ4_streamHC_t *stream)
    void LZ4_resetStreamHC_fast(LZ4_streamHC_t *stream, int level)
    int LZ4_loadDictHC(LZ4_streamHC_t *stream, const char *dictionary, int bytes)
    int LZ4_compress_HC_continue(LZ4_streamHC_t *stream, const char *source, char *block, int bytes, int capacity_bytes)

cdef extern from "<lz4.h>" nogil:
    int LZ4_decompress_safe_usingDict(
        const char *source, char *destination, int compressed_bytes, int capacity_bytes, const char *dictionary,
        int dictionary_bytes)

# LZ4 refers back 64 KiB: of a longer dictionary only the end counts.
DICTIONARY_BYTES = 64 << 10


cdef class Lz4hcDictionary:
    """A dictionary with its tables, for one level; any number of codecs may share it."""

    cdef bytes kept
    cdef const char *content
    cdef int content_bytes
    cdef LZ4_streamHC_t *loaded

    def __cinit__(self, bytes content not None, int level):
        self.kept = content[-DICTIONARY_BYTES:]
        self.content = self.kept
        self.content_bytes = <int>len(self.kept)
        self.loaded = LZ4_createStreamHC()
        if self.loaded == NULL:
            raise MemoryError
        LZ4_resetStreamHC_fast(self.loaded, level)
        LZ4_loadDictHC(self.loaded, self.content, self.content_bytes)

    def __dealloc__(self):
        LZ4_freeStreamHC(self.loaded)


cdef class Lz4hcCodec(PageCodec):
    """LZ4 at a level of 1 to 12, which compresses best; with a dictionary at the dictionary's level."""

    cdef LZ4_streamHC_t *stream
    cdef Lz4hcDictionary dictionary
    cdef readonly int level

    def __cinit__(self, int level, Lz4hcDictionary dictionary=None):
        self.dictionary = dictionary
        self.stream = LZ4_createStreamHC()
        if self.stream == NULL:
            raise MemoryError
        self.level = level

    def __dealloc__(self):
        LZ4_freeStreamHC(self.stream)

    cdef int compress_page(self, const uint8_t *page, uint8_t *data) noexcept nogil:
        # A stream, because its fast reset leaves the 256 KiB of tables that LZ4_compress_HC() clears for each page.
        # A dictionary's tables are copied: loading it anew, as the kernel does, takes longer.
        if self.dictionary is None:
            LZ4_resetStreamHC_fast(self.stream, self.level)
        else:
            memcpy(self.stream, self.dictionary.loaded, sizeof(LZ4_streamHC_t))
        cdef int length = LZ4_compress_HC_continue(
            self.stream, <const char *>page, <char *>data, PAGE_BYTES, SCRATCH_BYTES
        )
        return length if length > 0 else FAILED

    cdef int decompress_page(self, const uint8_t *data, int length, uint8_t *page) noexcept nogil:
        cdef const char *words = NULL
        cdef int words_bytes = 0
        if self.dictionary is not None:
            words, words_bytes = self.dictionary.content, self.dictionary.content_bytes
        cdef int bytes_out = LZ4_decompress_safe_usingDict(
            <const char *>data, <char *>page, length, PAGE_BYTES, words, words_bytes
        )
        return 0 if bytes_out == PAGE_BYTES else -1

    def __repr__(self):
        return f"<Lz4hcCodec level={self.level}{'' if self.dictionary is None else ' with a dictionary'}>"
