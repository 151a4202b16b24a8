from libc.stdint cimport int64_t, uint64_t

from cpython.object cimport PyObject

from zramfs.backends.checked_stream cimport IN_FLIGHT, LOST, MOST_PAGES, CheckedStream, StreamLedger
from zramfs.streams cimport Stream, StreamManager, Waiter

# All of it belongs to the event loop's thread.

cdef class CheckedStreams(StreamLedger):
    cdef Waiter *first_waiter
    cdef Waiter *last_waiter        # if there is a first
    cdef readonly bint has_ended
    cdef bint may_wait
    cdef bint is_registering
    cdef int futile_calls

    cdef PyObject *ask_for_stream(self) except? NULL
    cdef bint ask_to_be_called(self) except -1
    cdef bint add_waiter(self, Waiter *waiter) except -1
    cdef int call_waiter(self) except -1
    cdef int call_all_waiters(self) except -1
    cdef int stop_waiting(self, str found) except -1
    cdef int64_t ask_for_next_event(self) except? -1
    cdef bint is_idle_now(self) noexcept nogil
