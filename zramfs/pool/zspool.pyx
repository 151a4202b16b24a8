# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""A user-space zsmalloc in anonymous memory mapped by us.

A *zspage* is 1 to 8 contiguous pages holding objects of one size class (`size_classes`). An object begins with
its owner's number where the kernel's begins with its handle, so that compaction can tell the owner where it
went; the huge class has neither header nor compaction. A handle is `zspage number << 16 | object number`.

Everything runs on the thread of the event loop and never waits, so nothing here locks.
"""

from libc.stdlib cimport free as c_free
from libc.stdlib cimport realloc
from libc.string cimport memcpy, memset

from zramfs.pool.size_classes import HANDLE_BYTES, SIZE_CLASSES

cdef extern from "<sys/mman.h>" nogil:
    void *mmap(void *address, size_t length, int protection, int flags, int fd, long offset)
    int munmap(void *address, size_t length)
    int mprotect(void *address, size_t length, int protection)
    int madvise(void *address, size_t length, int advice)
    int munlock(void *address, size_t length)
    int mlock2(void *address, size_t length, unsigned int flags)
    enum:
        PROT_NONE
        PROT_READ
        PROT_WRITE
        MAP_PRIVATE
        MAP_ANONYMOUS
        MAP_NORESERVE
        MADV_DONTNEED
        MADV_NOHUGEPAGE
        MLOCK_ONFAULT
    void *MAP_FAILED

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
    # a madvise and a page fault (6.5 µs for two pages) for each object that is the last of its zspage.
    SPARE_PAGES_MAX = 1024
    # Memory becomes accessible in steps of 32 MiB, and is faulted in 64 pages at a time: 1.3 µs a page
    # instead of 2.0 µs when each page faults by itself, on a virtual machine.
    ACCESS_STEP_BYTES = 32 << 20
    POPULATE_BYTES = 64 * PAGE_BYTES

cdef uint64_t NO_HANDLE = 0xFFFFFFFFFFFFFFFFULL


cdef void give_back(void *address, size_t length) noexcept nogil:
    """Return memory to the system. A daemon that swaps has its memory locked, which MADV_DONTNEED refuses."""
    if madvise(address, length, MADV_DONTNEED) == 0 or madvise(address, length, MADV_DONTNEED_LOCKED) == 0:
        return
    munlock(address, length)
    madvise(address, length, MADV_DONTNEED)
    mlock2(address, length, MLOCK_ONFAULT)


cdef inline uint8_t fullness_group(uint32_t in_use, uint32_t objects) noexcept nogil:
    """get_fullness_group(): 0 when empty, 1 to 10 by tenths, 11 when full."""
    if in_use == 0:
        return EMPTY_GROUP
    if in_use == objects:
        return FULL_GROUP
    return <uint8_t>(100 * in_use // objects // 10 + 1)


cdef class ZsPool:
    """A pool of compressed pages for a device of `page_count` pages.

    `used_pages` moves by whole zspages, as the kernel's zs_get_total_pages(). Raises MemoryError when the
    address space for it cannot be reserved; memory itself is taken only as objects come.
    """

    def __cinit__(self, uint64_t page_count):
        # Zspages of one length are reused for that length only, so that an object never crosses from one
        # extent into another. In the worst history each length peaks with one object a zspage: 1+2+…+8 = 36
        # pages of address space (not of memory) for each page of the device.
        self.arena_bytes = min(36 * page_count * PAGE_BYTES, <uint64_t>1 << 46)
        self.arena_bytes = (self.arena_bytes // ACCESS_STEP_BYTES + 1) * ACCESS_STEP_BYTES
        self.arena = <uint8_t *>mmap(
            NULL, self.arena_bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0
        )
        if self.arena == <uint8_t *>MAP_FAILED:
            self.arena = NULL
            raise MemoryError(f"cannot reserve {self.arena_bytes} bytes of address space for the pool")
        madvise(self.arena, self.arena_bytes, MADV_NOHUGEPAGE)
        self._fill_class_table()

    def __dealloc__(self):
        if self.arena != NULL:
            munmap(self.arena, self.arena_bytes)
        c_free(self.zspages)

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
        self.carved_bytes = 0
        self.populated_bytes = 0
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
        if self.spare_pages + size_class.pages <= SPARE_PAGES_MAX:
            zspage.next = self.resident[size_class.pages]
            self.resident[size_class.pages] = index
            self.spare_pages += size_class.pages
        else:
            give_back(zspage.base, size_class.pages * PAGE_BYTES)
            zspage.next = self.released[size_class.pages]
            self.released[size_class.pages] = index

    cdef uint32_t _carve(self, uint32_t pages) noexcept nogil:
        """A zspage from memory that none has used yet, or NONE."""
        cdef uint64_t start = self.carved_bytes
        cdef uint64_t end = start + pages * PAGE_BYTES
        cdef Zspage *grown
        if self.zspage_count == self.zspage_room:
            grown = <Zspage *>realloc(self.zspages, (2 * self.zspage_room + 256) * sizeof(Zspage))
            if grown == NULL:
                return NONE
            self.zspages = grown
            self.zspage_room = 2 * self.zspage_room + 256
        if not self._make_accessible(end):
            return NONE
        self.carved_bytes = end
        self.zspages[self.zspage_count].base = self.arena + start
        self.zspage_count += 1
        return self.zspage_count - 1

    cdef bint _make_accessible(self, uint64_t end) noexcept nogil:
        """Let the arena's first `end` bytes be touched, and fault them in, ahead and in larger portions."""
        if end > self.accessible_bytes:
            if self.accessible_bytes == self.arena_bytes or mprotect(
                self.arena + self.accessible_bytes, ACCESS_STEP_BYTES, PROT_READ | PROT_WRITE
            ):
                return False
            self.accessible_bytes += ACCESS_STEP_BYTES
        if end > self.populated_bytes:
            # A kernel without MADV_POPULATE_WRITE refuses, and the pages fault in one by one: slower, as good.
            madvise(self.arena + self.populated_bytes, POPULATE_BYTES, MADV_POPULATE_WRITE)
            self.populated_bytes += POPULATE_BYTES
        return True

    cdef void _release_spares(self) noexcept nogil:
        cdef uint32_t index
        cdef int pages
        for pages in range(1, MAX_PAGES_PER_ZSPAGE + 1):
            while self.resident[pages] != NONE:
                index = self.resident[pages]
                self.resident[pages] = self.zspages[index].next
                give_back(self.zspages[index].base, pages * PAGE_BYTES)
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
        if self.accessible_bytes:
            give_back(self.arena, self.accessible_bytes)
        c_free(self.zspages)
        self.zspages = NULL
        self.zspage_room = 0
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
