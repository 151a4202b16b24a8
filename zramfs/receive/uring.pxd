# The receiver of one of the kernel's queues.

from libc.stdint cimport int64_t, uint64_t

from zramfs.receive.entries cimport Entry
from zramfs.receive.placement cimport Placement
from zramfs.receive.uring_requests cimport EntryReceiver

cdef class UringReceiver(EntryReceiver):
    cdef Placement placement
    cdef readonly int queue
    cdef readonly int failure       # errno of what could not be set up; 0: nothing
    cdef readonly object is_set_up  # an Event
    cdef int empty_looks            # since the last request: for how long none was there
    cdef bint is_ticking            # the end of a second will show whether requests came in it
    cdef uint64_t requests_at_tick
    cdef int64_t answers_end_ns     # 0: not stopping
    cdef int has_answered_now       # atomic: `stop` was called, and nothing more will be answered
    cdef int may_go                 # atomic
    cdef int has_begun              # atomic
    cdef int lost                   # entries that the kernel does not want any more

    cdef int open(self) noexcept nogil
    cdef void begin(self) noexcept nogil
    cdef void receive(self) noexcept nogil
    cdef bint await_begin(self) noexcept nogil
    cdef bint is_done(self) noexcept nogil
    cdef void keep_ring(self) noexcept nogil
    cdef bint reap(self) noexcept nogil
    cdef void complete(self, uint64_t which, int result, bint is_last, int64_t now_ns) noexcept nogil
    cdef void note(self, Entry *entry, int64_t now_ns) noexcept nogil
    cdef void lose(self, int error) noexcept nogil
    cdef void pass_time(self) noexcept nogil
    cdef bint has_work(self) noexcept nogil
    cdef void sleep(self) noexcept nogil
    cdef void begin_second(self) noexcept nogil
    cdef void end_second(self) noexcept nogil
