# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""What a codec is, and what compressing a run of pages leaves behind. Streams fill runs; the device commits them."""

from cpython.buffer cimport PyBUF_SIMPLE, Py_buffer, PyBuffer_Release, PyObject_GetBuffer
from libc.stdlib cimport calloc, free
from libc.string cimport memcmp, memcpy

from zramfs.atomic cimport poke_i64
from zramfs.clock cimport NEVER_NS, monotonic_ns
from zramfs.memory cimport LazyMemory
from zramfs.page cimport PAGE_BYTES


cdef inline bint is_same_filled(const uint8_t *page, uint64_t *fill) noexcept nogil:
    """page_same_filled(): all 8-byte words equal. The last word is looked at first, as most pages differ there.

    Words are compared as bytes, because a page of an unaligned write begins anywhere.
    """
    if memcmp(page, page + PAGE_BYTES - 8, 8) or memcmp(page, page + 8, PAGE_BYTES - 8):
        return False
    memcpy(fill, page, 8)
    return True


cdef void compress(PageCodec codec, const uint8_t *page, CompressedPage *result) noexcept nogil:
    """Compress one page into ``result.data``. Needs no GIL with a compiled codec; touches nothing shared."""
    result.page = page
    if is_same_filled(page, &result.fill):
        result.length = SAME_FILLED
    else:
        result.length = codec.compress_page(page, result.data)
        if result.length == 0:
            result.length = FAILED  # a codec that gives nothing; 0 means same-filled


cdef class PageCodec:
    """One algorithm with its scratch memory: what the kernel calls a context. Belongs to one stream, never shared.

    Subclasses in Cython override the two C methods; what they do needs no GIL, unless `needs_gil`, and touches nothing
    that another context touches. `compress_page` returns the length it wrote to `data` (room for SCRATCH_BYTES),
    PAGE_BYTES if there is no gain, or FAILED; `decompress_page` returns 0, or -1 if `data` does not give exactly one
    page.
    """

    cdef int compress_page(self, const uint8_t *page, uint8_t *data) noexcept nogil:
        return FAILED

    cdef int decompress_page(self, const uint8_t *data, int length, uint8_t *page) noexcept nogil:
        return -1

    def compress(self, bytes page not None):
        """Compress one page of 4096 bytes; ValueError if the codec cannot."""
        cdef uint8_t data[SCRATCH_BYTES]
        if len(page) != PAGE_BYTES:
            raise ValueError(f"a page has {PAGE_BYTES} bytes, not {len(page)}")
        cdef int length = self.compress_page(page, data)
        if length < 0:
            raise ValueError("the codec failed on this page")
        return page if length >= PAGE_BYTES else data[:length]

    def decompress(self, bytes data not None):
        """Give one page of 4096 bytes back; ValueError if `data` is not one."""
        cdef uint8_t page[PAGE_BYTES]
        if self.decompress_page(data, <int>len(data), page):
            raise ValueError("the data does not decompress to one page")
        return page[:PAGE_BYTES]


cdef class FunctionCodec(PageCodec):
    """A codec made of two Python functions from bytes to bytes: how a backend without compiled code takes part.

    `compress_function` gets 4096 bytes, and must return some; `decompress_function` must return 4096. Anything else
    that they return, or raise, is a failed page, which `on_failure` is told of: the function's name, and the error.
    """

    cdef object compress_function
    cdef object decompress_function
    cdef public object on_failure

    def __init__(self, compress_function, decompress_function):
        self.compress_function = compress_function
        self.decompress_function = decompress_function
        self.needs_gil = True

    cdef int compress_page(self, const uint8_t *page, uint8_t *data) noexcept nogil:
        with gil:
            try:
                return copy_out(self.compress_function(page[:PAGE_BYTES]), data)
            except BaseException as error:  # whatever else gets out of here is lost, and the page with it
                self.fail("compress", error)
                return FAILED

    cdef int decompress_page(self, const uint8_t *data, int length, uint8_t *page) noexcept nogil:
        with gil:
            try:
                result = self.decompress_function(data[:length])
                if len(result) != PAGE_BYTES:
                    raise ValueError(f"{len(result)} bytes are no page")
                copy_out(result, page)
                return 0
            except BaseException as error:  # whatever else gets out of here is lost, and the page with it
                self.fail("decompress", error)
                return -1

    cdef void fail(self, str function, error) noexcept:
        if self.on_failure is not None:
            self.on_failure(function, error)


cdef int copy_out(bytes result, uint8_t *room) except -1:
    """Copy up to a page; a compressed page that is longer is no gain, and its first PAGE_BYTES are as good as any."""
    cdef int length = <int>min(len(result), PAGE_BYTES)
    if length == 0:
        raise ValueError("no bytes")
    memcpy(room, <const uint8_t *>result, length)
    return length


cdef class CompressedRun:
    """The fates of up to `capacity` pages: compressed, same-filled or failed. Belongs to one stream, and is reused.

    They are in memory of its own, or in `room` from `offset_bytes` on.
    """

    def __cinit__(self, int capacity, LazyMemory room=None, uint64_t offset_bytes=0):
        self.capacity = capacity
        if room is not None:
            self.room = room
            self.pages = <CompressedPage *>(room.start + offset_bytes)
            return
        self.own_pages = self.pages = <CompressedPage *>calloc(capacity, sizeof(CompressedPage))
        if self.pages == NULL:
            raise MemoryError

    def __dealloc__(self):
        free(self.own_pages)

    def __len__(self):
        return self.count

    def release(self):
        """Empty the run: nobody looks at it any more, nor at the pages that it was made of."""
        self.count = 0

    def lengths(self):
        """Each page's compressed length in bytes: 0 when same-filled, -1 when the codec failed."""
        return [self.pages[i].length for i in range(self.count)]

    def __repr__(self):
        return f"<CompressedRun {self.count} of {self.capacity} pages>"


def make_runs(int count, int capacity):
    """Make runs whose memory is resident where one has been used: of the many streams of a device, few ever are."""
    cdef uint64_t run_bytes = capacity * sizeof(CompressedPage)
    room = LazyMemory(count * run_bytes)
    return [CompressedRun(capacity, room, number * run_bytes) for number in range(count)]


cdef class RunCompressor:
    """Compresses runs at once, on the caller's thread, into scratch of its own: what a per-CPU stream is made of."""

    def __cinit__(self, PageCodec codec not None, int max_pages):
        cdef int i
        self.codec = codec
        self.run = CompressedRun(max_pages)
        self.scratch = LazyMemory(<uint64_t>max_pages * SCRATCH_BYTES)
        for i in range(max_pages):
            self.run.pages[i].data = self.scratch.start + i * SCRATCH_BYTES

    cdef int compress_pages(self, const uint8_t *first_page, int pages, int64_t enough_ns) noexcept nogil:
        """Compress up to `pages` pages, as many as `run` has room for at the most, into `run`; how many.

        It stops early, after an even number of pages, when they have taken `enough_ns`.
        """
        cdef CompressedPage *results = self.run.pages
        cdef int64_t began_ns, taken_ns
        cdef int count = 0
        if pages == 1:  # no clock: this is the way of a 4K write
            compress(self.codec, first_page, &results[0])
            self.run.count = 1
            return 1
        pages = min(pages, self.run.capacity)
        began_ns = monotonic_ns()
        taken_ns = 0
        while count < pages:
            compress(self.codec, first_page + count * PAGE_BYTES, &results[count])
            count += 1
            taken_ns = monotonic_ns() - began_ns if count % 2 == 0 or count == pages else 0
            if taken_ns >= enough_ns:
                break
        poke_i64(&self.page_ns, max(taken_ns // count, self.page_ns - self.page_ns // 8))
        self.run.count = count
        return count

    def compress(self, source, uint64_t offset_bytes, int pages, int64_t enough_ns=NEVER_NS):
        """Compress pages of `source`, a buffer that stays as long as `run` is looked at; how many."""
        cdef Py_buffer view
        PyObject_GetBuffer(source, &view, PyBUF_SIMPLE)
        try:
            if not 1 <= pages <= self.run.capacity or offset_bytes + pages * PAGE_BYTES > <uint64_t>view.len:
                raise ValueError(f"no run of {pages} pages at {offset_bytes} in {view.len} bytes")
            return self.compress_pages(<const uint8_t *>view.buf + offset_bytes, pages, enough_ns)
        finally:
            PyBuffer_Release(&view)
