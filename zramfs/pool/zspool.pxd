# A user-space zsmalloc whose objects come and go on any thread.

from libc.stdint cimport uint8_t, uint32_t, uint64_t

cimport cython

from zramfs.pool.arena cimport Arena
from zramfs.pool.compaction cimport Relocate, TryLock
from zramfs.pool.zspages cimport SizeClass, Zspage

cdef extern from *:
    """
    #define ZRAMFS_NO_HANDLE UINT64_MAX
    """
    const uint64_t NO_HANDLE "ZRAMFS_NO_HANDLE"

cdef enum:
    CLASS_STEPS = 255          # 16-byte steps from 32 to 4096 bytes

@cython.final
cdef class ZsPool:
    cdef Arena arena
    cdef Zspage **chunks                    # the arena's
    cdef uint8_t *classes                   # one for each step, CLASS_BYTES apart
    cdef uint8_t class_of_step[CLASS_STEPS]
    cdef uint64_t compacted                 # by whoever compacts, one at a time

    # Any thread, at any time but that of `clear`.
    cdef uint32_t class_of(self, uint32_t payload_bytes) noexcept nogil
    cdef uint64_t allocate(self, uint32_t payload_bytes, uint64_t owner) noexcept nogil
    cdef void free(self, uint64_t handle) noexcept nogil
    cdef uint64_t pages_in_use(self) noexcept nogil         # zs_get_total_pages()
    cdef uint64_t compacted_pages(self) noexcept nogil
    cdef void note_peak(self) noexcept nogil
    cpdef uint64_t peak_pages(self) noexcept nogil          # the most of them that note_peak() saw since reset_peak()
    cpdef void reset_peak(self) noexcept nogil
    cdef uint64_t objects_in_use(self) noexcept nogil
    cpdef uint64_t lock_waits(self) noexcept nogil          # how often somebody waited for one of the pool's locks

    # The same, without a lock of the pool: the caller holds the owner's lock, or has not told the owner of it yet.
    cdef uint8_t *payload(self, uint64_t handle) noexcept nogil
    cdef void expect_free(self, uint64_t handle) noexcept nogil

    # Any thread that holds no owner's lock.
    cdef uint64_t compact_some(
        self, uint64_t max_objects, TryLock try_lock, Relocate relocate, void *owners
    ) noexcept nogil

    cdef SizeClass *_class_at(self, uint64_t step) noexcept nogil
    cdef void _forget_zspages(self) noexcept nogil
