from libc.stdint cimport int64_t, uint8_t, uint64_t

from zramfs.codec.run cimport CompressedRun

# Called once when every page of a submitted run is compressed; on any thread, and with no lock of the device held.
ctypedef void (*RunEnd)(void *stream) noexcept nogil

# Whoever waits for a managed stream, in a queue that needs no memory. `call` is called with no lock of the device held.
cdef struct Waiter:
    Waiter *next            # the manager's,
    uint64_t ticket         # and so is this: 0 in a waiter that begins to wait; one that asks again keeps its place
    void (*call)(Waiter *waiter) noexcept nogil

cdef class Stream:
    cdef public CompressedRun run
    cdef public bint is_complete    # of a stream in Python
    cdef void *owner        # the submitter's: what the run is part of,
    cdef uint64_t page      # and the first page of the device that it goes to

    cdef int compress_pages(self, const uint8_t *first_page, int pages) noexcept nogil
    cdef int submit_pages(self, const uint8_t *first_page, int pages, RunEnd end) noexcept nogil

cdef class StreamManager:
    cdef public int stream_count
    cdef public int polled_run_pages
    cdef readonly bint any_thread
    cdef readonly bint is_off

    cdef void *take_stream(self) noexcept nogil
    cdef void give_stream(self, void *stream) noexcept nogil
    cdef bint may_poll(self, int pages) noexcept nogil
    cdef bint must_wait(self) noexcept nogil
    cdef bint await_stream(self, Waiter *waiter) noexcept nogil
    cdef int64_t next_event(self) noexcept nogil
    cdef bint reap(self) noexcept nogil
    cdef bint lend_hand(self) noexcept nogil
