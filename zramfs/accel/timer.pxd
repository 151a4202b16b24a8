from libc.stdint cimport int64_t

cdef class EventTimer:
    cdef int timer_fd
    cdef int64_t armed_ns

    cdef void arm(self, int64_t at_ns) noexcept nogil
