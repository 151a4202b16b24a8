# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""Managed streams under load, for tests and measurements: threads that submit without the GIL."""

from cpython.buffer cimport PyBUF_SIMPLE, Py_buffer, PyBuffer_Release, PyObject_GetBuffer
from libc.stdint cimport uint8_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcmp

from zramfs.accel.by_hand cimport restore
from zramfs.atomic cimport add_int, load_int, store_int
from zramfs.codec.run cimport PageCodec
from zramfs.page cimport PAGE_BYTES
from zramfs.threads cimport sched_yield
from zramfs.streams cimport Stream, StreamManager, Waiter


cdef void note_flight(void *stream) noexcept nogil:
    add_int(&(<Flight *>(<Stream>stream).owner).ends, 1)


cdef void note_call(Waiter *waiter) noexcept nogil:
    store_int(&(<CalledWaiter *>waiter).called, 1)


cdef class Exercise:
    """A thread that writes: up to `depth` runs in flight, each looked at when it has ended."""

    def __cinit__(self, StreamManager manager not None, PageCodec codec not None, int depth):
        self.manager, self.codec, self.depth = manager, codec, depth
        self.flights = <Flight *>calloc(depth, sizeof(Flight))
        if self.flights == NULL:
            raise MemoryError

    def __dealloc__(self):
        free(self.flights)

    cdef void write(self, Flight *flight, const uint8_t *first_page, int pages) noexcept nogil:
        """Begin with a run, or have it done at once; its flight is free."""
        cdef bint is_polled = self.manager.may_poll(pages)
        cdef void *stream = self.get_stream()
        if stream == NULL:
            self.counts.refused += 1
            return
        flight.stream, flight.first_page, flight.ends = stream, first_page, 0
        if is_polled:
            flight.pages = pages = (<Stream>stream).compress_pages(first_page, pages)
            self.counts.polled_pages += pages
            store_int(&flight.ends, 1)
        else:
            (<Stream>stream).owner = <void *>flight
            pages = (<Stream>stream).submit_pages(first_page, pages, note_flight)
            flight.pages = pages
            self.counts.submitted_pages += pages
        if pages == 0:
            flight.stream = NULL
            self.counts.refused += 1

    cdef void *get_stream(self) noexcept nogil:
        """One that is free, waiting for it if the manager says so."""
        cdef void *stream = self.manager.take_stream()
        cdef CalledWaiter waiter
        waiter.waiter.ticket, waiter.waiter.call = 0, note_call
        while stream == NULL and self.manager.must_wait():
            store_int(&waiter.called, 0)
            if self.manager.await_stream(&waiter.waiter):
                self.counts.waits += 1
                while not load_int(&waiter.called):
                    self.look()
            stream = self.manager.take_stream()
        return stream

    cdef void look(self) noexcept nogil:
        """Do what there is to do: complete runs, and give back those that have ended."""
        cdef int place
        if not self.manager.lend_hand():
            sched_yield()
        for place in range(self.depth):
            if self.flights[place].stream != NULL and load_int(&self.flights[place].ends):
                self.settle(&self.flights[place])

    cdef void settle(self, Flight *flight) noexcept nogil:
        """Compare a run's pages with what they were, once it has ended, and give its stream back."""
        cdef uint8_t page[PAGE_BYTES]
        cdef int i
        if flight.stream == NULL:
            return
        while not load_int(&flight.ends):
            if not self.manager.lend_hand():
                sched_yield()
        for i in range(flight.pages):
            restore(self.codec, &(<Stream>flight.stream).run.pages[i], page)
            self.counts.wrong_pages += memcmp(page, flight.first_page + i * PAGE_BYTES, PAGE_BYTES) != 0
        self.counts.wrong_ends += load_int(&flight.ends) != 1 or (<Stream>flight.stream).run.count != flight.pages
        self.manager.give_stream(flight.stream)
        flight.stream = NULL


def exercise(
    StreamManager manager not None, source, PageCodec codec not None, *, int rounds, int most_pages, int depth,
    uint64_t seed
):
    """Write `rounds` runs of 1 to `most_pages` pages of `source`, and see that each comes back, ended once; counts.

    `codec` is this thread's own, to decompress with.
    """
    cdef Exercise writer = Exercise(manager, codec, depth)
    cdef Py_buffer view
    cdef int i, pages, first
    PyObject_GetBuffer(source, &view, PyBUF_SIMPLE)
    cdef int source_pages = <int>(view.len // PAGE_BYTES)
    most_pages = min(most_pages, source_pages)
    with nogil:
        for i in range(rounds):
            seed = seed * <uint64_t>6364136223846793005 + 1
            pages = 1 + <int>((seed >> 33) % most_pages)
            first = <int>((seed >> 13) % (source_pages - pages + 1))
            writer.settle(&writer.flights[i % depth])
            writer.write(&writer.flights[i % depth], <const uint8_t *>view.buf + first * PAGE_BYTES, pages)
            manager.lend_hand()
        for i in range(depth):
            writer.settle(&writer.flights[i])
    PyBuffer_Release(&view)
    return writer.counts
