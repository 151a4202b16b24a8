from libc.stdint cimport uint8_t, uint64_t

cimport cython

cdef enum:
    EXTENT_PAGES = 8192
    POPULATE_PAGES = 16

@cython.final
cdef class Extents:
    cdef readonly uint64_t system_page_bytes    # memory goes back in portions of so many
    cdef bint are_pages_shared              # several zspages may have a part in a page of the system
    cdef uint8_t **extents
    cdef uint64_t count
    cdef uint64_t populated_pages           # from the first extent's start: faulted in, or about to be
    cdef uint8_t *users                     # of each of the system's pages, if shared: zspages that keep its memory

    # The holder of the arena's lock.
    cdef bint reach(self, uint64_t end_page) noexcept nogil
    cdef uint8_t *address(self, uint64_t page) noexcept nogil
    cdef uint8_t *portion_to_populate(self, uint64_t end_page) noexcept nogil
    cdef void hold(self, uint64_t first_page, uint64_t pages) noexcept nogil
    cdef void drop(self, uint64_t first_page, uint64_t pages) noexcept nogil

    # Whoever is alone.
    cdef void unmap(self) noexcept nogil

    cdef bint _add_extent(self) noexcept nogil
    cdef uint8_t *_map_extent(self) noexcept nogil

# Any thread.
cdef void populate(uint8_t *address, uint64_t size_bytes) noexcept nogil
cdef void give_back(void *address, uint64_t size_bytes) noexcept nogil
