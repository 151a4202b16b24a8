from libc.stdint cimport int64_t

cdef short events_within(int fd, int64_t budget_ns) noexcept
