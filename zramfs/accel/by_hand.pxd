from cpython.buffer cimport Py_buffer
from libc.stdint cimport uint8_t, uint64_t

from zramfs.codec.run cimport CompressedPage, PageCodec
from zramfs.streams cimport Stream, StreamManager, Waiter

cdef class HeldStream:
    cdef readonly StreamManager manager
    cdef Stream stream
    cdef Py_buffer source
    cdef bint has_source
    cdef int ends
    cdef object callback

    cdef const char *hold(self, source, uint64_t offset_bytes, int pages) except NULL

cdef struct CallersPlace:
    Waiter waiter
    void *caller

cdef class Caller:
    cdef readonly StreamManager manager
    cdef object callback
    cdef CallersPlace place

cdef void restore(PageCodec codec, const CompressedPage *result, uint8_t *page) noexcept nogil
