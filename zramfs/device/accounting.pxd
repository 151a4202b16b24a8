from libc.stdint cimport int64_t, uint64_t

cdef class OperationCount:
    cdef readonly uint64_t ios
    cdef readonly uint64_t sectors
    cdef readonly int64_t time_ns

cdef class IoAccounting:
    cdef readonly OperationCount read
    cdef readonly OperationCount write
    cdef readonly OperationCount discard
    cdef readonly OperationCount flush
    cdef readonly uint64_t in_flight
    cdef public uint64_t failed_reads
    cdef public uint64_t failed_writes
    cdef int64_t busy_ns
    cdef int64_t busy_since_ns

    cpdef int64_t begin(self) noexcept
    cpdef void end(self, OperationCount operation, uint64_t size_bytes, int64_t start_ns) noexcept
    cpdef void abandon(self) noexcept
    cdef void _leave(self, int64_t now_ns) noexcept
