from libc.stdint cimport int64_t, uint8_t, uint64_t

from zramfs.accel.descriptor cimport FAULT_COUNT

# Descriptors until the next fault of one kind.
cdef struct Countdown:
    int64_t every           # at every n-th descriptor; 0: with a probability,
    double log_of_none      # whose complement's logarithm this is: 0 for never
    int64_t left

cdef class FaultInjector:
    cdef readonly dict rates            # by kind; of the event loop's thread
    cdef bint is_active
    cdef bint hangs
    cdef uint64_t random
    cdef Countdown countdowns[FAULT_COUNT]
    cdef uint64_t counts[FAULT_COUNT]   # read by anyone

    cdef void set_countdown(self, int kind, Countdown countdown) noexcept nogil
    cdef bint draw(self, int descriptors, uint8_t *plan) noexcept nogil
    cdef int64_t _distance(self, const Countdown *countdown) noexcept nogil

cdef Countdown countdown_of(rate)
cdef int number_of_kind(kind) except -1
