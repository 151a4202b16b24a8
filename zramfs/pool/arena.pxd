from libc.stdint cimport uint8_t, uint32_t, uint64_t

cimport cython

from zramfs.pool.extents cimport Extents
from zramfs.pool.spinlock cimport SpinLock
from zramfs.pool.zspages cimport MAX_PAGES_PER_ZSPAGE, SizeClass, Zspage

cdef struct Portion:
    uint8_t *start
    uint64_t size_bytes

@cython.final
cdef class Arena:
    cdef Zspage **chunks                    # the table of zspages, read without the lock: nothing in it ever moves
    cdef Extents extents
    cdef uint64_t spare_pages_max
    # The lock protects all below, and `extents`. The counts of pages are atomic: anybody may read them.
    cdef SpinLock lock
    cdef uint32_t zspage_count
    cdef uint64_t carved_pages              # from the first extent's start, belong to zspages, in use or not
    cdef uint32_t resident[MAX_PAGES_PER_ZSPAGE + 1]   # spare zspages by size, memory kept
    cdef uint32_t released[MAX_PAGES_PER_ZSPAGE + 1]   # spare zspages by size, memory given back
    cdef uint64_t spare_pages               # resident, in no zspage of a size class
    cdef uint64_t used_pages                # zs_get_total_pages()
    cdef uint64_t peak_pages                # the most of them that note_peak() saw since reset_peak()

    # Any thread, with no lock of the pool.
    cdef uint32_t take(self, SizeClass *size_class) noexcept nogil
    cdef void give(self, uint32_t index, SizeClass *size_class) noexcept nogil
    cdef void release_spares(self) noexcept nogil
    cdef void raise_peak(self) noexcept nogil
    cdef void reset_peak(self) noexcept nogil

    # Whoever is alone.
    cdef void clear(self) noexcept nogil

    cdef void _forget(self) noexcept nogil
    cdef uint32_t _take_cold(self, uint32_t pages, Portion *cold) noexcept nogil
    cdef uint32_t _carve(self, uint32_t pages, Portion *cold) noexcept nogil
    cdef bint _make_room_in_table(self) noexcept nogil
    cdef void _release(self, uint32_t index, uint32_t pages) noexcept nogil
    cdef uint32_t _detach_spares(self, uint32_t pages) noexcept nogil
    cdef void _unmap_table(self) noexcept nogil
