# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""The slot table: what each page of the device holds, and the only code that changes it.

Nothing here awaits or calls Python, so a commit is one step for every other task: a page is either its old or its
new contents, and each object belongs to exactly one slot.
"""

import threading

from cpython.buffer cimport PyBUF_WRITABLE, Py_buffer, PyBuffer_Release, PyObject_GetBuffer
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy, memset

from zramfs.clock cimport boot_time_s
from zramfs.clock cimport monotonic_ns
from zramfs.codec.run cimport FAILED, PAGE_BYTES, SAME_FILLED, CompressedPage, CompressedRun, PageCodec
from zramfs.memory cimport LazyMemory
from zramfs.pool.zspool cimport NO_HANDLE, ZsPool
from zramfs.threads cimport (
    pthread_cond_broadcast,
    pthread_cond_destroy,
    pthread_cond_init,
    pthread_cond_wait,
    pthread_mutex_destroy,
    pthread_mutex_init,
    pthread_mutex_lock,
    pthread_mutex_unlock,
)

from zramfs.errors import CorruptPage, MemoryLimitReached, ZramError
from zramfs.pool.size_classes import HUGE_CLASS_BYTES

assert sizeof(Slot) == 16

cdef extern from "<sched.h>" nogil:
    int sched_yield()

cdef enum:
    # A read of so many pages is worth a second thread: 64 pages take 35 to 100 µs, waking the helper about 10 µs.
    SHARED_READ_PAGES = 16
    SHARE_PAGES = 8
    # How long the helper looks for the next read before it sleeps.
    SPIN_NS = 200000

cdef void relocate_slot(void *slots, uint64_t owner, uint64_t handle) noexcept nogil:
    (<Slot *>slots)[owner].value = handle


cdef class Codecs:
    """What decompresses the pages of a device: the codec of its primary algorithm, and those of others by priority."""

    def __init__(self, PageCodec primary not None, others=None):
        others = others or {}
        self.primary = primary
        self.first, self.second, self.third = (others.get(priority) for priority in (1, 2, 3))

    cdef int decompress(self, uint8_t priority, const uint8_t *data, int length, uint8_t *page) noexcept nogil:
        """0, or -1 if `data` does not give exactly one page. A page has the priority of an algorithm that there is."""
        if priority == 0:
            return self.primary.decompress_page(data, length, page)
        if priority == 1:
            return self.first.decompress_page(data, length, page)
        if priority == 2:
            return self.second.decompress_page(data, length, page)
        return self.third.decompress_page(data, length, page)


cdef class ReadHelper:
    """A thread that takes its share of large reads; between them it sleeps.

    Whoever reads waits until the helper has left the read again, and nobody else runs meanwhile: the slots stay as they
    are. `codecs` are the helper's own.
    """

    def __cinit__(self, Codecs codecs not None):
        self.codecs = codecs
        pthread_mutex_init(&self.lock, NULL)
        pthread_cond_init(&self.changed, NULL)

    def __init__(self, Codecs codecs not None):
        self.thread = threading.Thread(target=self._run, name="read-helper", daemon=True)
        self.thread.start()

    def __dealloc__(self):
        pthread_cond_destroy(&self.changed)
        pthread_mutex_destroy(&self.lock)

    def close(self):
        """End the thread."""
        pthread_mutex_lock(&self.lock)
        self.closing = True
        pthread_cond_broadcast(&self.changed)
        pthread_mutex_unlock(&self.lock)
        self.thread.join()

    cdef int64_t read(self, SlotTable table, uint64_t first_page, uint64_t pages, uint8_t *out, Codecs codecs):
        """Load whole pages together with the helper; -1, or the number of a page that is not to be had so."""
        cdef int64_t failed_page
        self.table = table
        with nogil:
            pthread_mutex_lock(&self.lock)
            self.first_page, self.pages, self.out = first_page, pages, out
            self.next_page = 0
            self.failed_page = -1
            pthread_cond_broadcast(&self.changed)
            self._load_shares(codecs)
            while self.is_helping:
                self._yield()  # it is at its last share
            failed_page = self.failed_page
            pthread_mutex_unlock(&self.lock)
        self.table = None
        return failed_page

    cdef void _load_shares(self, Codecs codecs) noexcept nogil:
        """Load shares of the read until none is left. The lock is held, but for the work itself."""
        cdef uint64_t page, end
        cdef int64_t failed
        while self.next_page < self.pages:
            page = self.next_page
            end = min(page + SHARE_PAGES, self.pages)
            self.next_page = end
            pthread_mutex_unlock(&self.lock)
            failed = -1
            while page < end:
                if self.table._load_page(self.first_page + page, codecs, self.out + page * PAGE_BYTES):
                    failed = self.first_page + page
                page += 1
            pthread_mutex_lock(&self.lock)
            if failed >= 0:
                self.failed_page = failed

    def _run(self):
        cdef int64_t spin_ends_ns = 0
        with nogil:
            pthread_mutex_lock(&self.lock)
            while not self.closing:
                if self.next_page < self.pages:
                    self.is_helping = True
                    self._load_shares(self.codecs)
                    self.is_helping = False
                    spin_ends_ns = monotonic_ns() + SPIN_NS
                elif monotonic_ns() < spin_ends_ns:
                    self._yield()
                else:
                    pthread_cond_wait(&self.changed, &self.lock)
            pthread_mutex_unlock(&self.lock)

    cdef void _yield(self) noexcept nogil:
        """Let others have the lock, and the CPU."""
        pthread_mutex_unlock(&self.lock)
        sched_yield()
        pthread_mutex_lock(&self.lock)


cdef class SlotTable:
    """The slots of `page_count` pages, with the pool that holds their objects and the statistics of both.

    The table is address space until a page is written. `limit_pages` is mem_limit, 0 for none; `blocks` are those of
    the backing device, if there is one. Raises MemoryError when not even address space can be had.
    """

    def __cinit__(self, uint64_t page_count, uint64_t limit_pages=0, BlockMap blocks=None):
        self.page_count = page_count
        self.limit_pages = limit_pages
        self.blocks = blocks
        self.huge_class_bytes = HUGE_CLASS_BYTES
        cdef uint64_t slots_bytes = page_count * sizeof(Slot)
        cdef uint64_t groups_bytes = (page_count // GROUP_SLOTS + 1) * sizeof(uint16_t)
        self.memory = LazyMemory(slots_bytes + groups_bytes)
        self.slots = <Slot *>self.memory.start
        self.group_use = <uint16_t *>(self.memory.start + slots_bytes)
        self.pool = ZsPool()

    # ---- writing ----------------------------------------------------------------------------------------------

    cpdef int store(self, uint64_t first_page, CompressedRun run) except -1:
        """Commit a compressed run to the pages from `first_page` on, in order.

        Raises MemoryLimitReached at the first page that does not fit, or ZramError at one that its codec failed
        on; that page and those behind it keep their old contents.
        """
        cdef int i
        cdef int failure = 0
        cdef uint32_t now_s = boot_time_s()
        for i in range(run.count):
            failure = self._store_page(first_page + i, &run.pages[i], now_s)
            if failure:
                break
        if failure == FAILED:
            raise ZramError(f"page {first_page + i} could not be compressed")
        if failure:
            raise MemoryLimitReached(f"page {first_page + i} does not fit: {self.pool.used_pages} pages are in use")
        return 0

    cdef int _store_page(self, uint64_t page, CompressedPage *compressed, uint32_t now_s) noexcept nogil:
        """zram_write_page(): allocate, check the limit, free the old object, keep the new one. 0, FAILED or 1."""
        if compressed.length == SAME_FILLED:
            self._fill_slot(page, Slot(value=compressed.fill, accessed_s=now_s, length=0, kind=SAME, marks=0))
            self.same_pages += 1
            return 0
        if compressed.length < 0:
            return FAILED
        cdef bint huge = compressed.length >= self.huge_class_bytes
        cdef uint16_t length = PAGE_BYTES if huge else <uint16_t>compressed.length
        cdef uint64_t handle = self.pool.allocate(length, page)
        if handle == NO_HANDLE:
            return 1
        self.peak_pages = max(self.peak_pages, self.pool.used_pages)
        if self.limit_pages and self.pool.used_pages > self.limit_pages:
            self.pool.free(handle)
            return 1
        memcpy(self.pool.payload(handle), compressed.page if huge else compressed.data, length)
        self._fill_slot(page, Slot(value=handle, accessed_s=now_s, length=length, kind=STORED, marks=0))
        self.compressed_bytes += length
        self.huge_pages += huge
        self.huge_pages_since += huge
        return 0

    cdef void _fill_slot(self, uint64_t page, Slot slot) noexcept nogil:
        self._free_slot(page)
        self.slots[page] = slot
        self.group_use[page // GROUP_SLOTS] += 1
        self.stored_pages += 1

    cdef void _free_slot(self, uint64_t page) noexcept nogil:
        """zram_free_page(): whatever the page held is gone."""
        cdef Slot *slot = &self.slots[page]
        if slot.kind == EMPTY:
            return
        if slot.kind == SAME:
            self.same_pages -= 1
        elif slot.kind == WRITTEN:
            self.blocks.release(slot.value)
        else:
            self.pool.free(slot.value)
            self.compressed_bytes -= slot.length
            self.huge_pages -= slot.length == PAGE_BYTES
        self.group_use[page // GROUP_SLOTS] -= 1
        self.stored_pages -= 1
        slot.kind = EMPTY
        slot.marks = 0

    def discard_some(self, uint64_t first_page, uint64_t pages, uint64_t most):
        """Free whole pages until `most` that were in use are freed; how many pages are done with, of `pages`.

        Each counts as notified, even an empty one (zram_bio_discard).
        """
        cdef uint64_t page = first_page
        cdef uint64_t end = first_page + pages
        cdef uint64_t least_stored = self.stored_pages - min(most, self.stored_pages)
        while page < end and self.stored_pages > least_stored:
            if self.group_use[page // GROUP_SLOTS]:
                self._free_slot(page)
                page += 1
            else:
                page = min((page // GROUP_SLOTS + 1) * GROUP_SLOTS, end)
        if self.stored_pages == 0:
            page = end
        self.freed_notifications += page - first_page
        return page - first_page

    def find(self, uint64_t page, bint in_use):
        """Return the first page from `page` on that is in use, or that is not; the number of pages if there is none."""
        while page < self.page_count:
            if page % GROUP_SLOTS == 0 and self.group_use[page // GROUP_SLOTS] == (0 if in_use else GROUP_SLOTS):
                page += GROUP_SLOTS
            elif (self.slots[page].kind != EMPTY) == in_use:
                return page
            else:
                page += 1
        return self.page_count

    # ---- reading ----------------------------------------------------------------------------------------------

    cpdef bint read_into(
        self, uint64_t offset_bytes, object out, Codecs codecs, ReadHelper helper=None
    ) except -1:
        """Fill `out`, a writable buffer, from `offset_bytes` on; CorruptPage at a page that does not decompress.

        False, and `out` is worth nothing: a page is in the backing device (`written_back`). A large read of whole pages
        is shared with the `helper`, if there is one.
        """
        cdef Py_buffer room
        cdef int64_t failed_page
        cdef uint64_t pages
        PyObject_GetBuffer(out, &room, PyBUF_WRITABLE)
        self.now_s = boot_time_s()
        if helper is not None and room.len >= SHARED_READ_PAGES * PAGE_BYTES and (offset_bytes | room.len) % PAGE_BYTES == 0:
            pages = room.len // PAGE_BYTES
            failed_page = helper.read(self, offset_bytes // PAGE_BYTES, pages, <uint8_t *>room.buf, codecs)
        else:
            failed_page = self._load(offset_bytes, room.len, codecs, <uint8_t *>room.buf)
        PyBuffer_Release(&room)
        if failed_page < 0:
            return True
        if self.slots[failed_page].kind != WRITTEN:
            raise CorruptPage(f"page {failed_page} does not decompress")
        return False

    cdef int64_t _load(self, uint64_t offset_bytes, uint64_t size_bytes, Codecs codecs, uint8_t *out) noexcept nogil:
        """Load any range, on this thread; -1, or the number of a page that is not to be had so."""
        cdef uint8_t whole[PAGE_BYTES]
        cdef uint64_t page = offset_bytes // PAGE_BYTES
        cdef uint64_t skip = offset_bytes % PAGE_BYTES
        cdef uint64_t portion
        while size_bytes:
            portion = min(PAGE_BYTES - skip, size_bytes)
            if self._load_page(page, codecs, out if portion == PAGE_BYTES else <uint8_t *>whole):
                return page
            if portion < PAGE_BYTES:
                memcpy(out, whole + skip, portion)
            out += portion
            size_bytes -= portion
            skip = 0
            page += 1
        return -1

    cdef int _load_page(self, uint64_t page, Codecs codecs, uint8_t *out) noexcept nogil:
        """zram_read_page(): 4096 bytes, or -1: it does not decompress, or is in the backing device."""
        cdef Slot *slot = &self.slots[page]
        if slot.kind != EMPTY:
            slot.accessed_s = self.now_s
            slot.marks &= LASTING
        return self._decode_page(slot, codecs, out)

    cdef int _decode_page(self, Slot *slot, Codecs codecs, uint8_t *out) noexcept nogil:
        cdef int i
        if slot.kind == STORED and slot.length == PAGE_BYTES:
            memcpy(out, self.pool.payload(slot.value), PAGE_BYTES)
        elif slot.kind == STORED:
            return codecs.decompress(slot.marks >> PRIORITY_SHIFT, self.pool.payload(slot.value), slot.length, out)
        elif slot.kind == WRITTEN:
            return -1
        elif slot.kind == EMPTY or slot.value == 0:
            memset(out, 0, PAGE_BYTES)
        else:
            for i in range(0, PAGE_BYTES, 8):
                memcpy(out + i, &slot.value, 8)  # `out` is aligned to nothing in an unaligned read
        return 0

    # ---- memory -----------------------------------------------------------------------------------------------

    @property
    def used_pages(self):
        """Pages of memory in zspages: mem_used_total, in pages."""
        return self.pool.used_pages

    @property
    def object_count(self):
        """Objects in the pool: one for each page that is neither empty nor same-filled."""
        return self.pool.object_count

    def compact_some(self, uint64_t max_objects):
        """Move up to about `max_objects` objects to free whole zspages; False when nothing is left to gain."""
        cdef uint64_t before = self.pool.used_pages
        cdef uint64_t moved = self.pool.compact_some(max_objects, relocate_slot, self.slots)
        self.compacted_pages += before - self.pool.used_pages
        return moved > 0

    def reset_peak(self):
        """The peak is what is used now (mem_used_max <- 0)."""
        self.peak_pages = self.pool.used_pages

    def close(self):
        """Give all memory back at once; the table holds nothing any more."""
        self.pool.clear()
        self.memory = None
        self.slots = NULL
        self.page_count = 0

    def __repr__(self):
        return f"<SlotTable {self.stored_pages} of {self.page_count} pages, {self.pool!r}>"
