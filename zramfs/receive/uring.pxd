# The thread of one of the kernel's queues.

from libc.stdint cimport int64_t

from zramfs.receive.queue_receiver cimport QueueReceiver

cdef class UringReceiver(QueueReceiver):
    cdef readonly int failure       # errno of what could not be set up; 0: nothing
    cdef readonly object is_set_up  # an Event
    cdef int64_t answers_end_ns     # 0: not stopping
    cdef int has_answered_now       # atomic: `stop` was called, and nothing more will be answered
    cdef int may_go                 # atomic
    cdef int has_begun              # atomic

    cdef int open(self) noexcept nogil
    cdef void begin(self) noexcept nogil
    cdef void receive(self) noexcept nogil
    cdef bint await_begin(self) noexcept nogil
    cdef bint is_done(self) noexcept nogil
    cdef void keep_ring(self) noexcept nogil
