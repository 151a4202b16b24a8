from libc.stdint cimport int64_t

from zramfs.simulate.fair_queues cimport FairQueues

cdef class FairPlacement(FairQueues):
    cdef int *failed_balances   # of each CPU, since it last took a task
    cdef int64_t migration_cost_ns

    cdef int _affine(self, int64_t now_ns, int runner) noexcept nogil
    cdef void _balance(self, int64_t now_ns, int cpu) noexcept nogil
    cdef bint _pull_any(self, int64_t now_ns, int cpu) noexcept nogil
    cdef bint _pull(self, int64_t now_ns, int from_cpu, int to_cpu, bint is_hot_taken) noexcept nogil
    cdef void _move(self, int64_t now_ns, int runner, int cpu) noexcept nogil
