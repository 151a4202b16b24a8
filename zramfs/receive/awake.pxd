# Threads that run for a moment, to see whether their CPUs are idle.

from libc.stdint cimport int64_t

cdef extern from "<semaphore.h>" nogil:
    ctypedef struct sem_t:
        pass

# Of one CPU. All but the semaphore is atomic.
cdef struct Lamp:
    int64_t until_ns            # how long its CPU is to be kept awake
    int64_t seen_ns             # when its thread ran last
    int64_t crowded_until_ns    # so long others have work for this CPU
    int is_out                  # its thread sleeps, or is about to
    sem_t lit
    char apart[64]

cdef class Awake:
    cdef readonly int cpu_count
    cdef Lamp *lamps
    cdef list threads
    cdef int is_stopping        # atomic

    cdef void keep(self, int cpu, int64_t now_ns, int64_t until_ns) noexcept nogil
    cdef bint is_idle(self, int cpu, int64_t now_ns) noexcept nogil
    cdef void burn(self, int cpu) noexcept nogil
