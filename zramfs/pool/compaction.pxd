from libc.stdint cimport uint64_t

from zramfs.pool.arena cimport Arena
from zramfs.pool.zspages cimport SizeClass

# Compaction asks for the lock of an object's owner before it moves the object, and must not wait: everybody else takes
# the owner's lock first and the size class's after it. True: the lock is held, and the owner has exactly this handle.
# False: the lock is somebody else's, or the owner has another object, or something that is no object (nothing is
# locked then): the object stays.
ctypedef bint (*TryLock)(void *owners, uint64_t owner, uint64_t handle) noexcept nogil

# The object has moved: the owner keeps the new handle, and its lock is given back. Neither of the two may call the
# pool.
ctypedef void (*Relocate)(void *owners, uint64_t owner, uint64_t handle) noexcept nogil

cdef struct Owners:
    TryLock try_lock
    Relocate relocate
    void *owners
    uint64_t freed_pages        # of the zspages that compaction has emptied

cdef uint64_t compact_class(
    SizeClass *size_class, Arena arena, uint64_t max_objects, Owners *owners
) noexcept nogil
