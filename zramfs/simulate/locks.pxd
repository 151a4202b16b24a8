from libc.stdint cimport int64_t

from zramfs.simulate.requests cimport Requests

# A per-CPU stream's mutex, as Linux has it: whoever comes while it is free takes it, also before one who was woken for
# it; one who was woken in vain is given it next.
cdef struct StreamLock:
    int owner               # a task, or NOBODY
    int first_waiting, last_waiting
    bint hands_over

cdef class StreamLocks(Requests):
    cdef StreamLock *locks  # two for each CPU: for reads the second, if the streams are split
    cdef int lock_count
    cdef bint is_split
    cdef bint keeps_cpu     # whoever has a stream is not preempted
    cdef readonly int64_t wait_count, wait_ns, longest_wait_ns

    cdef StreamLock *lock_of(self, int task) noexcept nogil
    cdef bint lock(self, int64_t now_ns, int task) noexcept nogil
    cdef void unlock(self, int64_t now_ns, int task) noexcept nogil
    cdef void _count_wait(self, int64_t ns) noexcept nogil
