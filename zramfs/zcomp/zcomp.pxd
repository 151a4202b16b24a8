from libc.stdint cimport int64_t, uint64_t

from zramfs.codec.run cimport PageCodec, RunCompressor
from zramfs.streams cimport Stream, StreamManager

cdef class PercpuStream(Stream):
    cdef readonly PageCodec codec
    cdef RunCompressor compressor

cdef class Zcomp:
    cdef readonly object backend
    cdef readonly object params
    cdef readonly PageCodec codec
    cdef StreamManager manager
    cdef object stream_policy
    cdef list percpu
    cdef bint prefers_managed_async
    cdef bint prefers_managed_sync
    cdef uint64_t percpu_pages
    cdef uint64_t managed_pages
    cdef uint64_t fallback_pages
    cdef int taken

    cdef bint is_nowait(self, Py_ssize_t pages, bint is_async) except -1
    cpdef int one_go_pages(self) except -1
    cdef Stream choose(self, object source, uint64_t offset_bytes, int pages, bint is_async, bint may_wait)
    cdef PercpuStream submit_here(self, object source, uint64_t offset_bytes, int pages, bint is_fallback)
    cdef bint may_stall(self) except -1
    cpdef when_free(self, callback)
    cpdef poll_completions(self)
    cpdef dict page_counts(self)
    cpdef int64_t next_event_ns(self)
    cdef PercpuStream percpu_stream(self)
    cpdef put_stream(self, Stream stream)
