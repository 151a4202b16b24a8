from libc.stdint cimport int64_t

from zramfs.simulate.fair_placement cimport FairPlacement

cdef class FairCpus(FairPlacement):
    cdef bint *is_shared        # whether a CPU's event is no later than its next tick
    cdef int64_t *tick_at_ns

    cdef bint _preempts(self, int64_t now_ns, int cpu, int runner) noexcept nogil
    cdef void _tick(self, int64_t now_ns, int cpu) noexcept nogil
    cdef void _yield(self, int64_t now_ns, int cpu) noexcept nogil
