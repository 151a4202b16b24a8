from libc.stdint cimport int64_t, uint64_t

from zramfs.simulate.heap cimport Event
from zramfs.simulate.steps cimport Steps

cdef class Engine(Steps):
    cdef readonly uint64_t events
    cdef bint are_fair                  # the CPUs
    cdef int *work_base                 # the first Work of each device's runs
    cdef double[2] paces                # of a CPU that has its core to itself, and of one that has not
    cdef double[2] pace_ns              # for how long, on average
    cdef uint64_t pace_changes          # that are to come: they are no reason to go on

    cdef int advance(self, uint64_t most_events) noexcept nogil
    cdef void _handle(self, const Event *event) noexcept nogil
    cdef int _begin_contention(self, contention) except -1
    cdef void _on_contention(self, int cpu, bint is_shared) noexcept nogil
    cdef void _on_timer(self, int cpu, int64_t armed_ns) noexcept nogil
    cdef void _on_device(self, const Event *event) noexcept nogil
    cdef void _on_cpu(self, int cpu, int64_t generation) noexcept nogil
    cdef void _set_measured(self) noexcept nogil
    cdef void _tell(self, int device, int count) noexcept nogil
    cdef void _tell_of(self, int device, int run) noexcept nogil
    cdef void _on_work_done(self, int work) noexcept nogil
