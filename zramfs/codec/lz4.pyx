# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""LZ4 blocks, one page at a time, without the GIL and without a Python object on the way.

Compressed by `lz4_page.c`, or by `lz4_dictionary_page.c` where there is a dictionary: both choose the kernel's matches.
Decompressed by liblz4.
"""

from libc.stdint cimport uint8_t

from zramfs.codec.run cimport PageCodec
from zramfs.page cimport PAGE_BYTES

cdef extern from "lz4_page.h" nogil:
    struct lz4_page_table:
        pass
    int lz4_page_compress(
        lz4_page_table *table, const uint8_t *page, int page_bytes, uint8_t *block, unsigned int acceleration)

cdef extern from "lz4_dictionary_page.h" nogil:
    enum:
        LZ4_DICTIONARY_MOST_BYTES
    struct lz4_positions:
        pass
    struct lz4_dictionary:
        const uint8_t *content
        int bytes
    void lz4_dictionary_load(lz4_dictionary *dictionary, const uint8_t *content, unsigned int bytes)
    int lz4_dictionary_compress(
        const lz4_dictionary *dictionary, lz4_positions *scratch, const uint8_t *page, int page_bytes,
        uint8_t *block, unsigned int acceleration)

cdef extern from "<lz4.h>" nogil:
    int LZ4_decompress_safe(const char *source, char *destination, int compressed_bytes, int capacity_bytes)
    int LZ4_decompress_safe_usingDict(
        const char *source, char *destination, int compressed_bytes, int capacity_bytes, const char *dictionary,
        int dictionary_bytes)

MAX_ACCELERATION = 65537    # LZ4_ACCELERATION_MAX


cdef class Lz4Dictionary:
    """A dictionary with its hash table; any number of codecs may share it.

    LZ4 refers back 64 KiB: of a longer one only the end counts.
    """

    cdef bytes kept
    cdef lz4_dictionary loaded

    def __cinit__(self, bytes content not None):
        self.kept = content[-LZ4_DICTIONARY_MOST_BYTES:]
        lz4_dictionary_load(&self.loaded, self.kept, <unsigned int>len(self.kept))


cdef class Lz4Codec(PageCodec):
    """LZ4 at an acceleration of 1 (the kernel's, compresses best) to MAX_ACCELERATION (fastest)."""

    cdef lz4_page_table table
    cdef readonly int acceleration

    def __cinit__(self, int acceleration=1):
        self.acceleration = min(max(acceleration, 1), MAX_ACCELERATION)  # as liblz4 does: 0 would search nowhere

    cdef int compress_page(self, const uint8_t *page, uint8_t *data) noexcept nogil:
        return lz4_page_compress(&self.table, page, PAGE_BYTES, data, self.acceleration)

    cdef int decompress_page(self, const uint8_t *data, int length, uint8_t *page) noexcept nogil:
        cdef int bytes_out = LZ4_decompress_safe(<const char *>data, <char *>page, length, PAGE_BYTES)
        return 0 if bytes_out == PAGE_BYTES else -1

    def __repr__(self):
        return f"<Lz4Codec acceleration={self.acceleration}>"


cdef class Lz4DictionaryCodec(PageCodec):
    """LZ4 blocks that refer to a dictionary, at any acceleration of Lz4Codec's."""

    cdef Lz4Dictionary dictionary
    cdef lz4_positions scratch
    cdef readonly int acceleration

    def __cinit__(self, Lz4Dictionary dictionary not None, int acceleration=1):
        self.dictionary = dictionary
        self.acceleration = min(max(acceleration, 1), MAX_ACCELERATION)

    cdef int compress_page(self, const uint8_t *page, uint8_t *data) noexcept nogil:
        return lz4_dictionary_compress(
            &self.dictionary.loaded, &self.scratch, page, PAGE_BYTES, data, self.acceleration
        )

    cdef int decompress_page(self, const uint8_t *data, int length, uint8_t *page) noexcept nogil:
        cdef int bytes_out = LZ4_decompress_safe_usingDict(
            <const char *>data, <char *>page, length, PAGE_BYTES, <const char *>self.dictionary.loaded.content,
            self.dictionary.loaded.bytes
        )
        return 0 if bytes_out == PAGE_BYTES else -1

    def __repr__(self):
        return f"<Lz4DictionaryCodec acceleration={self.acceleration}>"
