from libc.stdint cimport int64_t

cdef class RequestMemory:
    cdef int64_t held_now               # atomic
    cdef readonly int64_t limit_bytes

    cpdef bint has_room(self, int64_t size_bytes) noexcept nogil
    cpdef void hold(self, int64_t size_bytes) noexcept nogil
    cpdef void let_go(self, int64_t size_bytes) noexcept nogil
