# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""A user-space zsmalloc in anonymous memory mapped by us.

A *zspage* is 1 to 8 contiguous pages holding objects of one size class (`size_classes`). An object begins with
its owner's number where the kernel's begins with its handle, so that compaction can tell the owner where it
went; the huge class has neither header nor compaction. A handle is `zspage number << 16 | object number`.

Each size class has a lock, and the arena another one; nobody holds two of them, and no system call is made under a
class's. Owners have locks of their own, which come before both. They are spin locks: an allocate and a free together
take 33 ns with them and 39 ns with pthread's mutexes (64 objects of one class, one thread, 2 GHz Xeon).
"""

from libc.stdint cimport uint16_t

from zramfs.atomic cimport expect_write, peek_u64, poke_u64
from zramfs.memory cimport map_memory, munmap
from zramfs.page cimport PAGE_BYTES
from zramfs.pool.compaction cimport Owners, compact_class
from zramfs.pool.spinlock cimport give_lock, take_lock
from zramfs.pool.zspages cimport (
    HEADER_BYTES,
    NONE,
    PARTIAL_GROUPS,
    count_objects,
    fullest_partial,
    give_place,
    is_huge,
    leave_if_empty,
    object_at,
    regroup_zspage,
    take_place,
    tenths_for,
    zspage_at,
)

from zramfs.pool.extents import SYSTEM_PAGE_BYTES
from zramfs.pool.size_classes import HANDLE_BYTES, SIZE_CLASSES

cdef enum:
    CLASS_BYTES = 128   # two lines of cache, which CPUs fetch together: classes beside each other do not share any


cdef class ZsPool:
    """A pool of compressed pages.

    Used pages move by whole zspages, as the kernel's zs_get_total_pages(). Address space and memory are taken only as
    objects come. Memory goes back in pages of the system, of `system_page_bytes`.
    """

    def __cinit__(self, uint64_t system_page_bytes=SYSTEM_PAGE_BYTES):
        assert sizeof(SizeClass) <= CLASS_BYTES and HANDLE_BYTES == HEADER_BYTES
        self.arena = Arena(system_page_bytes)
        self.chunks = self.arena.chunks
        self.classes = map_memory(NULL, CLASS_STEPS * CLASS_BYTES, 0)
        if self.classes == NULL:
            raise MemoryError("there is no address space for a table of size classes")
        self._fill_class_table()

    def __dealloc__(self):
        if self.classes != NULL:
            munmap(self.classes, CLASS_STEPS * CLASS_BYTES)

    def _fill_class_table(self):
        cdef SizeClass *size_class
        first_step_of = {}
        for step, geometry in enumerate(SIZE_CLASSES):
            self.class_of_step[step] = first_step_of.setdefault(geometry, step)
            size_class = self._class_at(step)
            size_class.step = step
            size_class.object_bytes = geometry.object_bytes
            size_class.pages = geometry.pages_per_zspage
            size_class.objects = geometry.objects_per_zspage
            size_class.tenths = tenths_for(size_class.objects)
        self._forget_zspages()

    cdef void _forget_zspages(self) noexcept nogil:
        cdef SizeClass *size_class
        cdef int step, group
        for step in range(CLASS_STEPS):
            size_class = self._class_at(step)
            size_class.zspages = 0
            size_class.objects_in_use = 0
            for group in range(PARTIAL_GROUPS):
                size_class.partial[group] = NONE

    cdef inline SizeClass *_class_at(self, uint64_t step) noexcept nogil:
        return <SizeClass *>(self.classes + step * CLASS_BYTES)

    # ---- objects ---------------------------------------------------------------------------------------------

    cdef uint64_t allocate(self, uint32_t payload_bytes, uint64_t owner) noexcept nogil:
        """Room for 1 to 4096 bytes, or NO_HANDLE when the system gives no more memory (zs_malloc)."""
        cdef SizeClass *size_class = self._class_at(self.class_of(payload_bytes))
        cdef Zspage *zspage
        cdef uint32_t index
        cdef uint16_t number
        if is_huge(size_class):
            index = self.arena.take(size_class)
            return NO_HANDLE if index == NONE else <uint64_t>index << 16
        take_lock(&size_class.lock)
        index = fullest_partial(size_class)
        if index == NONE:
            give_lock(&size_class.lock)  # the system may have to find memory
            index = self.arena.take(size_class)
            if index == NONE:
                return NO_HANDLE
            take_lock(&size_class.lock)
            size_class.zspages += 1
        zspage = zspage_at(self.chunks, index)
        number = take_place(zspage)
        (<uint64_t *>object_at(zspage, number))[0] = owner
        count_objects(size_class, 1)
        regroup_zspage(size_class, self.chunks, index)
        give_lock(&size_class.lock)
        return (<uint64_t>index << 16) | number

    cdef uint32_t class_of(self, uint32_t payload_bytes) noexcept nogil:
        """The size class for 1 to 4096 bytes; of two the smaller has the smaller objects (get_size_class_index)."""
        cdef uint32_t step = 0
        if payload_bytes + HEADER_BYTES > 32:
            step = (payload_bytes + HEADER_BYTES - 32 + 15) // 16
        return self.class_of_step[min(step, <uint32_t>(CLASS_STEPS - 1))]

    cdef void free(self, uint64_t handle) noexcept nogil:
        """Give an object back; its zspage too when that was its last (zs_free)."""
        cdef uint32_t index = <uint32_t>(handle >> 16)
        cdef Zspage *zspage = zspage_at(self.chunks, index)
        cdef SizeClass *size_class = self._class_at(zspage.class_step)
        cdef bint is_empty
        if is_huge(size_class):
            self.arena.give(index, size_class)
            return
        take_lock(&size_class.lock)
        give_place(zspage, <uint16_t>handle)
        count_objects(size_class, -1)
        regroup_zspage(size_class, self.chunks, index)
        is_empty = leave_if_empty(size_class, self.chunks, index)
        give_lock(&size_class.lock)
        if is_empty:
            self.arena.give(index, size_class)

    cdef void expect_free(self, uint64_t handle) noexcept nogil:
        """Have the CPU fetch what `free` will write to."""
        expect_write(object_at(zspage_at(self.chunks, handle >> 16), handle & 0xFFFF))

    cdef uint8_t *payload(self, uint64_t handle) noexcept nogil:
        """Where the object's bytes are, until it is freed or moved."""
        cdef Zspage *zspage = zspage_at(self.chunks, handle >> 16)
        cdef uint32_t header_bytes = HEADER_BYTES if zspage.object_bytes < PAGE_BYTES else 0
        return object_at(zspage, handle & 0xFFFF) + header_bytes

    cdef uint64_t compact_some(
        self, uint64_t max_objects, TryLock try_lock, Relocate relocate, void *owners
    ) noexcept nogil:
        """Move about `max_objects` objects out of sparse zspages; how many were moved (zs_compact).

        None means that there is nothing to gain, or that owners are busy; spare memory then goes back to the system.
        """
        cdef Owners asked = Owners(try_lock, relocate, owners, 0)
        cdef uint64_t moved = 0
        cdef SizeClass *size_class
        cdef int step
        for step in range(CLASS_STEPS - 1, -1, -1):
            size_class = self._class_at(step)
            if self.class_of_step[step] == step and not is_huge(size_class) and moved < max_objects:
                moved += compact_class(size_class, self.arena, max_objects - moved, &asked)
        poke_u64(&self.compacted, self.compacted + asked.freed_pages)
        if moved == 0:
            self.arena.release_spares()
        return moved

    # ---- counts ----------------------------------------------------------------------------------------------

    cdef uint64_t pages_in_use(self) noexcept nogil:
        return peek_u64(&self.arena.used_pages)

    cdef uint64_t compacted_pages(self) noexcept nogil:
        """Pages of the zspages that compaction has emptied (zs_pool_stats)."""
        return peek_u64(&self.compacted)

    cdef void note_peak(self) noexcept nogil:
        """The peak counts what is in use now (update_used_max): the kernel looks when a write has its object, only."""
        if peek_u64(&self.arena.used_pages) > peek_u64(&self.arena.peak_pages):
            self.arena.raise_peak()

    cpdef uint64_t peak_pages(self) noexcept nogil:
        """The most pages in use that `note_peak` saw since `reset_peak`."""
        return peek_u64(&self.arena.peak_pages)

    cpdef void reset_peak(self) noexcept nogil:
        """Begin anew with the pages in use."""
        self.arena.reset_peak()

    cdef uint64_t objects_in_use(self) noexcept nogil:
        """A sum over classes, each from about the same time."""
        cdef uint64_t objects = 0
        cdef int step
        for step in range(CLASS_STEPS):
            objects += peek_u64(&self._class_at(step).objects_in_use)
        return objects

    cpdef uint64_t lock_waits(self) noexcept nogil:
        """How often a thread had to wait for a lock of the pool."""
        cdef uint64_t waits = peek_u64(&self.arena.lock.waits)
        cdef int step
        for step in range(CLASS_STEPS):
            waits += peek_u64(&self._class_at(step).lock.waits)
        return waits

    # ---- for Python -----------------------------------------------------------------------------------------------

    @property
    def system_page_bytes(self):
        """Memory goes back to the system in portions of so many."""
        return self.arena.extents.system_page_bytes

    @property
    def used_pages(self):
        """Pages of 4 KiB in zspages that hold objects."""
        return self.pages_in_use()

    @property
    def spare_pages(self):
        """Resident pages of zspages that fell empty."""
        return peek_u64(&self.arena.spare_pages)

    @property
    def object_count(self):
        """Live objects."""
        return self.objects_in_use()

    def clear(self):
        """Forget every object and give all memory back at once, however much was stored. Nobody else may be at work."""
        self.arena.clear()
        self._forget_zspages()

    def __repr__(self):
        return f"<ZsPool {self.object_count} objects in {self.used_pages} pages, {self.spare_pages} spare>"
