# The system's clocks, for compiled parts: 23 ns each, without a system call, but for a thread's CPU time: 320 ns.

from libc.stdint cimport int64_t, uint32_t

cdef extern from "<time.h>" nogil:
    struct timespec:
        int64_t tv_sec
        long tv_nsec
    int clock_gettime(int clock, timespec *now)
    enum:
        CLOCK_BOOTTIME
        CLOCK_MONOTONIC
        CLOCK_THREAD_CPUTIME_ID

cdef extern from "<stdint.h>" nogil:
    const int64_t NEVER_NS "INT64_MAX"

cdef inline int64_t monotonic_ns() noexcept nogil:
    cdef timespec now
    clock_gettime(CLOCK_MONOTONIC, &now)
    return now.tv_sec * 1000000000 + now.tv_nsec

cdef inline int64_t thread_cpu_ns() noexcept nogil:
    """How long the calling thread has been on a CPU."""
    cdef timespec now
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now)
    return now.tv_sec * 1000000000 + now.tv_nsec

# 8 bytes, which callers pass in a register.
cdef struct BootTime:
    uint32_t s
    uint32_t ns     # behind that second

cdef inline BootTime boot_time() noexcept nogil:
    """ktime_get_boottime(): since the system was booted, the time that it was suspended included."""
    cdef timespec now
    clock_gettime(CLOCK_BOOTTIME, &now)
    return BootTime(<uint32_t>now.tv_sec, <uint32_t>now.tv_nsec)
