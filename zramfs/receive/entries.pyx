# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""The entries of one of the kernel's queues, and their memory: what of it is touched, and when it is given back.

They belong to the thread of their queue.
"""

from libc.stdlib cimport calloc, free

from zramfs.atomic cimport peek_u64
from zramfs.memory cimport give_back_behind, map_memory, munmap
from zramfs.page cimport PAGE_BYTES
from zramfs.receive.protocol cimport DATA_BYTES

cdef enum:
    # From one payload to the next. Payloads 1 MiB apart share the same sets of a cache: 4K writes at depth 32 had 77 to
    # 89k IOPS, and 92 to 105k with a page more.
    STRIDE_BYTES = DATA_BYTES + PAGE_BYTES

assert sizeof(EntryHeader) == 288


cdef class Entries:
    """`count` entries, whose memory is not there before `map_all`. Only what is touched is resident."""

    def __init__(self, int count):
        self.count = count

    def __dealloc__(self):
        free(self.first)
        if self.headers != NULL:
            munmap(self.headers, self.count * sizeof(EntryHeader))
        if self.payloads != NULL:
            munmap(self.payloads, self.count * <uint64_t>STRIDE_BYTES)

    @property
    def memory_bytes(self):
        """What payloads may hold of memory."""
        return peek_u64(&self.touched_bytes)

    cdef bint map_all(self) noexcept nogil:
        """Make the room for requests. In the thread that is to have it; False if there is no memory."""
        cdef int number
        cdef Entry *entry
        self.first = <Entry *>calloc(self.count, sizeof(Entry))
        self.headers = <EntryHeader *>map_memory(NULL, self.count * sizeof(EntryHeader), 0)
        self.payloads = map_memory(NULL, self.count * <uint64_t>STRIDE_BYTES, 0)
        if self.first == NULL or self.headers == NULL or self.payloads == NULL:
            return False
        for number in range(self.count):
            entry = &self.first[number]
            entry.header = &self.headers[number]
            entry.payload = self.payloads + number * <uint64_t>STRIDE_BYTES
            entry.way_back.entry = entry
            entry.room[0].iov_base, entry.room[0].iov_len = entry.header, sizeof(EntryHeader)
            entry.room[1].iov_base, entry.room[1].iov_len = entry.payload, DATA_BYTES
        return True

    cdef void forget(self, Entry *entry, uint64_t size_bytes) noexcept nogil:
        """Give back the memory of a payload behind so many bytes."""
        cdef uint64_t touched_bytes = give_back_behind(entry.payload, size_bytes, entry.touched_bytes)
        poke_u64(&self.touched_bytes, self.touched_bytes - (entry.touched_bytes - touched_bytes))
        entry.touched_bytes = touched_bytes

    cdef void trim(self) noexcept nogil:
        """Give back what an idle mount does not need: the kernel writes to its entries only when we enter the ring."""
        cdef int number
        for number in range(self.count):
            if not self.first[number].is_ours:
                self.forget(&self.first[number], 0)

    def __repr__(self):
        return f"<Entries, {self.count}, {self.memory_bytes} bytes touched>"
