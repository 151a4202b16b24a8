# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""The zspages of a pool: where they come from when a size class needs one, and where they go when they fall empty.

A zspage keeps its number, its size and its addresses for good; its memory comes and goes.
"""

from zramfs.atomic cimport poke_u64
from zramfs.memory cimport map_memory, munmap
from zramfs.page cimport PAGE_BYTES
from zramfs.pool.extents cimport EXTENT_PAGES, POPULATE_PAGES, give_back, populate
from zramfs.pool.spinlock cimport give_lock, take_lock
from zramfs.pool.zspages cimport CHUNK_ZSPAGES, NONE, count_objects, is_huge, start_zspage, zspage_at

cdef enum:
    # A zspage that falls empty keeps its memory while at most 4 MiB are spare: overwriting would otherwise pay
    # a madvise and a page fault (6.5 µs for two pages) for each object that is the last of its zspage. Each zspage of
    # them may keep a page of the system from going back.
    SPARE_BYTES_MAX = 4 << 20
    CHUNKS_MAX = 65536           # numbers of zspages have 32 bits
    CHUNK_BYTES = CHUNK_ZSPAGES * sizeof(Zspage)
    DIRECTORY_BYTES = CHUNKS_MAX * sizeof(Zspage *)


cdef class Arena:
    """Zspages of 1 to 8 pages for all size classes of one pool."""

    def __cinit__(self, uint64_t system_page_bytes):
        self.extents = Extents(system_page_bytes)
        self.spare_pages_max = SPARE_BYTES_MAX // system_page_bytes
        self.chunks = <Zspage **>map_memory(NULL, DIRECTORY_BYTES, 0)
        if self.chunks == NULL:
            raise MemoryError("there is no address space for a table of zspages")
        self._forget()

    def __dealloc__(self):
        if self.chunks != NULL:
            self._unmap_table()
            munmap(self.chunks, DIRECTORY_BYTES)

    cdef uint32_t take(self, SizeClass *size_class) noexcept nogil:
        """A zspage with nothing in it, its memory kept if possible; or NONE when the system gives no more."""
        cdef uint32_t pages = size_class.pages
        cdef Portion cold
        cdef uint32_t index
        cold.start = NULL
        take_lock(&self.lock)
        index = self.resident[pages]
        if index != NONE:
            self.resident[pages] = zspage_at(self.chunks, index).next
            poke_u64(&self.spare_pages, self.spare_pages - pages)
        else:
            index = self._take_cold(pages, &cold)
        if index != NONE:
            poke_u64(&self.used_pages, self.used_pages + pages)
            start_zspage(size_class, zspage_at(self.chunks, index))
            if is_huge(size_class):
                count_objects(size_class, 1)
        give_lock(&self.lock)
        if cold.start != NULL:
            populate(cold.start, cold.size_bytes)
        return index

    cdef uint32_t _take_cold(self, uint32_t pages, Portion *cold) noexcept nogil:
        """A zspage whose memory was given back, or one that is new; and what the caller is to fault in.

        Refilling zspages of five pages takes 0.62 µs an object, and 0.82 µs where each page faults by itself.
        """
        cdef uint32_t index = self.released[pages]
        cdef Zspage *zspage
        if index == NONE:
            return self._carve(pages, cold)
        zspage = zspage_at(self.chunks, index)
        self.released[pages] = zspage.next
        self.extents.hold(zspage.first_page, pages)
        cold.start = zspage.base
        cold.size_bytes = pages * PAGE_BYTES
        return index

    cdef uint32_t _carve(self, uint32_t pages, Portion *cold) noexcept nogil:
        """A zspage from a part of the arena that none has used yet, or NONE. It lies within one extent."""
        cdef uint64_t first_page = self.carved_pages
        cdef Zspage *zspage
        if first_page % EXTENT_PAGES + pages > EXTENT_PAGES:
            first_page += EXTENT_PAGES - first_page % EXTENT_PAGES
        if not self._make_room_in_table() or not self.extents.reach(first_page + pages):
            return NONE
        self.carved_pages = first_page + pages
        zspage = zspage_at(self.chunks, self.zspage_count)
        zspage.base = self.extents.address(first_page)
        zspage.first_page = <uint32_t>first_page
        self.extents.hold(first_page, pages)
        cold.start = self.extents.portion_to_populate(self.carved_pages)
        cold.size_bytes = POPULATE_PAGES * PAGE_BYTES
        self.zspage_count += 1
        return self.zspage_count - 1

    cdef bint _make_room_in_table(self) noexcept nogil:
        cdef uint32_t chunk = self.zspage_count // CHUNK_ZSPAGES
        if self.chunks[chunk] == NULL:
            self.chunks[chunk] = <Zspage *>map_memory(NULL, CHUNK_BYTES, 0)
        return self.chunks[chunk] != NULL

    cdef void give(self, uint32_t index, SizeClass *size_class) noexcept nogil:
        """Take back a zspage with nothing in it; its memory goes to the system if enough is spare already."""
        cdef uint32_t pages = size_class.pages
        cdef bint is_kept
        take_lock(&self.lock)
        poke_u64(&self.used_pages, self.used_pages - pages)
        if is_huge(size_class):
            count_objects(size_class, -1)
        is_kept = self.spare_pages + pages <= self.spare_pages_max
        if is_kept:
            zspage_at(self.chunks, index).next = self.resident[pages]
            self.resident[pages] = index
            poke_u64(&self.spare_pages, self.spare_pages + pages)
        give_lock(&self.lock)
        if not is_kept:
            self._release(index, pages)

    cdef void _release(self, uint32_t index, uint32_t pages) noexcept nogil:
        """Give the memory of a zspage back that is on no list: nobody else takes it before that is done."""
        cdef Zspage *zspage = zspage_at(self.chunks, index)
        if not self.extents.are_pages_shared:
            give_back(zspage.base, pages * PAGE_BYTES)
        take_lock(&self.lock)
        if self.extents.are_pages_shared:
            self.extents.drop(zspage.first_page, pages)
        zspage.next = self.released[pages]
        self.released[pages] = index
        give_lock(&self.lock)

    cdef void release_spares(self) noexcept nogil:
        """Give the memory of all spare zspages back."""
        cdef uint32_t index, next_index
        cdef uint32_t pages
        for pages in range(1, MAX_PAGES_PER_ZSPAGE + 1):
            index = self._detach_spares(pages)
            while index != NONE:
                next_index = zspage_at(self.chunks, index).next
                self._release(index, pages)
                index = next_index

    cdef uint32_t _detach_spares(self, uint32_t pages) noexcept nogil:
        """The first of a list that is the caller's alone, or NONE."""
        cdef uint32_t first, index
        cdef uint64_t detached_pages = 0
        take_lock(&self.lock)
        first = index = self.resident[pages]
        while index != NONE:
            detached_pages += pages
            index = zspage_at(self.chunks, index).next
        self.resident[pages] = NONE
        poke_u64(&self.spare_pages, self.spare_pages - detached_pages)
        give_lock(&self.lock)
        return first

    cdef void raise_peak(self) noexcept nogil:
        take_lock(&self.lock)
        poke_u64(&self.peak_pages, max(self.peak_pages, self.used_pages))
        give_lock(&self.lock)

    cdef void reset_peak(self) noexcept nogil:
        take_lock(&self.lock)
        poke_u64(&self.peak_pages, self.used_pages)
        give_lock(&self.lock)

    cdef void clear(self) noexcept nogil:
        """Forget every zspage and give all memory back at once, however much was in use."""
        self.extents.unmap()
        self._unmap_table()
        self._forget()

    cdef void _unmap_table(self) noexcept nogil:
        cdef uint32_t chunk = 0
        while chunk < CHUNKS_MAX and self.chunks[chunk] != NULL:
            munmap(self.chunks[chunk], CHUNK_BYTES)
            self.chunks[chunk] = NULL
            chunk += 1

    cdef void _forget(self) noexcept nogil:
        cdef int pages
        for pages in range(MAX_PAGES_PER_ZSPAGE + 1):
            self.resident[pages] = NONE
            self.released[pages] = NONE
        self.zspage_count = 0
        self.carved_pages = 0
        self.spare_pages = 0
        self.used_pages = 0
        self.peak_pages = 0
