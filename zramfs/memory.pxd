# Memory mapped by us, for compiled parts: zeros, resident only where it is touched, and never as huge pages.

from libc.stdint cimport uint8_t, uint64_t

cdef extern from "<sys/mman.h>" nogil:
    void *mmap(void *address, size_t length, int protection, int flags, int fd, long offset)
    int munmap(void *address, size_t length)
    int madvise(void *address, size_t length, int advice)
    enum:
        PROT_READ
        PROT_WRITE
        MAP_PRIVATE
        MAP_ANONYMOUS
        MAP_NORESERVE
        MAP_FIXED
        MADV_DONTNEED
        MADV_NOHUGEPAGE
    void *MAP_FAILED

cdef inline uint8_t *map_memory(void *address, uint64_t size_bytes, int flags) noexcept nogil:
    """NULL if the system refuses; `flags` beside those of anonymous memory: MAP_FIXED for `address`, or 0."""
    cdef void *start = mmap(
        address, size_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | flags, -1, 0
    )
    if start == MAP_FAILED:
        return NULL
    madvise(start, size_bytes, MADV_NOHUGEPAGE)
    return <uint8_t *>start

cdef class LazyMemory:
    cdef uint8_t *start
    cdef uint64_t size_bytes
