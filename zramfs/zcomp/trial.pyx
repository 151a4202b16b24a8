# cython: language_level=3, boundscheck=False, wraparound=False
"""A disk with neither slots nor a pool: pages are written through a Zcomp, and decompressed where they are committed.

For tests of streams and of backends, and for measurements of the choice alone.
"""

from libc.stdint cimport int32_t, int64_t, uint8_t, uint64_t
from libc.string cimport memcpy

from zramfs.atomic cimport add_i64, load_i64
from zramfs.codec.run cimport FAILED, SAME_FILLED, CompressedPage, PageCodec
from zramfs.memory cimport LazyMemory
from zramfs.page cimport PAGE_BYTES
from zramfs.streams cimport Stream, Waiter
from zramfs.zcomp.zcomp cimport COMPLETE, HAS_TO_WAIT, Choice, Zcomp

cdef struct Waiting:
    Waiter waiter       # the first, so that the Waiter's address is this one's
    void *write


cdef void called(Waiter *waiter) noexcept nogil:
    (<TrialWrite>(<Waiting *>waiter).write).go_on()


cdef void ended(void *stream) noexcept nogil:
    (<TrialWrite>(<Stream>stream).owner).end_run(stream)


cdef class TrialWrite:
    """A write on its way: done when none of its pages is missing. `runs` is how many streams it took for that."""

    cdef Trial disk
    cdef bytes data
    cdef const uint8_t *source
    cdef Waiting waiting
    cdef bint is_async
    cdef bint may_begin
    cdef int first_page
    cdef int page           # of `data`, the first that no stream has yet
    cdef int pages
    cdef int64_t parts      # runs in flight, and one for whoever submits; atomic
    cdef uint64_t counts[3]
    cdef readonly int runs

    @property
    def is_done(self):
        """Whether each page is committed."""
        return load_i64(&self.parts) == 0

    @property
    def kinds(self):
        """Pages that per-CPU streams took, managed ones, and per-CPU ones instead of managed ones."""
        return (self.counts[0], self.counts[1], self.counts[2])

    cdef void begin(self) noexcept nogil:
        self.page = 0
        self.parts = 1
        self.go_on()

    cdef void go_on(self) noexcept nogil:
        """Hand the pages that are left to streams, as long as nothing is to be waited for."""
        cdef Choice choice
        cdef int answer
        while self.page < self.pages:
            add_i64(&self.parts, 1)
            answer = self.disk.zcomp.choose(
                self.source + self.page * PAGE_BYTES,
                self.pages - self.page,
                self.is_async,
                self.may_begin,
                ended,
                <void *>self,
                self.first_page + self.page,
                &choice,
            )
            if answer == HAS_TO_WAIT:
                add_i64(&self.parts, -1)
                if self.disk.zcomp.await_stream(&self.waiting.waiter):
                    return
                continue
            if answer == COMPLETE:
                self.disk.commit(choice.stream, self.first_page + self.page)
                self.disk.zcomp.put_stream(choice.stream)
                self.drop_part()
            self.counts[choice.kind] += choice.taken
            self.runs += 1
            self.page += choice.taken
        self.drop_part()

    cdef void end_run(self, void *stream) noexcept nogil:
        self.disk.commit(stream, (<Stream>stream).page)
        self.disk.zcomp.put_stream(stream)
        self.drop_part()

    cdef void drop_part(self) noexcept nogil:
        add_i64(&self.parts, -1)


cdef class Trial:
    """A disk of `pages` pages. It belongs to one thread; any number of them share a Zcomp.

    `codec` decompresses, on whatever thread a run is committed.
    """

    cdef readonly Zcomp zcomp
    cdef PageCodec codec
    cdef LazyMemory contents
    cdef LazyMemory lengths_room
    cdef list writes        # that are not done
    cdef readonly int pages
    cdef int64_t failed     # atomic

    def __init__(self, Zcomp zcomp not None, int pages):
        self.zcomp = zcomp
        self.codec = zcomp.backend.create_context(zcomp.params)
        self.contents = LazyMemory(<uint64_t>pages * PAGE_BYTES)
        self.lengths_room = LazyMemory(<uint64_t>pages * sizeof(int32_t))
        self.pages = pages
        self.writes = []

    @property
    def failed_pages(self):
        """Pages that no codec could compress: their old contents stayed."""
        return load_i64(&self.failed)

    def write(self, int page, bytes data not None, int offset_bytes=0, *, bint is_async, bint may_begin=True):
        """Begin to write the whole pages of `data` from `offset_bytes` on, and return the TrialWrite."""
        cdef TrialWrite write = self.make_write(page, data, offset_bytes, is_async, may_begin)
        self.writes = [each for each in self.writes if not each.is_done]
        self.writes.append(write)
        with nogil:
            write.begin()
        return write

    cdef TrialWrite make_write(self, int page, bytes data, int offset_bytes, bint is_async, bint may_begin):
        cdef TrialWrite write = TrialWrite()
        write.disk, write.data, write.is_async, write.may_begin = self, data, is_async, may_begin
        write.source = <const uint8_t *>data + offset_bytes
        write.first_page, write.pages = page, <int>((len(data) - offset_bytes) // PAGE_BYTES)
        write.waiting.waiter.call = called
        write.waiting.write = <void *>write
        if not 0 <= page <= self.pages - write.pages:
            raise ValueError(f"{write.pages} pages at {page} are not on a disk of {self.pages}")
        return write

    cdef void commit(self, void *stream, uint64_t first_page) noexcept nogil:
        """Decompress the pages of a complete run to where they belong."""
        cdef int32_t *lengths = <int32_t *>self.lengths_room.start + first_page
        cdef int i
        for i in range((<Stream>stream).run.count):
            lengths[i] = (<Stream>stream).run.pages[i].length
            if not self.store(&(<Stream>stream).run.pages[i], self.contents.start + (first_page + i) * PAGE_BYTES):
                add_i64(&self.failed, 1)

    cdef bint store(self, const CompressedPage *result, uint8_t *page) noexcept nogil:
        cdef int i
        if result.length == FAILED:
            return False
        if result.length == SAME_FILLED:
            for i in range(0, PAGE_BYTES, 8):
                memcpy(page + i, &result.fill, 8)
            return True
        if result.length >= PAGE_BYTES:
            memcpy(page, result.page, PAGE_BYTES)
            return True
        return self.codec.decompress_page(result.data, result.length, page) == 0

    def read(self, int page, int pages):
        """Pages as they were committed."""
        return self.contents.start[page * PAGE_BYTES : (page + pages) * PAGE_BYTES]

    def lengths(self, int page, int pages):
        """The length that each had in its run."""
        return [(<int32_t *>self.lengths_room.start)[i] for i in range(page, page + pages)]

    # ---- what the block layer asks ----------------------------------------------------------------------------------

    def patch_page(self, int page, bytes data not None):
        """Write one page on the stream of this CPU, as a partial write does."""
        cdef void *stream = self.zcomp.lock_percpu()
        (<Stream>stream).compress_pages(data, 1)
        self.commit(stream, page)
        self.zcomp.put_stream(stream)

    def is_nowait(self, int64_t pages, bint is_async):
        """Zcomp.is_nowait."""
        return self.zcomp.is_nowait(pages, is_async)

    def one_go_pages(self):
        """Zcomp.one_go_pages."""
        return self.zcomp.one_go_pages()

    def may_stall(self):
        """Zcomp.may_stall."""
        return self.zcomp.may_stall()

    def next_event_ns(self):
        """Zcomp.next_event."""
        return self.zcomp.next_event()

    def reap(self):
        """Zcomp.reap."""
        cdef bint is_busy
        with nogil:
            is_busy = self.zcomp.reap()
        return is_busy

    def lend_hand(self):
        """Zcomp.lend_hand."""
        cdef bint is_busy
        with nogil:
            is_busy = self.zcomp.lend_hand()
        return is_busy
