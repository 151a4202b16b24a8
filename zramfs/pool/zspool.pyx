# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""A user-space zsmalloc in anonymous memory mapped by us.

A *zspage* is 1 to 8 contiguous pages holding objects of one size class (`size_classes`). An object begins with
its owner's number where the kernel's begins with its handle, so that compaction can tell the owner where it
went; the huge class has neither header nor compaction. A handle is `zspage number << 16 | object number`.

Everything runs on the thread of the event loop and never waits, so nothing here locks.
"""

from libc.stdint cimport int64_t
from libc.stdlib cimport free as c_free
from libc.stdlib cimport realloc
from libc.string cimport memcpy, memset

from zramfs.memory cimport MADV_DONTNEED, MAP_FIXED, madvise, map_memory, munmap

from zramfs.pool.size_classes import HANDLE_BYTES, SIZE_CLASSES

cdef extern from "<unistd.h>" nogil:
    long sysconf(int name)
    enum:
        _SC_PAGESIZE

cdef enum:
    PAGE_BYTES = 4096
    MADV_POPULATE_WRITE = 23     # <linux/mman.h> since 5.14; older headers lack it, older kernels refuse it
    MADV_DONTNEED_LOCKED = 24    # likewise, since 5.18
    NONE = 0xFFFFFFFF            # no zspage
    NO_OBJECT = 0xFFFF
    FULLEST_GROUP = 10           # 90 to 99 % of the objects in use (ZS_INUSE_RATIO_99)
    EMPTY_GROUP = 0
    FULL_GROUP = 11              # on no list: it has nothing to give, and nothing to move
    # A zspage that falls empty keeps its memory while at most 4 MiB are spare: overwriting would otherwise pay
    # a madvise and a page fault (6.5 µs for two pages) for each object that is the last of its zspage. Each zspage of
    # them may keep a page of the system from going back.
    SPARE_BYTES_MAX = 4 << 20
    # The arena grows by 32 MiB of addresses, and is faulted in 64 pages at a time: 1.3 µs a page instead of 2.0 µs
    # when each page faults by itself, on a virtual machine.
    EXTENT_PAGES = 8192
    EXTENT_BYTES = EXTENT_PAGES * PAGE_BYTES
    POPULATE_PAGES = 64
    ARENA_PAGES_MAX = 0xFFFFFFFF # 16 TiB: what a zspage's first_page can tell
    LARGEST_SYSTEM_PAGE_BYTES = 65536

cdef uint64_t NO_HANDLE = 0xFFFFFFFFFFFFFFFFULL


cdef void give_back(void *address, uint64_t size_bytes) noexcept nogil:
    """Return whole pages of the system. A daemon that swaps has its memory locked, which MADV_DONTNEED refuses.

    Before Linux 5.18 new memory takes the place of locked memory, and is itself locked if the process wants that.
    """
    if madvise(address, size_bytes, MADV_DONTNEED) and madvise(address, size_bytes, MADV_DONTNEED_LOCKED):
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


cdef inline uint8_t fullness_group(uint32_t in_use, uint32_t objects) noexcept nogil:
    """get_fullness_group(): 0 when empty, 1 to 10 by tenths, 11 when full."""
    if in_use == 0:
        return EMPTY_GROUP
    if in_use == objects:
        return FULL_GROUP
    return <uint8_t>(100 * in_use // objects // 10 + 1)


cdef class ZsPool:
    """A pool of compressed pages.

    `used_pages` moves by whole zspages, as the kernel's zs_get_total_pages(). Address space and memory are taken only
    as objects come. Memory goes back in pages of the system, of `system_page_bytes`: where these are larger than ours,
    one stays until no zspage has a part in it.
    """

    def __cinit__(self, uint64_t system_page_bytes=SYSTEM_PAGE_BYTES):
        if not system_page_bytes or system_page_bytes % PAGE_BYTES or POPULATE_PAGES * PAGE_BYTES % system_page_bytes:
            raise ValueError(f"a system has no pages of {system_page_bytes} bytes")
        self.system_page_bytes = system_page_bytes
        self.spare_pages_max = SPARE_BYTES_MAX // system_page_bytes
        self._fill_class_table()

    def __dealloc__(self):
        self._free_arena()

    def _fill_class_table(self):
        first_step_of = {}
        for step, size_class in enumerate(SIZE_CLASSES):
            first_step = first_step_of.setdefault(size_class, step)
            self.class_of_step[step] = first_step
            self.classes[step].object_bytes = size_class.object_bytes
            self.classes[step].pages = size_class.pages_per_zspage
            self.classes[step].objects = size_class.objects_per_zspage
            self.classes[step].header_bytes = 0 if size_class.is_huge else HANDLE_BYTES
        self._forget_zspages()

    cdef void _forget_zspages(self) noexcept nogil:
        cdef int step, group, pages
        for step in range(CLASS_STEPS):
            self.classes[step].zspages = 0
            self.classes[step].objects_in_use = 0
            for group in range(PARTIAL_GROUPS):
                self.classes[step].partial[group] = NONE
        for pages in range(MAX_PAGES_PER_ZSPAGE + 1):
            self.resident[pages] = NONE
            self.released[pages] = NONE
        self.zspage_count = 0
        self.carved_pages = 0
        self.populated_pages = 0
        self.used_pages = 0
        self.spare_pages = 0
        self.object_count = 0

    # ---- objects ---------------------------------------------------------------------------------------------

    cdef uint64_t allocate(self, uint32_t payload_bytes, uint64_t owner) noexcept nogil:
        """Room for 1 to 4096 bytes, or NO_HANDLE when the system gives no more memory (zs_malloc)."""
        cdef uint32_t step = self.class_of(payload_bytes)
        cdef uint32_t index = self._first_partial(&self.classes[step], FULLEST_GROUP, EMPTY_GROUP, -1)
        if index == NONE:
            index = self._new_zspage(step)
        return NO_HANDLE if index == NONE else self._take_object(index, owner)

    cdef uint32_t class_of(self, uint32_t payload_bytes) noexcept nogil:
        """The size class for 1 to 4096 bytes; of two the smaller has the smaller objects (get_size_class_index)."""
        cdef uint32_t step = 0
        if payload_bytes + 8 > 32:
            step = (payload_bytes + 8 - 32 + 15) // 16
        return self.class_of_step[min(step, <uint32_t>(CLASS_STEPS - 1))]

    cdef void free(self, uint64_t handle) noexcept nogil:
        """Give an object back; its zspage too when that was its last (zs_free)."""
        self._give_object(<uint32_t>(handle >> 16), <uint16_t>(handle & 0xFFFF))

    cdef uint8_t *payload(self, uint64_t handle) noexcept nogil:
        """Where the object's bytes are, until it is freed or the pool is compacted."""
        cdef Zspage *zspage = &self.zspages[handle >> 16]
        cdef SizeClassTable *size_class = &self.classes[zspage.class_step]
        return zspage.base + (handle & 0xFFFF) * size_class.object_bytes + size_class.header_bytes

    cdef uint64_t _take_object(self, uint32_t index, uint64_t owner) noexcept nogil:
        cdef Zspage *zspage = &self.zspages[index]
        cdef SizeClassTable *size_class = &self.classes[zspage.class_step]
        cdef uint16_t object_index = zspage.free_head
        cdef uint8_t *start
        if object_index == NO_OBJECT:
            object_index = zspage.untouched
            zspage.untouched += 1
            start = zspage.base + object_index * size_class.object_bytes
        else:
            start = zspage.base + object_index * size_class.object_bytes
            zspage.free_head = (<uint16_t *>start)[0]
        if size_class.header_bytes:
            (<uint64_t *>start)[0] = owner
        zspage.in_use += 1
        size_class.objects_in_use += 1
        self.object_count += 1
        self._regroup(index)
        return (<uint64_t>index << 16) | object_index

    cdef void _give_object(self, uint32_t index, uint16_t object_index) noexcept nogil:
        cdef Zspage *zspage = &self.zspages[index]
        cdef SizeClassTable *size_class = &self.classes[zspage.class_step]
        (<uint16_t *>(zspage.base + object_index * size_class.object_bytes))[0] = zspage.free_head
        zspage.free_head = object_index
        zspage.in_use -= 1
        size_class.objects_in_use -= 1
        self.object_count -= 1
        if zspage.in_use == 0:
            self._retire(index)
        else:
            self._regroup(index)

    # ---- fullness groups ----------------------------------------------------------------------------------------

    cdef void _regroup(self, uint32_t index) noexcept nogil:
        """Keep the zspage on its group's list (fix_fullness_group)."""
        cdef Zspage *zspage = &self.zspages[index]
        cdef uint8_t group = fullness_group(zspage.in_use, self.classes[zspage.class_step].objects)
        if group != zspage.group:
            self._unlink(index)
            self._link(index, group)

    cdef void _link(self, uint32_t index, uint8_t group) noexcept nogil:
        cdef Zspage *zspage = &self.zspages[index]
        cdef uint32_t *head
        zspage.group = group
        if group == EMPTY_GROUP or group == FULL_GROUP:
            return
        head = &self.classes[zspage.class_step].partial[group]
        zspage.previous = NONE
        zspage.next = head[0]
        if head[0] != NONE:
            self.zspages[head[0]].previous = index
        head[0] = index

    cdef void _unlink(self, uint32_t index) noexcept nogil:
        cdef Zspage *zspage = &self.zspages[index]
        if zspage.group == EMPTY_GROUP or zspage.group == FULL_GROUP:
            return
        if zspage.previous == NONE:
            self.classes[zspage.class_step].partial[zspage.group] = zspage.next
        else:
            self.zspages[zspage.previous].next = zspage.next
        if zspage.next != NONE:
            self.zspages[zspage.next].previous = zspage.previous

    # ---- zspages and their memory -------------------------------------------------------------------------------

    cdef uint32_t _new_zspage(self, uint32_t step) noexcept nogil:
        """An empty zspage on no list: a spare one, its memory kept if possible, or a freshly carved one."""
        cdef SizeClassTable *size_class = &self.classes[step]
        cdef uint32_t pages = size_class.pages
        cdef uint32_t index = self.resident[pages]
        if index != NONE:
            self.resident[pages] = self.zspages[index].next
            self.spare_pages -= pages
        else:
            index = self.released[pages]
            if index != NONE:
                self.released[pages] = self.zspages[index].next
            else:
                index = self._carve(pages)
                if index == NONE:
                    return NONE
            self._hold_memory(&self.zspages[index], pages)
        cdef Zspage *zspage = &self.zspages[index]
        zspage.free_head = NO_OBJECT
        zspage.untouched = 0
        zspage.in_use = 0
        zspage.class_step = <uint8_t>step
        zspage.group = EMPTY_GROUP
        size_class.zspages += 1
        self.used_pages += pages
        return index

    cdef void _retire(self, uint32_t index) noexcept nogil:
        """Take an empty zspage out of its class; give its memory back if enough is spare already."""
        cdef Zspage *zspage = &self.zspages[index]
        cdef SizeClassTable *size_class = &self.classes[zspage.class_step]
        self._unlink(index)
        size_class.zspages -= 1
        self.used_pages -= size_class.pages
        if self.spare_pages + size_class.pages <= self.spare_pages_max:
            zspage.next = self.resident[size_class.pages]
            self.resident[size_class.pages] = index
            self.spare_pages += size_class.pages
        else:
            self._release_memory(zspage, size_class.pages)
            zspage.next = self.released[size_class.pages]
            self.released[size_class.pages] = index

    cdef uint32_t _carve(self, uint32_t pages) noexcept nogil:
        """A zspage from a part of the arena that none has used yet, or NONE. It lies within one extent."""
        cdef uint64_t first_page = self.carved_pages
        cdef Zspage *grown
        cdef Zspage *zspage
        if first_page % EXTENT_PAGES + pages > EXTENT_PAGES:
            first_page += EXTENT_PAGES - first_page % EXTENT_PAGES
        if self.zspage_count == self.zspage_room:
            grown = <Zspage *>realloc(self.zspages, (2 * self.zspage_room + 256) * sizeof(Zspage))
            if grown == NULL:
                return NONE
            self.zspages = grown
            self.zspage_room = 2 * self.zspage_room + 256
        if not self._extend(first_page + pages):
            return NONE
        self.carved_pages = first_page + pages
        zspage = &self.zspages[self.zspage_count]
        zspage.base = self.extents[first_page // EXTENT_PAGES] + first_page % EXTENT_PAGES * PAGE_BYTES
        zspage.first_page = <uint32_t>first_page
        self.zspage_count += 1
        return self.zspage_count - 1

    cdef bint _extend(self, uint64_t end_page) noexcept nogil:
        """Let the arena have its pages up to `end_page`, and fault them in, ahead and in larger portions."""
        cdef uint64_t page = self.populated_pages
        if end_page > self.extent_count * EXTENT_PAGES and not self._add_extent():
            return False
        if end_page > page:
            # A kernel without MADV_POPULATE_WRITE refuses, and the pages fault in one by one: slower, as good.
            madvise(
                self.extents[page // EXTENT_PAGES] + page % EXTENT_PAGES * PAGE_BYTES,
                POPULATE_PAGES * PAGE_BYTES,
                MADV_POPULATE_WRITE,
            )
            self.populated_pages += POPULATE_PAGES
        return True

    cdef bint _add_extent(self) noexcept nogil:
        cdef uint64_t count = self.extent_count
        cdef uint64_t system_pages = EXTENT_BYTES // self.system_page_bytes
        cdef uint8_t **extents
        cdef uint8_t *users
        if (count + 1) * EXTENT_PAGES > ARENA_PAGES_MAX:
            return False
        extents = <uint8_t **>realloc(self.extents, (count + 1) * sizeof(uint8_t *))
        if extents == NULL:
            return False
        self.extents = extents
        users = <uint8_t *>realloc(self.users, (count + 1) * system_pages)
        if users == NULL:
            return False
        self.users = users
        memset(users + count * system_pages, 0, system_pages)
        extents[count] = self._map_extent()
        if extents[count] == NULL:
            return False
        self.extent_count += 1
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

    cdef void _free_arena(self) noexcept nogil:
        cdef uint64_t i
        for i in range(self.extent_count):
            munmap(self.extents[i], EXTENT_BYTES)
        c_free(self.extents)
        c_free(self.users)
        c_free(self.zspages)
        self.extents = NULL
        self.users = NULL
        self.zspages = NULL
        self.extent_count = 0
        self.zspage_room = 0

    cdef void _hold_memory(self, Zspage *zspage, uint32_t pages) noexcept nogil:
        """Count the zspage as a user of each page of the system that it has a part in."""
        cdef uint64_t begin = zspage.first_page * <uint64_t>PAGE_BYTES
        cdef uint64_t page
        for page in range(begin // self.system_page_bytes, (begin + pages * PAGE_BYTES - 1) // self.system_page_bytes + 1):
            self.users[page] += 1

    cdef void _release_memory(self, Zspage *zspage, uint32_t pages) noexcept nogil:
        """Give those pages of the system back in which no other zspage has a part that it keeps."""
        cdef uint64_t begin = zspage.first_page * <uint64_t>PAGE_BYTES
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
                zspage.base + <int64_t>(first * self.system_page_bytes - begin), (end - first) * self.system_page_bytes
            )

    cdef void _release_spares(self) noexcept nogil:
        cdef uint32_t index
        cdef int pages
        for pages in range(1, MAX_PAGES_PER_ZSPAGE + 1):
            while self.resident[pages] != NONE:
                index = self.resident[pages]
                self.resident[pages] = self.zspages[index].next
                self._release_memory(&self.zspages[index], pages)
                self.zspages[index].next = self.released[pages]
                self.released[pages] = index
        self.spare_pages = 0

    # ---- compaction ---------------------------------------------------------------------------------------------

    cdef uint64_t compact_some(self, uint64_t max_objects, Relocate relocate, void *owners) noexcept nogil:
        """Move about `max_objects` objects out of sparse zspages; how many were moved (zs_compact).

        None means that there is nothing left to gain; spare memory then goes back to the system.
        """
        cdef uint64_t moved = 0
        cdef int step
        for step in range(CLASS_STEPS - 1, -1, -1):
            if self.class_of_step[step] == step and moved < max_objects:
                moved += self._compact_class(&self.classes[step], max_objects - moved, relocate, owners)
        if moved == 0:
            self._release_spares()
        return moved

    cdef uint64_t _compact_class(
        self, SizeClassTable *size_class, uint64_t max_objects, Relocate relocate, void *owners
    ) noexcept nogil:
        cdef uint64_t moved = 0
        cdef uint32_t source, target
        while moved < max_objects:
            if size_class.zspages * size_class.objects - size_class.objects_in_use < size_class.objects:
                break  # zs_can_compact(): not a whole zspage to gain
            target = self._first_partial(size_class, FULLEST_GROUP, EMPTY_GROUP, -1)
            self._unlink(target)
            self.zspages[target].group = EMPTY_GROUP
            source = self._first_partial(size_class, EMPTY_GROUP + 1, FULL_GROUP, 1)
            moved += self._migrate(source, target, relocate, owners)
            self._regroup(target)
            if self.zspages[source].in_use == 0:
                self._retire(source)
            else:
                self._regroup(source)
        return moved

    cdef uint32_t _first_partial(self, SizeClassTable *size_class, int first, int end, int step) noexcept nogil:
        """The first zspage met from group `first` to before `end`; at least two exist when there is a gain."""
        while first != end and size_class.partial[first] == NONE:
            first += step
        return NONE if first == end else size_class.partial[first]

    cdef uint64_t _migrate(
        self, uint32_t source, uint32_t target, Relocate relocate, void *owners
    ) noexcept nogil:
        """Move objects until `source` is empty or `target` is full; how many (migrate_zspage)."""
        cdef Zspage *old = &self.zspages[source]
        cdef Zspage *new = &self.zspages[target]
        cdef SizeClassTable *size_class = &self.classes[old.class_step]
        cdef uint8_t is_free[PAGE_BYTES]
        cdef uint16_t object_index = old.free_head
        cdef uint64_t moved = 0
        cdef uint16_t landed
        cdef uint8_t *start
        cdef uint8_t *landing
        memset(is_free, 0, old.untouched)
        while object_index != NO_OBJECT:
            is_free[object_index] = 1
            object_index = (<uint16_t *>(old.base + object_index * size_class.object_bytes))[0]
        for object_index in range(old.untouched):
            if new.in_use == size_class.objects or old.in_use == 0:
                break
            if is_free[object_index]:
                continue
            landed = new.free_head
            if landed == NO_OBJECT:
                landed = new.untouched
                new.untouched += 1
            else:
                new.free_head = (<uint16_t *>(new.base + landed * size_class.object_bytes))[0]
            start = old.base + object_index * size_class.object_bytes
            landing = new.base + landed * size_class.object_bytes
            memcpy(landing, start, size_class.object_bytes)
            relocate(owners, (<uint64_t *>landing)[0], (<uint64_t>target << 16) | landed)
            (<uint16_t *>start)[0] = old.free_head
            old.free_head = object_index
            old.in_use -= 1
            new.in_use += 1
            moved += 1
        return moved

    # ---- for Python -----------------------------------------------------------------------------------------------

    def clear(self):
        """Forget every object and give all memory back at once, however much was stored."""
        self._free_arena()
        self._forget_zspages()

    def put(self, bytes payload not None, uint64_t owner=0):
        """Store a copy of 1 to 4096 bytes and return its handle; MemoryError when there is no room."""
        if not 1 <= len(payload) <= PAGE_BYTES:
            raise ValueError(f"an object has 1 to {PAGE_BYTES} bytes, not {len(payload)}")
        cdef uint64_t handle = self.allocate(len(payload), owner)
        if handle == NO_HANDLE:
            raise MemoryError("the pool cannot grow")
        memcpy(self.payload(handle), <const uint8_t *>payload, len(payload))
        return handle

    def get(self, uint64_t handle, uint32_t payload_bytes):
        """Return a copy of the first `payload_bytes` of a live object."""
        return (<const uint8_t *>self.payload(handle))[:payload_bytes]

    def discard(self, uint64_t handle):
        """Free a live object."""
        self.free(handle)

    def compact(self, uint64_t max_objects=NO_HANDLE):
        """Compact and return the moves as ``(owner, new handle)``, for owners without a slot table."""
        moves = []
        self.compact_some(max_objects, note_move, <void *>moves)
        return moves

    def __repr__(self):
        return f"<ZsPool {self.object_count} objects in {self.used_pages} pages, {self.spare_pages} spare>"


cdef void note_move(void *owners, uint64_t owner, uint64_t handle) noexcept nogil:
    with gil:
        (<list>owners).append((owner, handle))
