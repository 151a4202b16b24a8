# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""Managed streams in the hands of tests: the compiled half of the contract, called from Python."""

from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.ref cimport Py_DECREF, Py_INCREF
from libc.stdint cimport uint8_t, uint64_t
from libc.string cimport memcpy, memset

from zramfs.atomic cimport add_int, load_int, store_int
from zramfs.codec.run cimport SAME_FILLED, CompressedPage, PageCodec
from zramfs.page cimport PAGE_BYTES
from zramfs.streams cimport Stream, StreamManager, Waiter


cdef class HeldStream:
    """A stream that is taken, and what it is given to do. `ends` counts how often the end of its run was told."""

    @property
    def run(self):
        """What became of the pages."""
        return self.stream.run

    @property
    def ends(self):
        """How often the end of its run was told."""
        return load_int(&self.ends)

    @property
    def is_complete(self):
        """Whether every page that was taken is compressed."""
        return load_int(&self.ends) > 0

    def submit(self, source, uint64_t offset_bytes, int pages):
        """Begin with pages of a buffer; how many were taken. With 0 the stream is gone."""
        cdef const char *first_page = self.hold(source, offset_bytes, pages)
        store_int(&self.ends, 0)
        self.stream.owner = <void *>self
        with nogil:
            pages = self.stream.submit_pages(<const uint8_t *>first_page, pages, note_end)
        return pages

    def compress(self, source, uint64_t offset_bytes, int pages):
        """Compress pages of a buffer; how many were taken. With 0 the stream is gone."""
        cdef const char *first_page = self.hold(source, offset_bytes, pages)
        with nogil:
            pages = self.stream.compress_pages(<const uint8_t *>first_page, pages)
        store_int(&self.ends, pages > 0)
        return pages

    def when_complete(self, callback):
        """Have `callback` called on the thread that ends the run; now if it has ended. Its submitter's thread asks."""
        self.callback = callback
        if self.is_complete:
            callback()

    def give(self):
        """Give the stream back."""
        with nogil:
            self.manager.give_stream(<void *>self.stream)
        self.callback = None

    def decompressed(self, PageCodec codec not None):
        """The pages that the run gives back."""
        cdef uint8_t page[PAGE_BYTES]
        cdef int i
        pages = []
        for i in range(self.stream.run.count):
            restore(codec, &self.stream.run.pages[i], page)
            pages.append(page[:PAGE_BYTES])
        return b"".join(pages)

    cdef const char *hold(self, source, uint64_t offset_bytes, int pages) except NULL:
        self.let_go()
        PyObject_GetBuffer(source, &self.source, PyBUF_SIMPLE)
        self.has_source = True
        if pages < 1 or offset_bytes + pages * PAGE_BYTES > <uint64_t>self.source.len:
            raise ValueError(f"no run of {pages} pages at {offset_bytes} in {self.source.len} bytes")
        return <const char *>self.source.buf + offset_bytes

    def let_go(self):
        """Release the buffer."""
        if self.has_source:
            self.has_source = False
            PyBuffer_Release(&self.source)

    def __dealloc__(self):
        if self.has_source:
            PyBuffer_Release(&self.source)


cdef void note_end(void *stream) noexcept nogil:
    cdef void *owner = (<Stream>stream).owner
    with gil:
        held = <HeldStream>owner
        add_int(&held.ends, 1)
        if held.callback is not None:
            held.callback()


cdef class Caller:
    """Somebody who found no stream. `callback` is called on whatever thread says that it is worth asking again."""

    def __init__(self, StreamManager manager not None, callback):
        self.manager, self.callback = manager, callback
        self.place.waiter.call = call_caller
        self.place.caller = <void *>self

    def wait(self):
        """Wait to be called; False: it is worth asking by now, and nobody is called. Its place is kept until `take`."""
        Py_INCREF(self)
        if self.manager.await_stream(&self.place.waiter):
            return True
        Py_DECREF(self)
        return False

    def take(self):
        """A stream; None if there is none."""
        held = take(self.manager)
        if held is not None:
            self.place.waiter.ticket = 0
        return held


cdef void call_caller(Waiter *waiter) noexcept nogil:
    cdef void *called = (<CallersPlace *>waiter).caller
    with gil:
        caller = <Caller>called
        Py_DECREF(caller)
        caller.callback()


def take(StreamManager manager not None):
    """A stream; None if there is none."""
    cdef void *stream
    cdef HeldStream held = HeldStream()
    with nogil:
        stream = manager.take_stream()
    if stream == NULL:
        return None
    held.manager, held.stream = manager, <Stream>stream
    return held


def may_poll(StreamManager manager not None, int pages):
    """Whether `compress` may be used for so many pages."""
    return manager.may_poll(pages)


def must_wait(StreamManager manager not None):
    """Whether a caller without a stream waits for one."""
    return manager.must_wait()


def next_event_ns(StreamManager manager not None):
    """When `reap` has something to do."""
    return manager.next_event()


def reap(StreamManager manager not None):
    """End the runs that are finished; whether there were any."""
    with nogil:
        found = manager.reap()
    return found


def lend_hand(StreamManager manager not None):
    """Do a little of the device's work; False if there is none."""
    with nogil:
        helped = manager.lend_hand()
    return helped


cdef void restore(PageCodec codec, const CompressedPage *result, uint8_t *page) noexcept nogil:
    """What a compressed page gives back; of one that failed, nothing but zeros."""
    cdef int i
    if result.length == SAME_FILLED:
        for i in range(0, PAGE_BYTES, 8):
            memcpy(page + i, &result.fill, 8)
    elif result.length >= PAGE_BYTES:
        memcpy(page, result.page, PAGE_BYTES)
    elif result.length < 0 or codec.decompress_page(result.data, result.length, page):
        memset(page, 0, PAGE_BYTES)
