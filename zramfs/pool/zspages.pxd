# Zspages, and the places for objects in those of a size class: what its lock protects. Declarations and inlines only.
#
# `base`, `object_bytes` and `class_step` of a zspage stay while an object lives in it, so whoever has a handle reads
# them without a lock.

from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t

from zramfs.atomic cimport expect_write, poke_u64
from zramfs.pool.spinlock cimport SpinLock

cdef enum:
    HEADER_BYTES = 8             # an object's owner; the huge class has none
    MAX_PAGES_PER_ZSPAGE = 8
    PARTIAL_GROUPS = 11          # fullness groups with a list: 1..10, by tenths of objects in use
    EMPTY_GROUP = 0
    FULLEST_GROUP = 10           # 90 to 99 % of the objects in use (ZS_INUSE_RATIO_99)
    FULL_GROUP = 11              # on no list: it has nothing to give, and nothing to move
    NONE = 0xFFFFFFFF            # no zspage
    NO_OBJECT = 0xFFFF
    CHUNK_ZSPAGES = 65536        # the table of zspages grows by so many, and none ever moves
    TENTHS_SHIFT = 20

cdef struct Zspage:
    uint8_t *base
    uint32_t first_page          # where that is in the arena, in pages
    uint32_t previous
    uint32_t next
    uint16_t free_head           # the object given back last
    uint16_t untouched           # objects from here on were never used
    uint16_t in_use
    uint16_t object_bytes
    uint16_t passed_over         # the pass of compaction that could not empty it
    uint8_t class_step
    uint8_t group

cdef struct SizeClass:
    SpinLock lock
    uint32_t object_bytes
    uint32_t pages
    uint32_t objects
    uint32_t tenths              # of a zspage that an object fills, times 1 << TENTHS_SHIFT, and a bit more
    uint64_t zspages
    uint64_t objects_in_use
    uint32_t partial[PARTIAL_GROUPS]        # the first zspage of each fullness group
    uint16_t compaction_pass
    uint8_t step

cdef inline Zspage *zspage_at(Zspage **chunks, uint64_t index) noexcept nogil:
    return &chunks[index // CHUNK_ZSPAGES][index % CHUNK_ZSPAGES]

cdef inline uint8_t *object_at(Zspage *zspage, uint64_t number) noexcept nogil:
    return zspage.base + number * zspage.object_bytes

cdef inline bint is_huge(SizeClass *size_class) noexcept nogil:
    # A zspage is an object, without a header. There is nothing to list or to compact: the arena's lock protects it.
    return size_class.objects == 1

cdef inline void count_objects(SizeClass *size_class, int64_t more) noexcept nogil:
    # One thread at a time, but others show it.
    poke_u64(&size_class.objects_in_use, size_class.objects_in_use + more)

cdef inline uint32_t tenths_for(uint32_t objects) noexcept nogil:
    return (10 << TENTHS_SHIFT) // objects + 1

cdef inline uint8_t fullness_group(SizeClass *size_class, uint32_t in_use) noexcept nogil:
    # get_fullness_group(): 0 when empty, 1 to 10 by tenths, 11 when full. With at most 256 objects no tenth is missed.
    if in_use == 0:
        return EMPTY_GROUP
    if in_use == size_class.objects:
        return FULL_GROUP
    return <uint8_t>((in_use * size_class.tenths >> TENTHS_SHIFT) + 1)

cdef inline bint has_list(uint8_t group) noexcept nogil:
    return group != EMPTY_GROUP and group != FULL_GROUP

cdef inline void link_zspage(SizeClass *size_class, Zspage **chunks, uint32_t index, uint8_t group) noexcept nogil:
    cdef Zspage *zspage = zspage_at(chunks, index)
    cdef uint32_t first
    zspage.group = group
    if has_list(group):
        first = size_class.partial[group]
        zspage.previous = NONE
        zspage.next = first
        if first != NONE:
            zspage_at(chunks, first).previous = index
        size_class.partial[group] = index

cdef inline void unlink_zspage(SizeClass *size_class, Zspage **chunks, Zspage *zspage) noexcept nogil:
    if has_list(zspage.group):
        if zspage.previous == NONE:
            size_class.partial[zspage.group] = zspage.next
        else:
            zspage_at(chunks, zspage.previous).next = zspage.next
        if zspage.next != NONE:
            zspage_at(chunks, zspage.next).previous = zspage.previous

cdef inline void regroup_zspage(SizeClass *size_class, Zspage **chunks, uint32_t index) noexcept nogil:
    # fix_fullness_group()
    cdef Zspage *zspage = zspage_at(chunks, index)
    cdef uint8_t group = fullness_group(size_class, zspage.in_use)
    if group != zspage.group:
        unlink_zspage(size_class, chunks, zspage)
        link_zspage(size_class, chunks, index, group)

cdef inline uint32_t fullest_partial(SizeClass *size_class) noexcept nogil:
    cdef int group = FULLEST_GROUP
    while group > EMPTY_GROUP and size_class.partial[group] == NONE:
        group -= 1
    return NONE if group == EMPTY_GROUP else size_class.partial[group]

cdef inline void start_zspage(SizeClass *size_class, Zspage *zspage) noexcept nogil:
    zspage.free_head = NO_OBJECT
    zspage.untouched = 0
    zspage.in_use = 0
    zspage.object_bytes = <uint16_t>size_class.object_bytes
    zspage.class_step = size_class.step
    zspage.group = EMPTY_GROUP

cdef inline uint16_t take_place(Zspage *zspage) noexcept nogil:
    # There is one: the zspage is not full.
    cdef uint16_t number = zspage.free_head
    if number == NO_OBJECT:
        number = zspage.untouched
        zspage.untouched += 1
    else:
        zspage.free_head = (<uint16_t *>object_at(zspage, number))[0]
        if zspage.free_head != NO_OBJECT:
            expect_write(object_at(zspage, zspage.free_head))
    zspage.in_use += 1
    return number

cdef inline void give_place(Zspage *zspage, uint16_t number) noexcept nogil:
    (<uint16_t *>object_at(zspage, number))[0] = zspage.free_head
    zspage.free_head = number
    zspage.in_use -= 1

cdef inline bint leave_if_empty(SizeClass *size_class, Zspage **chunks, uint32_t index) noexcept nogil:
    # True: the zspage is no longer the class's, and goes back to the arena when the lock has been given back.
    if zspage_at(chunks, index).in_use:
        return False
    size_class.zspages -= 1
    return True
