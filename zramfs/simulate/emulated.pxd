from libc.stdint cimport int64_t

from zramfs.simulate.servers cimport Servers

# A run whose end somebody is to see to.
cdef struct Told:
    int device, run

cdef class EmulatedEngines(Servers):
    cdef Told *told                         # circular
    cdef int told_capacity, first_told, told_count
    cdef int64_t armed_ns                   # when the timer goes off that wakes the event loop
    cdef int64_t timer_ns                   # the time to set it

    cdef void _give_to_engines(self, int device, int run) noexcept nogil
    cdef bint _look_as_engine(self, int task) noexcept nogil
    cdef bint _end_work(self, int task) noexcept nogil
    cdef bint _has_event(self) noexcept nogil
    cdef bint _attend(self, int task) noexcept nogil
    cdef bint _loop(self, int task) noexcept nogil
    cdef int64_t _next_event(self) noexcept nogil
    cdef int64_t _arm_timer(self, int cpu, int64_t at_ns) noexcept nogil
    cdef void _tell_receiver(self, int device, int run) noexcept nogil
