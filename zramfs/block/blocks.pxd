from libc.stdint cimport uint16_t, uint64_t

from zramfs.threads cimport pthread_mutex_t

cdef class BlockMap:
    cdef uint16_t *users                # of each block: the slot or write that it is reserved for, and reads of it
    cdef uint64_t lowest_free           # no block before this one is free
    cdef readonly uint64_t block_count
    cdef uint64_t reserved_count        # changes under the lock, and is shown without
    cdef pthread_mutex_t lock           # of all but `block_count`; the innermost of all, nothing is called with it held

    cdef void drop_user(self, uint64_t block) noexcept nogil
    cdef void release(self, uint64_t block) noexcept nogil
    cdef void _drop(self, uint64_t block) noexcept nogil
