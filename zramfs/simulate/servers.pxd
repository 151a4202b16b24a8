from libc.stdint cimport int64_t

from zramfs.simulate.engine cimport Engine
from zramfs.simulate.tasks cimport Request

# Requests that wait for something, linked by `next_request`.
cdef struct RequestQueue:
    int first, last

cdef class Servers(Engine):
    cdef RequestQueue arrived               # and nobody has received them
    cdef RequestQueue backlog, parked
    cdef int crew_count, loop               # the task of the event loop, or NOBODY
    cdef int share_pages
    cdef int64_t poll_ns, helper_poll_ns, loop_ns
    cdef int64_t slept_ns                   # when the receiver went to sleep
    cdef bint spinning_pays

    cdef void _wake_server(self, int64_t now_ns, int task) noexcept nogil
    cdef bint _rest(self, int task, int64_t spin_ns) noexcept nogil
    cdef bint _hand_over(self, int task) noexcept nogil
    cdef void _queue_for_work(self, int request) noexcept nogil
    cdef int _find_work(self, bint only_shares) noexcept nogil
    cdef bint _take_share(self, int task, int request) noexcept nogil
    cdef bint _help(self, int task) noexcept nogil

cdef void append(RequestQueue *queue, Request *requests, int request) noexcept nogil
cdef void remove(RequestQueue *queue, Request *requests, int request) noexcept nogil
