from libc.stdint cimport uint64_t

cdef class WriteBio:
    cdef readonly uint64_t offset_bytes
    cdef readonly object data
    cdef readonly bint is_async
