from libc.stdint cimport int64_t

from zramfs.simulate.fair_balance cimport FairBalance

cdef class FairCpus(FairBalance):
    cdef bint *is_shared        # whether others were ready when a CPU last chose
    cdef int64_t *tick_at_ns

    cdef bint _preempts(self, int64_t now_ns, int cpu, int runner) noexcept nogil
    cdef void _tick(self, int64_t now_ns, int cpu) noexcept nogil
    cdef void _yield(self, int64_t now_ns, int cpu) noexcept nogil
