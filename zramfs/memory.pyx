# cython: language_level=3
"""Memory that costs address space until it is touched: what is sized for the worst case, and used in part. Level 0."""


cdef class LazyMemory:
    """`size_bytes` of zeros, given back with the object; MemoryError when the system has no address space for them.

    malloc's memory is not as good: what it clears is resident.
    """

    def __cinit__(self, uint64_t size_bytes):
        self.size_bytes = size_bytes
        self.start = map_memory(NULL, size_bytes, 0)
        if self.start == NULL:
            raise MemoryError(f"there is no address space for {size_bytes} bytes")

    def __dealloc__(self):
        if self.start != NULL:
            munmap(self.start, self.size_bytes)

    def __repr__(self):
        return f"<LazyMemory {self.size_bytes} bytes>"
