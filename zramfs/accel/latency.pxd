from libc.stdint cimport int64_t, uint64_t

cdef class LatencyWindow:
    cdef int64_t *samples_ns
    cdef uint64_t count

    cdef void add(self, int64_t sample_ns) noexcept nogil
    cdef void clear(self) noexcept nogil
