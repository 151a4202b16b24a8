# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""Closed loops of requests without the GIL: for the block layer what fio is to a mount.

Benchmarks and stress tests run one in each of their threads. Each page that is written says which one it is and which
loop wrote it, so that a torn page, or another one, is found.
"""

from libc.stdint cimport int64_t, uint8_t, uint64_t
from libc.string cimport memset

from zramfs.atomic cimport load_int, store_int
from zramfs.block.bio cimport PUNCH, READ, WRITE, Bio
from zramfs.block.disk cimport Disk
from zramfs.block.submission cimport submit
from zramfs.clock cimport monotonic_ns
from zramfs.page cimport PAGE_BYTES
from zramfs.threads cimport sched_yield

from zramfs.block.request import OPERATIONS

cdef enum:
    WORDS = PAGE_BYTES // 8
    MOST_PAGES = 256


cdef inline uint64_t next_random(uint64_t *state) noexcept nogil:
    """xorshift64"""
    state[0] ^= state[0] << 13
    state[0] ^= state[0] >> 7
    state[0] ^= state[0] << 17
    return state[0]


cdef void fill_page(uint64_t *words, uint64_t page, uint64_t writer, uint64_t version) noexcept nogil:
    """A page that LZ4 shrinks to about 60 %: its name and a checksum in front, noise, and zeros."""
    cdef uint64_t state = page * 0x9E3779B97F4A7C15ULL + writer * 0xC2B2AE3D27D4EB4FULL + version + 1
    cdef int i
    words[0], words[1], words[2] = page, writer, version
    for i in range(3, 300):
        words[i] = next_random(&state)
    memset(words + 300, 0, PAGE_BYTES - 2400)


cdef bint is_whole(const uint64_t *words, uint64_t page) noexcept nogil:
    """Whether this is exactly one of the pages that `fill_page` makes for this place, or zeros."""
    cdef uint64_t expected[WORDS]
    cdef int i
    if words[0] == 0 and words[1] == 0:
        memset(expected, 0, PAGE_BYTES)
    else:
        fill_page(expected, page, words[1], words[2])
    for i in range(WORDS):
        if words[i] != expected[i]:
            return False
    return True


cdef void note_end(Bio *bio) noexcept nogil:
    store_int(<int *>bio.owner, 1)


cdef class Loop:
    """Requests of `size_pages` pages at random places of a range, one after the other, on a channel of its own.

    `operation` is `read`, `write` or `punch`, or `mixed`. `torn_pages` counts those read that nobody wrote so,
    `errors` the requests that failed.
    """

    cdef Disk disk
    cdef int channel
    cdef int operation
    cdef bint is_async
    cdef bint verifies
    cdef uint64_t first_page
    cdef uint64_t pages
    cdef int size_pages
    cdef uint64_t state
    cdef readonly uint64_t done
    cdef readonly uint64_t errors
    cdef readonly uint64_t torn_pages
    cdef readonly int64_t took_ns
    cdef bytearray data

    def __init__(
        self, Disk disk not None, int channel, str operation, *, uint64_t first_page=0, uint64_t pages,
        int size_pages=1, bint is_async=False, bint verifies=False, uint64_t seed=1
    ):
        if not 1 <= size_pages <= MOST_PAGES or pages < <uint64_t>size_pages:
            raise ValueError(f"no requests of {size_pages} pages")
        self.disk, self.channel = disk, channel
        self.operation = -1 if operation == "mixed" else OPERATIONS[operation]
        self.is_async, self.verifies = is_async, verifies
        self.first_page, self.pages, self.size_pages = first_page, pages, size_pages
        self.state = seed * 0x9E3779B97F4A7C15ULL + 1
        self.data = bytearray(size_pages * PAGE_BYTES)

    def run(self, uint64_t count):
        """Do so many requests, without the GIL."""
        cdef uint8_t *data = self.data
        with nogil:
            self.took_ns = monotonic_ns()
            self.repeat(count, data)
            self.took_ns = monotonic_ns() - self.took_ns

    cdef void repeat(self, uint64_t count, uint8_t *data) noexcept nogil:
        cdef Bio bio
        cdef int has_ended
        cdef uint64_t page
        cdef int i
        cdef bint is_filled = False
        memset(&bio, 0, sizeof(bio))
        while count:
            count -= 1
            page = self.first_page + next_random(&self.state) % (self.pages - self.size_pages + 1)
            bio.operation = self.operation if self.operation >= 0 else next_random(&self.state) % 3
            bio.offset_bytes = page * PAGE_BYTES
            bio.size_bytes = self.size_pages * PAGE_BYTES
            bio.data = NULL if bio.operation == PUNCH else data
            bio.is_async, bio.channel, bio.end, bio.owner = self.is_async, self.channel, note_end, &has_ended
            if bio.operation == WRITE and (self.verifies or not is_filled):
                is_filled = True
                for i in range(self.size_pages):
                    fill_page(<uint64_t *>(data + i * PAGE_BYTES), page + i, self.channel, count)
            has_ended = 0
            submit(self.disk, &bio)
            while not load_int(&has_ended):
                if not self.disk.layer.work(self.channel, 0):
                    sched_yield()
            self.done += 1
            self.errors += bio.error != 0
            if bio.operation == READ:
                is_filled = False
            if self.verifies and bio.operation == READ and not bio.error:
                for i in range(self.size_pages):
                    self.torn_pages += not is_whole(<uint64_t *>(data + i * PAGE_BYTES), page + i)

    def __repr__(self):
        return f"<Loop of {self.done} requests on channel {self.channel}>"
