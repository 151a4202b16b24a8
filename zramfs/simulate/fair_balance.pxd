from libc.stdint cimport int64_t, uint64_t

from zramfs.simulate.fair_placement cimport FairPlacement

# What a CPU knows of its tries to take tasks from others (`struct sched_domain`).
cdef struct Balance:
    int failed              # at ticks, since there was last nothing to take, or it took something
    int interval_ms         # between tries: so long for idle CPUs, and much longer for busy ones
    int64_t last_tick       # that it tried at
    int calls               # when it became idle: of about the last thousand
    int successes           # of these, as if it had looked each time
    int ratio               # so many of 1024 calls look
    int64_t rated_at_ns

cdef class FairBalance(FairPlacement):
    cdef Balance *balances
    cdef int64_t last_tick

    cdef void _balance(self, int64_t now_ns) noexcept nogil
    cdef int64_t _ticks_between(self, int cpu) noexcept nogil
    cdef bint _balance_at_tick(self, int64_t now_ns, int cpu) noexcept nogil
    cdef int _busiest(self, int cpu) noexcept nogil
    cdef int _most_loaded(self, int64_t now_ns, int cpu) noexcept nogil
    cdef bint _has_spare(self, int64_t now_ns, int cpu) noexcept nogil
    cdef double _missing_load(self, int64_t now_ns, int from_cpu, int to_cpu) noexcept nogil
    cdef bint _pull_any(self, int64_t now_ns, int cpu) noexcept nogil
    cdef void _note_call(self, int64_t now_ns, int cpu, int successes) noexcept nogil
