# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""Which blocks of a backing device are in use: what the kernel's bitmap says, and which are being read.

The event loop reserves blocks; whoever frees a slot releases its block, on any thread and with the slot's lock held.
"""

from libc.stdlib cimport calloc, free

from zramfs.atomic cimport peek_u64, poke_u64
from zramfs.threads cimport (
    pthread_mutex_destroy,
    pthread_mutex_init,
    pthread_mutex_lock,
    pthread_mutex_unlock,
)

cdef enum:
    # Looked at with the lock held once: 2 µs. Those who release a block wait no longer, however full the device is.
    SEARCH_BLOCKS = 4096


cdef class BlockMap:
    """The blocks of a backing device, a page each.

    `reserved` of `block_count` belong to a slot, or to a write that is under way: bd_count. Nobody gets one before
    `first_block`. A block that is released while it is read is not given to anybody else before that read has ended:
    the reader gets what it asked for.
    """

    def __cinit__(self, uint64_t block_count, *, uint64_t first_block=0):
        pthread_mutex_init(&self.lock, NULL)
        self.users = <uint16_t *>calloc(block_count, sizeof(uint16_t))
        if self.users == NULL:
            raise MemoryError(f"no memory for the map of {block_count} blocks")
        self.block_count = block_count
        self.lowest_free = first_block

    def __dealloc__(self):
        free(self.users)
        pthread_mutex_destroy(&self.lock)

    @property
    def reserved(self):
        """Blocks that belong to somebody."""
        return peek_u64(&self.reserved_count)

    def reserve(self):
        """Take the lowest free block (zram_reserve_bdev_block); None if there is none."""
        cdef uint64_t block
        cdef uint64_t end = 0
        cdef bint is_found = False
        while not is_found and end < self.block_count:
            pthread_mutex_lock(&self.lock)
            block = self.lowest_free
            end = min(block + SEARCH_BLOCKS, self.block_count)
            while block < end and self.users[block]:
                block += 1
            is_found = block < end
            self.lowest_free = block
            if is_found:
                self.users[block] = 1
                self.lowest_free += 1
                poke_u64(&self.reserved_count, self.reserved_count + 1)
            pthread_mutex_unlock(&self.lock)
        return block if is_found else None

    def give_back(self, uint64_t block):
        """Release a block that no slot came to own."""
        self.release(block)

    cdef void release(self, uint64_t block) noexcept nogil:
        """The block's slot has let it go (zram_release_bdev_block)."""
        pthread_mutex_lock(&self.lock)
        poke_u64(&self.reserved_count, self.reserved_count - 1)
        self._drop(block)
        pthread_mutex_unlock(&self.lock)

    def pin(self, uint64_t block):
        """Keep a block as it is while it is read: one that a slot owns, or did when the event loop looked at that last.

        Nobody else has it in either case, because nobody but the event loop reserves blocks.
        """
        pthread_mutex_lock(&self.lock)
        self.users[block] += 1
        pthread_mutex_unlock(&self.lock)

    def unpin(self, uint64_t block):
        """The read has ended."""
        self.drop_user(block)

    cdef void drop_user(self, uint64_t block) noexcept nogil:
        pthread_mutex_lock(&self.lock)
        self._drop(block)
        pthread_mutex_unlock(&self.lock)

    cdef void _drop(self, uint64_t block) noexcept nogil:
        """One user less, with the lock held."""
        self.users[block] -= 1
        if self.users[block] == 0:
            self.lowest_free = min(self.lowest_free, block)

    def __repr__(self):
        return f"<BlockMap {self.reserved} of {self.block_count} blocks reserved>"
