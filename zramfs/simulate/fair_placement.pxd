from libc.stdint cimport int64_t

from zramfs.simulate.fair_queues cimport FairQueues

cdef enum:
    ANY_LOAD = -1

cdef extern from *:
    """
    #define ZRAMFS_FULL (100.0 / 117.0)
    #define ZRAMFS_LEAST_LOAD (1.0 / 1024)
    """
    # imbalance_pct: CPUs that are used so much have nothing to spare.
    const double FULL "ZRAMFS_FULL"
    # The kernel's loads are whole numbers, and a task of weight 1 has 1024.
    const double LEAST_LOAD "ZRAMFS_LEAST_LOAD"

# Whom a task wakes (`record_wakee`).
cdef struct Waker:
    int last                # woken by it
    int flips               # how often that was another one than before; halved after a second
    int64_t halved_at_ns

cdef class FairPlacement(FairQueues):
    cdef Waker *wakers          # by runner
    cdef int *used_before       # by runner: the CPU where it was when it last woke up (`recent_used_cpu`)
    cdef int64_t migration_cost_ns
    cdef int64_t *busy_ns       # of each CPU, since `use_at_ns`
    cdef double *use            # that, as it was lately: a share of its time
    cdef int64_t use_at_ns
    cdef int searched           # how many CPUs are looked at for an idle one

    cdef void _note_waking(self, int64_t now_ns, int waker, int woken) noexcept nogil
    cdef bint _is_wide(self, int waker, int woken) noexcept nogil
    cdef int _affine(self, int64_t now_ns, int runner) noexcept nogil
    cdef double _cpu_load(self, int64_t now_ns, int cpu) noexcept nogil
    cdef double _load_of(self, int64_t now_ns, int runner) noexcept nogil
    cdef void be_used(self, double share) noexcept nogil
    cdef void _search(self, double use) noexcept nogil
    cdef void _note_use(self, int64_t now_ns) noexcept nogil
    cdef int _pull(self, int64_t now_ns, int from_cpu, int to_cpu, bint takes_hot, double most_load) noexcept nogil
    cdef void _move(self, int64_t now_ns, int runner, int cpu) noexcept nogil
    cdef void _claim(self, int64_t now_ns, int cpu, int runner) noexcept nogil
    cdef void _take_along(self, int64_t now_ns, int runner, int cpu) noexcept nogil
    cdef void _set_lately(self, int64_t now_ns, int group, double lately) noexcept nogil
