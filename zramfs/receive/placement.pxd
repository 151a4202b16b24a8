# Where the thread of each queue runs.

from libc.stdint cimport int64_t, uint32_t, uint64_t

# Of one queue. The first part is atomic; the second one belongs to the queue's thread.
cdef struct Seat:
    int64_t last_ns             # when the last request came
    int64_t caller_since_ns     # and since when they are
    uint32_t caller             # this thread's
    char apart[64]
    int home                    # the queue's own CPU; -1: we may not run there
    bint roams
    int64_t began_ns            # a window of time,
    uint32_t requests           # how many came in it,
    uint32_t together           # and of them, before the one before them was answered
    int deep_windows            # in a row
    int64_t until_ns            # it roams, or stays at home, at the least
    uint64_t moves
    char apart_too[64]

cdef class Placement:
    cdef readonly int count
    cdef bint has_choice        # of CPUs
    cdef Seat *seats

    cdef void arrive(self, int queue, uint32_t caller, bint is_together, int64_t now_ns) noexcept nogil
    cdef void take_seat(self, int queue) noexcept nogil
    cdef void move_if_due(self, int queue, int64_t now_ns) noexcept nogil
    cdef bint is_due(self, int queue, int64_t now_ns) noexcept nogil
    cdef bint review(self, int queue, int64_t now_ns) noexcept nogil
    cdef bint leaves(self, int queue, int64_t now_ns) noexcept nogil
    cdef bint comes_home(self, int queue, int64_t now_ns) noexcept nogil
    cdef bint is_alone(self, int queue, int64_t now_ns) noexcept nogil
