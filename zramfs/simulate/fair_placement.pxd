from libc.stdint cimport int64_t

from zramfs.simulate.fair_queues cimport FairQueues

cdef enum:
    ANY_LOAD = -1

cdef extern from *:
    """
    #define ZRAMFS_FULL (100.0 / 117.0)
    """
    # imbalance_pct: CPUs that are used so much have nothing to spare.
    const double FULL "ZRAMFS_FULL"

cdef class FairPlacement(FairQueues):
    cdef int64_t migration_cost_ns
    cdef int64_t *busy_ns       # of each CPU, since `use_at_ns`
    cdef double *use            # that, as it was lately: a share of its time
    cdef int64_t use_at_ns
    cdef int searched           # how many CPUs are looked at for an idle one

    cdef int _affine(self, int64_t now_ns, int runner) noexcept nogil
    cdef double _cpu_load(self, int64_t now_ns, int cpu) noexcept nogil
    cdef double _load_of(self, int64_t now_ns, int runner) noexcept nogil
    cdef void be_used(self, double share) noexcept nogil
    cdef void _search(self, double use) noexcept nogil
    cdef void _note_use(self, int64_t now_ns) noexcept nogil
    cdef int _pull(self, int64_t now_ns, int from_cpu, int to_cpu, bint takes_hot, double most_load) noexcept nogil
    cdef void _move(self, int64_t now_ns, int runner, int cpu) noexcept nogil
