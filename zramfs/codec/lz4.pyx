# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""LZ4 blocks, one page at a time, without the GIL and without a Python object on the way.

Compressed by `lz4_page.c`, which chooses the kernel's matches, or by the system's liblz4 where there is a dictionary;
decompressed by liblz4.
"""

from libc.stdint cimport uint8_t
from libc.string cimport memcpy

from zramfs.codec.run cimport FAILED, PAGE_BYTES, SCRATCH_BYTES, PageCodec

cdef extern from "lz4_page.h" nogil:
    struct lz4_page_table:
        pass
    int lz4_page_compress(lz4_page_table *table, const uint8_t *page, uint8_t *block, unsigned int acceleration)

cdef extern from "<lz4.h>" nogil:
    ctypedef struct LZ4_stream_t:
        pass
    LZ4_stream_t *LZ4_createStream()
    int LZ4_freeStream(LZ4_stream_t *stream)
    int LZ4_loadDict(LZ4_stream_t *stream, const char *dictionary, int bytes)
    int LZ4_compress_fast_continue(
        LZ4_stream_t *stream, const char *source, char *block, int bytes, int capacity_bytes, int acceleration)
    int LZ4_decompress_safe(const char *source, char *destination, int compressed_bytes, int capacity_bytes)
    int LZ4_decompress_safe_usingDict(
        const char *source, char *destination, int compressed_bytes, int capacity_bytes, const char *dictionary,
        int dictionary_bytes)

MAX_ACCELERATION = 65537    # LZ4_ACCELERATION_MAX

# LZ4 refers back 64 KiB: of a longer dictionary only the end counts.
DICTIONARY_BYTES = 64 << 10


cdef class Lz4Dictionary:
    """A dictionary with its hash table; any number of codecs may share it."""

    cdef bytes kept
    cdef const char *content
    cdef int content_bytes
    cdef LZ4_stream_t *loaded

    def __cinit__(self, bytes content not None):
        self.kept = content[-DICTIONARY_BYTES:]
        self.content = self.kept
        self.content_bytes = <int>len(self.kept)
        self.loaded = LZ4_createStream()
        if self.loaded == NULL:
            raise MemoryError
        LZ4_loadDict(self.loaded, self.content, self.content_bytes)

    def __dealloc__(self):
        LZ4_freeStream(self.loaded)


cdef class Lz4Codec(PageCodec):
    """LZ4 at an acceleration of 1 (the kernel's, compresses best) to MAX_ACCELERATION (fastest)."""

    cdef lz4_page_table table
    cdef readonly int acceleration

    def __cinit__(self, int acceleration=1):
        self.acceleration = min(max(acceleration, 1), MAX_ACCELERATION)  # as liblz4 does: 0 would search nowhere

    cdef int compress_page(self, const uint8_t *page, uint8_t *data) noexcept nogil:
        return lz4_page_compress(&self.table, page, data, self.acceleration)

    cdef int decompress_page(self, const uint8_t *data, int length, uint8_t *page) noexcept nogil:
        cdef int bytes_out = LZ4_decompress_safe(<const char *>data, <char *>page, length, PAGE_BYTES)
        return 0 if bytes_out == PAGE_BYTES else -1

    def __repr__(self):
        return f"<Lz4Codec acceleration={self.acceleration}>"


cdef class Lz4DictionaryCodec(PageCodec):
    """LZ4 blocks that refer to a dictionary, at any acceleration of Lz4Codec's."""

    cdef Lz4Dictionary dictionary
    cdef LZ4_stream_t *stream
    cdef readonly int acceleration

    def __cinit__(self, Lz4Dictionary dictionary not None, int acceleration=1):
        self.dictionary = dictionary
        self.acceleration = min(max(acceleration, 1), MAX_ACCELERATION)
        self.stream = LZ4_createStream()
        if self.stream == NULL:
            raise MemoryError

    def __dealloc__(self):
        LZ4_freeStream(self.stream)

    cdef int compress_page(self, const uint8_t *page, uint8_t *data) noexcept nogil:
        # 16 KiB of table; loading the dictionary anew, as the kernel does, hashes all of it.
        memcpy(self.stream, self.dictionary.loaded, sizeof(LZ4_stream_t))
        cdef int length = LZ4_compress_fast_continue(
            self.stream, <const char *>page, <char *>data, PAGE_BYTES, SCRATCH_BYTES, self.acceleration
        )
        return length if length > 0 else FAILED

    cdef int decompress_page(self, const uint8_t *data, int length, uint8_t *page) noexcept nogil:
        cdef int bytes_out = LZ4_decompress_safe_usingDict(
            <const char *>data, <char *>page, length, PAGE_BYTES, self.dictionary.content, self.dictionary.content_bytes
        )
        return 0 if bytes_out == PAGE_BYTES else -1

    def __repr__(self):
        return f"<Lz4DictionaryCodec acceleration={self.acceleration}>"
