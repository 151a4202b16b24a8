cimport cython
from libc.stdint cimport int64_t, uint32_t

cdef enum:
    MOST_ENGINES = 64       # that the settings allow

# A device's `Timing`, for compiled code.
cdef struct Costs:
    int64_t submit_ns, job_ns, page_ns, coalesce_ns, interrupt_ns
    int batch_max_pages, coalesce_runs, engines
    bint takes_time

cdef struct Ready:
    int64_t ready_ns
    uint32_t run

cdef Costs costs_of(timing) except *

@cython.final
cdef class Timeline:
    cdef readonly Costs costs
    cdef int64_t engine_free_ns[MOST_ENGINES]   # when each engine has worked off what it was given
    cdef Ready *ready                   # runs no interrupt has told of yet, the earliest first
    cdef uint32_t count, capacity
    cdef int64_t stalled_until_ns

    cdef void set_costs(self, Costs costs) noexcept nogil
    cdef int64_t add(self, int64_t now_ns, uint32_t run, int pages) noexcept nogil
    cpdef int64_t occupy(self, int64_t now_ns, int pages) noexcept nogil
    cpdef int64_t predict(self, int64_t now_ns, int pages) noexcept nogil
    cpdef int64_t next_interrupt_ns(self) noexcept nogil
    cdef uint32_t take_told(self, uint32_t *runs) noexcept nogil
    cpdef void forget(self, uint32_t run) noexcept nogil
    cpdef void stall(self, int64_t now_ns, int64_t duration_ns) noexcept nogil
    cpdef void restart(self) noexcept nogil
    cdef int64_t _next_fire_ns(self) noexcept nogil
    cdef int _earliest_engine(self) noexcept nogil
