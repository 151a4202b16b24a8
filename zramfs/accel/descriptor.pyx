# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""A descriptor of the emulated hardware: one page's work, whatever happens to it, and room for its output."""

from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcmp

from zramfs.atomic cimport poke_int
from zramfs.codec.run cimport SAME_FILLED, SCRATCH_BYTES, CompressedPage, PageCodec, compress
from zramfs.memory cimport LazyMemory
from zramfs.page cimport PAGE_BYTES


cdef void work_off_with_fault(PageCodec codec, const Job *job, int checks) noexcept nogil:
    """Do one descriptor's work, and let happen to it what its mark says."""
    compress(codec, job.page, job.result)
    if job.mark == FAULT_TIMEOUT:
        job.result.length = TIMED_OUT
    elif job.mark == FAULT_BUS_ERROR:
        job.result.length = BUS_ERROR
    elif job.mark == FAULT_CORRUPT or checks & MAY_BE_CORRUPT:
        if job.mark == FAULT_CORRUPT:
            corrupt(codec, job.result)
        if checks & VERIFIES and not is_right(codec, job.result):
            job.result.length = VERIFY_FAILED


cdef bint is_right(PageCodec codec, CompressedPage *result) noexcept nogil:
    """verify_compress: whether the output gives the page back. What did not shrink is stored as it came."""
    cdef uint8_t page[PAGE_BYTES]
    if result.length == SAME_FILLED:
        return memcmp(&result.fill, result.page, 8) == 0
    if result.length < 0 or result.length >= PAGE_BYTES:
        return True
    return codec.decompress_page(result.data, result.length, page) == 0 and memcmp(page, result.page, PAGE_BYTES) == 0


cdef void corrupt(PageCodec codec, CompressedPage *result) noexcept nogil:
    """Make the output wrong. Not every changed byte does: a match may be found at another distance."""
    cdef int at = 0
    if result.length == SAME_FILLED:
        result.fill ^= 1
        return
    if result.length >= PAGE_BYTES:
        result.length = PAGE_BYTES // 2  # it says that it has shrunk
    while at < result.length:
        result.data[at] ^= 0xff
        if not is_right(codec, result):
            return
        result.data[at] ^= 0xff
        at += 1


cdef class DescriptorStack:
    """The descriptors in no run, by the room of each for its output. It has no lock of its own."""

    def __cinit__(self, int depth):
        cdef int i
        self.depth = self.free_count = depth
        self.scratch = LazyMemory(<uint64_t>depth * SCRATCH_BYTES)
        self.numbers = <uint32_t *>calloc(depth, sizeof(uint32_t))
        if self.numbers == NULL:
            raise MemoryError
        for i in range(depth):
            self.numbers[i] = depth - 1 - i

    def __dealloc__(self):
        free(self.numbers)

    cdef uint8_t *take(self) noexcept nogil:
        """The room of one, SCRATCH_BYTES; there is one."""
        poke_int(&self.free_count, self.free_count - 1)
        self.most_taken = max(self.most_taken, self.depth - self.free_count)
        return self.scratch.start + <uint64_t>self.numbers[self.free_count] * SCRATCH_BYTES

    cdef void give(self, const uint8_t *data) noexcept nogil:
        self.numbers[self.free_count] = <uint32_t>((data - self.scratch.start) // SCRATCH_BYTES)
        poke_int(&self.free_count, self.free_count + 1)

    def __repr__(self):
        return f"<DescriptorStack {self.free_count} of {self.depth} free>"
