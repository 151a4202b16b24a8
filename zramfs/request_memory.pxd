from libc.stdint cimport int64_t

cdef class RequestMemory:
    cdef readonly int64_t held_bytes
    cdef readonly int64_t limit_bytes

    cpdef bint has_room(self, int64_t size_bytes) noexcept
    cpdef void hold(self, int64_t size_bytes) noexcept
    cpdef void let_go(self, int64_t size_bytes) noexcept
