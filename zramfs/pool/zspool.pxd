from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t

cdef enum:
    CLASS_STEPS = 255          # 16-byte steps from 32 to 4096 bytes
    PARTIAL_GROUPS = 11        # fullness groups with a list: 1..10, by tenths of objects in use
    MAX_PAGES_PER_ZSPAGE = 8

cdef uint64_t NO_HANDLE

# Told of each object that compaction moves: `owner` is what `allocate` was given for it.
ctypedef void (*Relocate)(void *owners, uint64_t owner, uint64_t handle) noexcept nogil

cdef struct SizeClassTable:
    uint32_t object_bytes
    uint32_t pages
    uint32_t objects
    uint32_t header_bytes                   # 8, or 0 in the huge class
    uint32_t partial[PARTIAL_GROUPS]        # the first zspage of each fullness group
    uint64_t zspages
    uint64_t objects_in_use

cdef struct Zspage:
    uint8_t *base
    uint32_t first_page                     # where that is in the arena, in pages
    uint32_t previous
    uint32_t next
    uint16_t free_head                      # the object given back last
    uint16_t untouched                      # objects from here on were never used
    uint16_t in_use
    uint8_t class_step
    uint8_t group

cdef class ZsPool:
    cdef readonly uint64_t system_page_bytes    # memory goes back in portions of so many
    cdef uint64_t spare_pages_max           # zspages that fell empty keep memory up to here
    cdef uint8_t **extents                  # the arena, EXTENT_PAGES each
    cdef uint64_t extent_count
    cdef uint64_t carved_pages              # from the arena's start, belong to zspages, in use or not
    cdef uint64_t populated_pages           # from the arena's start, were faulted in
    cdef uint8_t *users                     # of each of the system's pages in the arena: zspages whose memory is kept
    cdef Zspage *zspages
    cdef uint32_t zspage_count
    cdef uint32_t zspage_room
    cdef SizeClassTable classes[CLASS_STEPS]
    cdef uint8_t class_of_step[CLASS_STEPS]
    cdef uint32_t resident[MAX_PAGES_PER_ZSPAGE + 1]   # spare zspages by size, memory kept
    cdef uint32_t released[MAX_PAGES_PER_ZSPAGE + 1]   # spare zspages by size, memory given back
    cdef readonly uint64_t used_pages       # zs_get_total_pages()
    cdef readonly uint64_t spare_pages      # resident, in no zspage
    cdef readonly uint64_t object_count

    cdef uint64_t allocate(self, uint32_t payload_bytes, uint64_t owner) noexcept nogil
    cdef uint32_t class_of(self, uint32_t payload_bytes) noexcept nogil
    cdef void free(self, uint64_t handle) noexcept nogil
    cdef uint8_t *payload(self, uint64_t handle) noexcept nogil
    cdef uint64_t compact_some(self, uint64_t max_objects, Relocate relocate, void *owners) noexcept nogil

    cdef void _forget_zspages(self) noexcept nogil
    cdef void _release_spares(self) noexcept nogil
    cdef bint _extend(self, uint64_t end_page) noexcept nogil
    cdef bint _add_extent(self) noexcept nogil
    cdef uint8_t *_map_extent(self) noexcept nogil
    cdef void _free_arena(self) noexcept nogil
    cdef void _hold_memory(self, Zspage *zspage, uint32_t pages) noexcept nogil
    cdef void _release_memory(self, Zspage *zspage, uint32_t pages) noexcept nogil
    cdef uint32_t _new_zspage(self, uint32_t step) noexcept nogil
    cdef uint32_t _carve(self, uint32_t pages) noexcept nogil
    cdef void _retire(self, uint32_t index) noexcept nogil
    cdef void _link(self, uint32_t index, uint8_t group) noexcept nogil
    cdef void _unlink(self, uint32_t index) noexcept nogil
    cdef void _regroup(self, uint32_t index) noexcept nogil
    cdef uint64_t _take_object(self, uint32_t index, uint64_t owner) noexcept nogil
    cdef void _give_object(self, uint32_t index, uint16_t object_index) noexcept nogil
    cdef uint64_t _compact_class(
        self, SizeClassTable *size_class, uint64_t max_objects, Relocate relocate, void *owners
    ) noexcept nogil
    cdef uint32_t _first_partial(self, SizeClassTable *size_class, int first, int end, int step) noexcept nogil
    cdef uint64_t _migrate(
        self, uint32_t source, uint32_t target, Relocate relocate, void *owners
    ) noexcept nogil
