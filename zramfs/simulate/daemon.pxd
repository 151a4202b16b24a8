from libc.stdint cimport int64_t

from zramfs.simulate.engine cimport Engine

# Requests that wait for something, linked by `next_request`.
cdef struct RequestQueue:
    int first, last

# A run whose end the receiver is to see to.
cdef struct Told:
    int device, run

cdef class DaemonEngine(Engine):
    cdef RequestQueue arrived               # and nobody has received them
    cdef RequestQueue backlog, parked
    cdef Told *told                         # circular
    cdef int told_capacity, first_told, told_count
    cdef int crew_count, loop           # the task of the event loop, or NOBODY
    cdef int share_pages, shared_read_pages, one_go_pages
    cdef int64_t slice_ns, turn_ns, poll_ns, helper_poll_ns
    cdef int64_t slice_ends_ns, turn_ends_ns
    cdef double receive_ns, copy_ns
    cdef int64_t loop_ns
    cdef int64_t slept_ns                   # when the receiver went to sleep
    cdef bint spinning_pays

    cdef int _set_up_servers(self, scenario, devices) except -1
    cdef bint _hand_over(self, int task) noexcept nogil
    cdef bint _help(self, int task) noexcept nogil
    cdef int64_t _spin_time(self) noexcept nogil
    cdef bint _loop(self, int task) noexcept nogil
    cdef void _wake_server(self, int64_t now_ns, int task) noexcept nogil
    cdef bint _serve(self, int task) noexcept nogil
    cdef bint _is_time_for_backlog(self) noexcept nogil
    cdef bint _receive(self, int task) noexcept nogil
    cdef bint _begin_request(self, int task) noexcept nogil
    cdef bint _complete(self, int task) noexcept nogil
    cdef int _find_work(self, bint only_shares) noexcept nogil
    cdef bint _take_share(self, int task, int request) noexcept nogil
    cdef bint _rest(self, int task, int64_t spin_ns) noexcept nogil
    cdef bint _look_as_engine(self, int task) noexcept nogil
    cdef bint _end_work(self, int task) noexcept nogil
    cdef void _give_to_engines(self, int device, int run) noexcept nogil
    cdef void _tell_receiver(self, int device, int run) noexcept nogil
    cdef void _queue_for_work(self, int request) noexcept nogil
