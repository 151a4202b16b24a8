from libc.stdint cimport int64_t

from zramfs.simulate.fair_balance cimport FairBalance

# Where a task last had a CPU.
cdef struct Presence:
    int cpu
    int64_t until_ns        # what tasks had spent there
    bint is_warming         # its next segment has the time for that already

cdef class FairCpus(FairBalance):
    cdef bint *is_shared        # whether others were ready when a CPU last chose
    cdef int64_t *tick_at_ns
    cdef int choosing               # the CPU whose tick it is, and which chooses right after that; or NOBODY
    cdef int64_t ipi_ns             # what it takes a CPU to wake a task on another one
    cdef int64_t *calls_until_ns    # until when each CPU is at that, beside its task
    cdef int64_t cold_ns            # what a task takes more that others have driven from a CPU's caches
    cdef int64_t *spent_ns          # by tasks, of each CPU
    cdef Presence *presences        # by runner

    cdef bint _preempts(self, int64_t now_ns, int cpu, int runner) noexcept nogil
    cdef void _warm_up(self, int cpu) noexcept nogil
    cdef void _set_tick(self, int64_t now_ns, int cpu) noexcept nogil
    cdef void _tick(self, int64_t now_ns, int cpu) noexcept nogil
    cdef bint _is_least_used(self, int cpu) noexcept nogil
    cdef void _yield(self, int64_t now_ns, int cpu) noexcept nogil
