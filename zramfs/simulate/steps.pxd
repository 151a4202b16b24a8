from libc.stdint cimport uint64_t

from zramfs.simulate.runs cimport Runs

cdef enum:
    STILL_STEPS = 10000000      # at one time: nothing in the scenario takes any

cdef class Steps(Runs):
    cdef int policy
    cdef bint device_reads
    cdef int percpu_run_pages, fallback_run_pages
    cdef uint64_t still                 # steps and events since time went on

    cdef void _step(self, int task) noexcept nogil
    cdef bint _do_state(self, int task) noexcept nogil
    cdef bint _take(self, int task) noexcept nogil
    cdef bint _begin(self, int task) noexcept nogil
    cdef bint _choose(self, int task) noexcept nogil
    cdef bint _use_percpu(self, int task, int kind) noexcept nogil
    cdef bint _compress(self, int task) noexcept nogil
