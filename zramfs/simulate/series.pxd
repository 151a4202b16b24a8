from libc.stdint cimport int64_t

cdef enum:
    INTERVALS = 512

cdef class LevelSeries:
    cdef readonly int64_t interval_ns
    cdef double areas[INTERVALS]            # level times ns
    cdef int64_t maxima[INTERVALS]
    cdef int64_t changed_ns
    cdef readonly int64_t level

    cdef void change(self, int64_t now_ns, int64_t level) noexcept nogil
    cdef void _advance(self, int64_t now_ns) noexcept nogil
    cdef void _widen(self) noexcept nogil
