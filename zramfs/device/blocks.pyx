# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""Which blocks of a backing device are in use: what the kernel's bitmap says, and which are being read.

Compiled because slots release their blocks where nothing of Python may be called.
"""

from libc.stdlib cimport calloc, free


cdef class BlockMap:
    """The blocks of a backing device, a page each.

    `reserved` of `block_count` belong to a slot, or to a write that is under way: bd_count. A block that is released
    while it is read is not given to anybody else before that read has ended: the reader gets what it asked for.
    """

    def __cinit__(self, uint64_t block_count):
        self.users = <uint16_t *>calloc(block_count, sizeof(uint16_t))
        if self.users == NULL:
            raise MemoryError(f"no memory for the map of {block_count} blocks")
        self.block_count = block_count

    def __dealloc__(self):
        free(self.users)

    def reserve(self):
        """Take the lowest free block (zram_reserve_bdev_block); None if there is none."""
        cdef uint64_t block = self.lowest_free
        while block < self.block_count and self.users[block]:
            block += 1
        self.lowest_free = block
        if block == self.block_count:
            return None
        self.users[block] = 1
        self.lowest_free += 1
        self.reserved += 1
        return block

    def give_back(self, uint64_t block):
        """Release a block that no slot came to own."""
        self.release(block)

    cdef void release(self, uint64_t block) noexcept nogil:
        """The block's slot has let it go (zram_release_bdev_block)."""
        self.reserved -= 1
        self.drop_user(block)

    def pin(self, uint64_t block):
        """Keep a block that somebody owns as it is, while it is read."""
        self.users[block] += 1

    def unpin(self, uint64_t block):
        """The read has ended."""
        self.drop_user(block)

    cdef void drop_user(self, uint64_t block) noexcept nogil:
        self.users[block] -= 1
        if self.users[block] == 0:
            self.lowest_free = min(self.lowest_free, block)

    def __repr__(self):
        return f"<BlockMap {self.reserved} of {self.block_count} blocks reserved>"
