# Where the thread of each queue runs.

from libc.stdint cimport int64_t, uint32_t, uint64_t

from zramfs.receive.awake cimport Awake

# Of one queue. The first part is atomic; the second one belongs to the queue's thread.
cdef struct Seat:
    int64_t last_ns             # when the last request came
    int64_t caller_since_ns     # and since when they are
    uint32_t caller             # this thread's
    int has_guest               # a thread of another queue runs on this one's CPU
    char apart[64]
    int home                    # the queue's own CPU; -1: we may not run there
    int cpu                     # where its thread runs; -1: where the scheduler wants
    int64_t began_ns            # a window of time,
    int64_t awake_ns            # what the thread had of CPU time and sleep before it,
    uint32_t requests           # how many came in it,
    uint32_t together           # and of them, before the one before them was answered
    int deep_windows            # in a row
    int tested                  # the last CPU that was kept awake for a look
    int64_t stays_until_ns      # home, after an excursion that was none
    uint64_t moves
    char apart_too[64]

cdef class Placement:
    cdef readonly int count
    cdef Awake awake            # None: every thread stays at home
    cdef Seat *seats

    cdef void arrive(self, int queue, uint32_t caller, bint is_together, int64_t now_ns) noexcept nogil
    cdef bint is_away(self, int queue) noexcept nogil
    cdef void take_seat(self, int queue) noexcept nogil
    cdef void move_if_due(self, int queue, int64_t now_ns, int64_t slept_ns) noexcept nogil
    cdef bint is_due(self, int queue, int64_t now_ns) noexcept nogil
    cdef bint review(self, int queue, int64_t now_ns, int64_t awake_ns) noexcept nogil
    cdef bint goes_away(self, int queue, int64_t now_ns) noexcept nogil
    cdef bint may_take(self, int queue, int other, int64_t now_ns) noexcept nogil
    cdef void test_some(self, int queue, int64_t now_ns) noexcept nogil
    cdef bint comes_home(self, int queue, int64_t now_ns, int64_t awake_ns) noexcept nogil
    cdef bint is_anothers(self, int queue, int other, int64_t now_ns) noexcept nogil
    cdef void move(self, int queue, int cpu) noexcept nogil
