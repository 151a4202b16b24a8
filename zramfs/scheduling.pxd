# How threads share CPUs with those who wait for them.

from libc.stdint cimport int64_t

cdef extern from * nogil:
    """
    #ifndef ZRAMFS_SCHEDULING
    #define ZRAMFS_SCHEDULING
    #ifndef _GNU_SOURCE
    #define _GNU_SOURCE
    #endif
    #include <sched.h>
    #include <stdint.h>
    #include <sys/syscall.h>
    #include <time.h>
    #include <unistd.h>

    struct zramfs_sched_attr {
        uint32_t size, policy;
        uint64_t flags;
        int32_t nice;
        uint32_t priority;
        uint64_t runtime, deadline, period;
    };

    static inline void zramfs_take_long_slices(void) {
        struct zramfs_sched_attr attr;
        if (syscall(SYS_sched_getattr, 0, &attr, sizeof attr, 0) == 0) {
            attr.size = sizeof attr;
            attr.runtime = 12000000;
            syscall(SYS_sched_setattr, 0, &attr, 0);
        }
    }

    static inline void zramfs_run_on(int cpu) {
        cpu_set_t cpus;
        CPU_ZERO(&cpus);
        CPU_SET(cpu, &cpus);
        sched_setaffinity(0, sizeof cpus, &cpus);
    }

    static inline int64_t zramfs_thread_ns(void) {
        struct timespec ran;
        clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ran);
        return ran.tv_sec * 1000000000LL + ran.tv_nsec;
    }
    #endif
    """
    # Let this thread be one that works in bulk: its share of the CPU stays, and comes in slices of 12 ms; whoever wakes up and
    # has shorter ones (2.8 ms) goes first (since Linux 6.12; before, nothing changes). A synchronous 4K writer beside a
    # flood of 1M writes, with slices of 3, 12 and 100 ms for the crew and the engines: p99 187, 82 and 60 µs; the
    # flood's own 20, 28 and 70 ms, because a run waits for its engine's turn (medians of 7 interleaved rounds).
    void take_long_slices "zramfs_take_long_slices"()
    void run_on "zramfs_run_on"(int cpu)
    int64_t thread_ns "zramfs_thread_ns"()     # of CPU time that this thread has had
