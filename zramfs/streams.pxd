from libc.stdint cimport int64_t, uint64_t

from zramfs.codec.run cimport CompressedRun

cdef class Stream:
    cdef public CompressedRun run
    cdef public bint is_complete

    cpdef int submit(self, object source, uint64_t offset_bytes, int pages) except? -1
    cpdef int submit_polled(self, object source, uint64_t offset_bytes, int pages) except? -1
    cpdef when_complete(self, callback)

cdef class StreamManager:
    cdef public int stream_count
    cdef public int polled_run_pages
    cdef readonly bint is_off

    cpdef Stream get_stream(self)
    cpdef put_stream(self, Stream stream)
    cpdef bint can_poll(self, int pages)
    cpdef bint should_wait(self)
    cpdef when_free(self, callback)
    cpdef int64_t next_event_ns(self)
    cpdef poll_completions(self)
    cpdef bint help(self) except -1
