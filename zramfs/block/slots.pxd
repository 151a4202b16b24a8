from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t

from zramfs.atomic cimport fetch_and_u8, fetch_or_u8, peek_u8, poke_u8, store_u8
from zramfs.block.blocks cimport BlockMap
from zramfs.clock cimport BootTime
from zramfs.codec.run cimport PageCodec
from zramfs.memory cimport LazyMemory
from zramfs.page cimport PAGE_BYTES
from zramfs.pool.zspool cimport ZsPool

cdef enum:
    # Slots that share a count of those in use: a page's worth of table. What nothing was stored in is skipped by the
    # count, so that reading, discarding or searching an empty 1 TiB device touches 2 MiB instead of 4 GiB.
    GROUP_SLOTS = 256

cdef enum Kind:
    EMPTY = 0       # never written, or discarded: reads as zeros
    SAME = 1        # `value` is the word that fills it
    STORED = 2      # `value` is the pool's handle for `length` bytes; PAGE_BYTES of them: stored raw (huge)
    WRITTEN = 3     # `value` is the backing device's block that has the page (ZRAM_WB), or its object of `length` bytes

cdef enum Mark:
    IDLE = 1        # not accessed since it was marked (ZRAM_IDLE)
    PENDING = 2     # chosen for being processed, and neither accessed nor freed since (ZRAM_PP_SLOT)
    INCOMPRESSIBLE = 4  # no algorithm makes its object smaller (ZRAM_INCOMPRESSIBLE)
    LOCKED = 8      # the slot's lock (ZRAM_ENTRY_LOCK): whoever set it may look at the slot and change it
    PRIORITY = 48   # that of the algorithm that compressed the page: 0 for the primary one, or 1 to 3
    LASTING = INCOMPRESSIBLE | PRIORITY     # what an access leaves

cdef enum:
    PRIORITY_SHIFT = 4

# 16 bytes a slot, 0.4 % of what the device can hold, and only for those that were touched. Everything in it requires
# the slot's lock; `marks` is always written as a whole, because others try to set LOCKED.
cdef struct Slot:
    uint64_t value
    uint32_t accessed_s     # when it was last read or written, by boot_time(); `touch_slot` notes it
    uint16_t length         # of its object, or of the one that was written back if that is to be known; otherwise 0
    uint8_t kind
    uint8_t marks

# What a channel did to the slots; several may count at one of them, so each count is atomic. Two lines of cache.
cdef struct StoreCounts:
    int64_t stored_pages
    int64_t compressed_bytes
    int64_t same_pages
    int64_t huge_pages
    uint64_t huge_pages_since
    uint64_t freed_notifications
    uint64_t unused[10]

cdef class Codecs:
    cdef PageCodec primary
    cdef PageCodec first
    cdef PageCodec second
    cdef PageCodec third

    cdef int decompress(self, uint8_t priority, const uint8_t *data, int length, uint8_t *page) noexcept nogil

cdef class SlotTable:
    cdef LazyMemory memory              # has the slots, and behind them the counts of groups
    cdef Slot *slots
    cdef uint16_t *group_use            # slots in use, of each group: atomic
    cdef LazyMemory fractions_memory
    cdef uint32_t *fractions_ns         # beside `accessed_s` of each slot, by its lock; NULL where seconds are enough
    cdef readonly uint64_t page_count
    cdef readonly ZsPool pool
    cdef readonly BlockMap blocks       # those of the backing device; None without one
    cdef LazyMemory counts_memory
    cdef StoreCounts *counts            # by channel
    cdef readonly int channel_count
    cdef uint64_t slot_waits            # how often a slot's lock was waited for: atomic
    cdef uint64_t limit_pages_now       # mem_limit, 0 for none: atomic
    cdef uint64_t limit_hits_now        # pages that mem_limit kept out: atomic
    cdef uint64_t limit_hits_before     # of these, before they were counted anew: the event loop's
    cdef int limit_told                 # whether the event loop has been told of one: atomic
    cdef readonly int limit_fd          # an eventfd that says so

    cdef void wait_for_slot(self, Slot *slot) noexcept nogil
    cdef void note_limit_hit(self) noexcept nogil
    cdef uint64_t find_page(self, uint64_t page, bint in_use) noexcept nogil
    cdef bint is_group_empty(self, uint64_t page) noexcept nogil


cdef inline bint try_lock_slot(Slot *slot) noexcept nogil:
    return not fetch_or_u8(&slot.marks, LOCKED) & LOCKED

cdef inline void lock_slot(SlotTable table, Slot *slot) noexcept nogil:
    """zram_slot_lock(): one atomic instruction if nobody has it. It is held for a page at the most, and never waits."""
    if fetch_or_u8(&slot.marks, LOCKED) & LOCKED:
        table.wait_for_slot(slot)

cdef inline void unlock_slot(Slot *slot) noexcept nogil:
    fetch_and_u8(&slot.marks, <uint8_t>~LOCKED)

cdef inline uint8_t marks_of(const Slot *slot) noexcept nogil:
    """Its marks but the lock, which the caller has."""
    return peek_u8(&slot.marks) & <uint8_t>~LOCKED

cdef inline Slot contents_of(const Slot *slot) noexcept nogil:
    """A copy of a slot that the caller has locked, without the lock. Field by field: others try to set LOCKED."""
    cdef Slot contents
    contents.value, contents.accessed_s, contents.length = slot.value, slot.accessed_s, slot.length
    contents.kind, contents.marks = slot.kind, marks_of(slot)
    return contents

cdef inline void touch_slot(SlotTable table, uint64_t page, Slot *slot, BootTime now) noexcept nogil:
    """Note an access; the caller has the lock."""
    slot.accessed_s = now.s
    if table.fractions_ns != NULL:
        table.fractions_ns[page] = now.ns

cdef inline void forget_access(SlotTable table, uint64_t page, Slot *slot) noexcept nogil:
    """As if it had never been accessed (zram_free_page); the caller has the lock."""
    touch_slot(table, page, slot, BootTime(0, 0))

cdef inline BootTime last_access_of(SlotTable table, uint64_t page) noexcept nogil:
    """When a page in use was last accessed; the caller has the lock of its slot."""
    return BootTime(table.slots[page].accessed_s, 0 if table.fractions_ns == NULL else table.fractions_ns[page])

cdef inline void set_marks(Slot *slot, uint8_t marks) noexcept nogil:
    """Change its marks; the caller keeps the lock."""
    poke_u8(&slot.marks, marks | LOCKED)

cdef inline void unlock_slot_with(Slot *slot, uint8_t marks) noexcept nogil:
    """Change its marks, and let the lock go with them."""
    store_u8(&slot.marks, marks)
