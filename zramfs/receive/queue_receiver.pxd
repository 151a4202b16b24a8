# The receiver of one of the kernel's queues, at its work.

from libc.stdint cimport int64_t, uint64_t

from zramfs.receive.entries cimport Entry
from zramfs.receive.placement cimport Placement
from zramfs.receive.uring_requests cimport EntryReceiver

cdef enum:
    WAKE = 0xFFFFFFFF           # user_data of what wakes the thread; others are entries' numbers,
    ANCHOR = 0xFFFFFFFE         # but for what never completes: it ties the ring to the thread
    STOPPING_NS = 10000000      # between two looks whether the last answers have come

cdef class QueueReceiver(EntryReceiver):
    cdef Placement placement
    cdef readonly int queue
    cdef int empty_looks            # since the last request: for how long none was there
    cdef bint is_ticking            # the end of a second will show whether requests came in it
    cdef uint64_t requests_at_tick
    cdef int lost                   # entries that the kernel does not want any more

    cdef bint reap(self) noexcept nogil
    cdef void complete(self, uint64_t which, int result, bint is_last, int64_t now_ns) noexcept nogil
    cdef void note(self, Entry *entry, int64_t now_ns) noexcept nogil
    cdef void lose(self, int error) noexcept nogil
    cdef void pass_time(self) noexcept nogil
    cdef bint has_work(self) noexcept nogil
    cdef void sleep(self) noexcept nogil
    cdef void begin_second(self) noexcept nogil
    cdef void end_second(self) noexcept nogil
