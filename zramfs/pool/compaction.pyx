# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""Compaction of a size class: objects of the sparsest zspages move to the fullest ones, until no zspage can be gained.

It locks slot after class where everybody else locks class after slot; hence it only tries the slot (the owner).

An object never moves before its owner has it, nor after the owner has let go of it, because `try_lock` is True only
for the very handle that the owner has. A writer fills its object first, then puts it into its slot in exchange for the
old one, under the slot's lock, and frees the old one after that. So
- an object that is still being filled is in no slot; its slot has another handle or none;
- no slot can have had the same handle from earlier: a handle is given out anew only after its free, which follows the
  exchange that took it out of its slot, and the class's lock orders that free before what is seen here;
- of two writers of one page each fills an object of its own with the same owner; at any moment the slot has at most one
  of the two handles, and only that one can move, while neither writer can be at its exchange;
- an object that was exchanged and is not yet freed is in no slot, and stays where its writer is going to free it.
Reads of an object are made under its owner's lock, so it does not move meanwhile.
"""

from libc.stdint cimport uint8_t, uint16_t, uint32_t
from libc.string cimport memcpy, memset

from zramfs.atomic cimport pause
from zramfs.page cimport PAGE_BYTES
from zramfs.pool.spinlock cimport give_lock, take_lock
from zramfs.pool.zspages cimport (
    EMPTY_GROUP,
    FULLEST_GROUP,
    NO_OBJECT,
    NONE,
    Zspage,
    fullest_partial,
    give_place,
    leave_if_empty,
    object_at,
    regroup_zspage,
    take_place,
    zspage_at,
)

cdef enum:
    # Between two zspages, so that whoever spins for the class's lock gets it: each pause takes 15 to 50 ns.
    GIVE_WAY_PAUSES = 32


cdef uint64_t compact_class(
    SizeClass *size_class, Arena arena, uint64_t max_objects, Owners *owners
) noexcept nogil:
    """Move about `max_objects`; how many were moved. The class's lock is held for one pair of zspages at a time.

    Each pair moves objects until one of the two is off the lists, or passes both over for the rest of this call: so it
    ends, whichever objects may not move.
    """
    cdef uint64_t moved = 0
    cdef uint32_t source, target
    cdef bint is_empty
    take_lock(&size_class.lock)
    size_class.compaction_pass += 1
    while moved < max_objects and has_gain(size_class):
        target = fullest_partial(size_class)
        source = sparsest_partial(size_class, arena.chunks, target)
        if source == NONE:
            break
        if zspage_at(arena.chunks, source).in_use > zspage_at(arena.chunks, target).in_use:
            source, target = target, source
        moved += migrate(size_class, arena.chunks, source, target, owners)
        is_empty = leave_if_empty(size_class, arena.chunks, source)
        give_lock(&size_class.lock)
        if is_empty:
            arena.give(source, size_class)
            owners.freed_pages += size_class.pages
        give_way()
        take_lock(&size_class.lock)
    give_lock(&size_class.lock)
    return moved


cdef inline void give_way() noexcept nogil:
    cdef int i
    for i in range(GIVE_WAY_PAUSES):
        pause()


cdef inline bint has_gain(SizeClass *size_class) noexcept nogil:
    """zs_can_compact(): at least a whole zspage."""
    return size_class.zspages * size_class.objects - size_class.objects_in_use >= size_class.objects


cdef uint32_t sparsest_partial(SizeClass *size_class, Zspage **chunks, uint32_t other) noexcept nogil:
    """The sparsest zspage beside `other` that was not passed over, or NONE."""
    cdef Zspage *zspage
    cdef uint32_t index
    cdef int group
    for group in range(EMPTY_GROUP + 1, FULLEST_GROUP + 1):
        index = size_class.partial[group]
        while index != NONE:
            zspage = zspage_at(chunks, index)
            if index != other and zspage.passed_over != size_class.compaction_pass:
                return index
            index = zspage.next
    return NONE


cdef uint64_t migrate(
    SizeClass *size_class, Zspage **chunks, uint32_t source, uint32_t target, Owners *owners
) noexcept nogil:
    """Move objects until `source` is empty or `target` is full, but for those that may not move; how many.

    `target` has at least as many as `source`: objects never go back to a sparser zspage, in this call or a later one.
    """
    cdef Zspage *old = zspage_at(chunks, source)
    cdef Zspage *new = zspage_at(chunks, target)
    cdef uint8_t is_free[PAGE_BYTES]
    cdef uint16_t number
    cdef uint64_t moved = 0
    mark_free(old, is_free)
    for number in range(old.untouched):
        if new.in_use == size_class.objects or old.in_use == 0:
            break
        if not is_free[number]:
            moved += move_object(old, number, new, <uint64_t>source << 16 | number, <uint64_t>target << 16, owners)
    if old.in_use and new.in_use < size_class.objects:
        old.passed_over = new.passed_over = size_class.compaction_pass
    regroup_zspage(size_class, chunks, source)
    regroup_zspage(size_class, chunks, target)
    return moved


cdef void mark_free(Zspage *zspage, uint8_t *is_free) noexcept nogil:
    cdef uint16_t number = zspage.free_head
    memset(is_free, 0, zspage.untouched)
    while number != NO_OBJECT:
        is_free[number] = 1
        number = (<uint16_t *>object_at(zspage, number))[0]


cdef inline bint move_object(
    Zspage *old, uint16_t number, Zspage *new, uint64_t handle, uint64_t target_handle, Owners *owners
) noexcept nogil:
    cdef uint8_t *start = object_at(old, number)
    cdef uint64_t owner = (<uint64_t *>start)[0]
    cdef uint16_t landed
    if not owners.try_lock(owners.owners, owner, handle):
        return False
    landed = take_place(new)
    memcpy(object_at(new, landed), start, old.object_bytes)
    owners.relocate(owners.owners, owner, target_handle | landed)
    give_place(old, number)
    return True
