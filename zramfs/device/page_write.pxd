from libc.stdint cimport uint64_t

from zramfs.device.page_store cimport PageStore
from zramfs.streams cimport Stream

cdef class PageWrite:
    cdef PageStore store
    cdef object data
    cdef bint is_async
    cdef readonly uint64_t page         # the next one to submit
    cdef readonly uint64_t end          # behind the last one
    cdef uint64_t offset_bytes          # of the next page in `data`
    cdef object on_done
    cdef int in_flight                  # runs that a managed stream has
    cdef bint is_submitted              # nothing more is going to be submitted
    cdef object failure
    cdef object request

    cpdef bint submit_run(self)
    cpdef submit_all(self)

cpdef bint can_write_later(uint64_t offset_bytes, uint64_t size_bytes) noexcept
