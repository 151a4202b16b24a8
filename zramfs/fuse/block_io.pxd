from libc.stdint cimport uint64_t

cdef class BlockIo:
    cdef readonly object device
    cdef bint opened_async

    cpdef Py_ssize_t read_into(self, uint64_t offset_bytes, object out) except -2
    cpdef Py_ssize_t write_nowait(self, uint64_t offset_bytes, object data, object is_async) except -2
    cpdef Py_ssize_t write_at_once(self, uint64_t offset_bytes, object data, object is_async) except -2
    cdef object bio(self, uint64_t offset_bytes, object data, object is_async)
    cdef Py_ssize_t bytes_before_end(self, uint64_t offset_bytes, Py_ssize_t size_bytes)
