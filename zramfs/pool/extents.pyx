# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""The addresses of an arena, and the memory behind them, which comes and goes in pages of the system.

Addresses are numbered in pages of 4096 bytes. Where the system's pages are larger, one stays until no zspage has a
part in it.
"""

from libc.stdlib cimport free as c_free
from libc.stdlib cimport realloc
from libc.string cimport memset

from zramfs.memory cimport MADV_DONTNEED, MAP_FIXED, madvise, map_memory, munmap, try_give_back
from zramfs.page cimport PAGE_BYTES

cdef extern from "<unistd.h>" nogil:
    long sysconf(int name)
    enum:
        _SC_PAGESIZE

cdef enum:
    MADV_POPULATE_WRITE = 23     # <linux/mman.h> since 5.14; older headers lack it, older kernels refuse it
    # The arena grows by 32 MiB of addresses, and is faulted in 16 pages at a time, on a virtual machine: 1.3 µs a page,
    # as for 32 and 64, instead of 2.3 µs when each page faults by itself. One write in some 25 pays the 20 µs.
    EXTENT_BYTES = EXTENT_PAGES * PAGE_BYTES
    ARENA_PAGES_MAX = 0xFFFFFFFF # 16 TiB: what a zspage's first_page can tell
    LARGEST_SYSTEM_PAGE_BYTES = 65536


cdef void populate(uint8_t *address, uint64_t size_bytes) noexcept nogil:
    """Fault pages in together. Where the kernel refuses they fault in one by one: slower, as good."""
    madvise(address, size_bytes, MADV_POPULATE_WRITE)


cdef void give_back(void *address, uint64_t size_bytes) noexcept nogil:
    """Return whole pages of the system.

    Before Linux 5.18 new memory takes the place of locked memory, and is itself locked if the process wants that.
    """
    if not try_give_back(address, size_bytes):
        map_memory(address, size_bytes, MAP_FIXED)


cdef inline uint64_t padding(uint8_t *address, uint64_t alignment) noexcept nogil:
    """Bytes from there to the next multiple of `alignment`, a power of two."""
    return -<uint64_t>address & (alignment - 1)


cdef uint64_t find_system_page_bytes() noexcept:
    """What MADV_DONTNEED takes away at once: the page that sysconf tells of, or a larger one.

    A program for another architecture, whose instructions are translated, may be told of smaller pages than there are.
    """
    cdef uint64_t told_bytes = sysconf(_SC_PAGESIZE)
    cdef uint64_t wiped_bytes = 0
    cdef uint64_t place
    cdef uint8_t *room = map_memory(NULL, 2 * LARGEST_SYSTEM_PAGE_BYTES, 0)
    cdef uint8_t *page = room + padding(room, LARGEST_SYSTEM_PAGE_BYTES)
    if room == NULL:
        return told_bytes
    for place in range(0, LARGEST_SYSTEM_PAGE_BYTES, PAGE_BYTES):
        page[place] = 1
    if madvise(page, min(told_bytes, <uint64_t>LARGEST_SYSTEM_PAGE_BYTES), MADV_DONTNEED) == 0:
        while wiped_bytes < LARGEST_SYSTEM_PAGE_BYTES and page[wiped_bytes] == 0:
            wiped_bytes += PAGE_BYTES
    munmap(room, 2 * LARGEST_SYSTEM_PAGE_BYTES)
    return max(told_bytes, wiped_bytes)


SYSTEM_PAGE_BYTES = find_system_page_bytes()


cdef class Extents:
    """Mapped portions of the arena. The arena's lock protects it."""

    def __cinit__(self, uint64_t system_page_bytes):
        if not system_page_bytes or system_page_bytes % PAGE_BYTES or POPULATE_PAGES * PAGE_BYTES % system_page_bytes:
            raise ValueError(f"a system has no pages of {system_page_bytes} bytes")
        self.system_page_bytes = system_page_bytes
        self.are_pages_shared = system_page_bytes > PAGE_BYTES

    def __dealloc__(self):
        self.unmap()

    cdef uint8_t *address(self, uint64_t page) noexcept nogil:
        return self.extents[page // EXTENT_PAGES] + page % EXTENT_PAGES * PAGE_BYTES

    cdef bint reach(self, uint64_t end_page) noexcept nogil:
        """Have addresses up to `end_page`; they are mapped once for 8192 pages, in about 5 µs."""
        return end_page <= self.count * EXTENT_PAGES or self._add_extent()

    cdef uint8_t *portion_to_populate(self, uint64_t end_page) noexcept nogil:
        """The next portion if `end_page` comes near it, for the caller to populate without a lock; or NULL.

        Half a portion ahead, so that other threads have memory meanwhile.
        """
        cdef uint64_t page = self.populated_pages
        if end_page + POPULATE_PAGES // 2 <= page or page == self.count * EXTENT_PAGES:
            return NULL
        self.populated_pages += POPULATE_PAGES
        return self.address(page)

    cdef bint _add_extent(self) noexcept nogil:
        cdef uint64_t count = self.count
        cdef uint64_t system_pages = EXTENT_BYTES // self.system_page_bytes
        cdef uint8_t **extents
        cdef uint8_t *users
        if (count + 1) * EXTENT_PAGES > ARENA_PAGES_MAX:
            return False
        extents = <uint8_t **>realloc(self.extents, (count + 1) * sizeof(uint8_t *))
        if extents == NULL:
            return False
        self.extents = extents
        if self.are_pages_shared:
            users = <uint8_t *>realloc(self.users, (count + 1) * system_pages)
            if users == NULL:
                return False
            self.users = users
            memset(users + count * system_pages, 0, system_pages)
        extents[count] = self._map_extent()
        if extents[count] == NULL:
            return False
        self.count += 1
        return True

    cdef uint8_t *_map_extent(self) noexcept nogil:
        """Addresses that begin with a page of the system, or NULL."""
        cdef uint64_t slack = self.system_page_bytes - PAGE_BYTES
        cdef uint8_t *room = map_memory(NULL, EXTENT_BYTES + slack, 0)
        cdef uint64_t skipped = padding(room, self.system_page_bytes)
        if room == NULL:
            return NULL
        if skipped:
            munmap(room, skipped)
        if slack > skipped:
            munmap(room + skipped + EXTENT_BYTES, slack - skipped)
        return room + skipped

    cdef void hold(self, uint64_t first_page, uint64_t pages) noexcept nogil:
        """Count a zspage as a user of each page of the system that it has a part in."""
        cdef uint64_t begin = first_page * PAGE_BYTES
        cdef uint64_t page
        if self.are_pages_shared:
            for page in range(
                begin // self.system_page_bytes, (begin + pages * PAGE_BYTES - 1) // self.system_page_bytes + 1
            ):
                self.users[page] += 1

    cdef void drop(self, uint64_t first_page, uint64_t pages) noexcept nogil:
        """Give those pages of the system back in which no other zspage has a part that it keeps.

        The arena's lock is held meanwhile, as another zspage might begin to use such a page.
        """
        cdef uint64_t begin = first_page * PAGE_BYTES
        cdef uint64_t first = begin // self.system_page_bytes
        cdef uint64_t end = (begin + pages * PAGE_BYTES - 1) // self.system_page_bytes + 1
        cdef uint64_t page
        for page in range(first, end):
            self.users[page] -= 1
        if self.users[first]:
            first += 1
        if first < end and self.users[end - 1]:  # between these two it has no neighbours
            end -= 1
        if first < end:
            give_back(
                self.address(first * self.system_page_bytes // PAGE_BYTES), (end - first) * self.system_page_bytes
            )

    cdef void unmap(self) noexcept nogil:
        cdef uint64_t i
        for i in range(self.count):
            munmap(self.extents[i], EXTENT_BYTES)
        c_free(self.extents)
        c_free(self.users)
        self.extents = NULL
        self.users = NULL
        self.count = 0
        self.populated_pages = 0
