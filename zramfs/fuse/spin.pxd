from libc.stdint cimport int64_t

cdef bint is_readable(int fd, int64_t budget_ns) noexcept
