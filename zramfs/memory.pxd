# Memory mapped by us, for compiled parts: zeros, resident only where it is touched, and never as huge pages.

from libc.stdint cimport uint8_t, uint64_t

from zramfs.page cimport PAGE_BYTES

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

cdef enum:
    MADV_DONTNEED_LOCKED = 24   # since Linux 5.18

cdef inline bint try_give_back(void *address, uint64_t size_bytes) noexcept nogil:
    """Let the system have whole pages, which are zeros from then on; False if it refuses.

    MADV_DONTNEED does not take locked memory, which a daemon that swaps has.
    """
    return madvise(address, size_bytes, MADV_DONTNEED) == 0 or madvise(address, size_bytes, MADV_DONTNEED_LOCKED) == 0

cdef inline uint64_t give_back_behind(uint8_t *start, uint64_t used_bytes, uint64_t touched_bytes) noexcept nogil:
    """Give back the pages from `start` on behind the used ones; how many of the touched bytes may stay resident."""
    cdef uint64_t kept_bytes = (used_bytes + PAGE_BYTES - 1) // PAGE_BYTES * PAGE_BYTES
    if touched_bytes > kept_bytes and try_give_back(start + kept_bytes, touched_bytes - kept_bytes):
        return kept_bytes
    return touched_bytes

cdef class LazyMemory:
    cdef uint8_t *start
    cdef uint64_t size_bytes
