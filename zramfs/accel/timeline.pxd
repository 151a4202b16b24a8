from libc.stdint cimport int64_t, uint32_t

cdef struct Ready:
    int64_t ready_ns
    uint32_t run

cdef class Timeline:
    cdef object current_timing
    cdef int64_t submit_ns, job_ns, page_ns, coalesce_ns, interrupt_ns
    cdef int batch_max_pages, coalesce_runs, engines
    cdef int64_t *engine_free_ns        # when each engine has worked off what it was given
    cdef Ready *ready                   # runs no interrupt has told of yet, the earliest first
    cdef uint32_t count, capacity
    cdef int64_t stalled_until_ns

    cpdef int64_t submit(self, int64_t now_ns, uint32_t run, int pages) except -1
    cpdef int64_t occupy(self, int64_t now_ns, int pages) noexcept
    cpdef int64_t predict(self, int64_t now_ns, int pages) noexcept
    cpdef int64_t next_interrupt_ns(self) noexcept
    cdef int64_t _next_fire_ns(self) noexcept
    cdef int _earliest_engine(self) noexcept
