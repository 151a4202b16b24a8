# How threads share CPUs with those who wait for them.

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

    static inline void zramfs_run_on(const cpu_set_t *cpus) {
        sched_setaffinity(0, sizeof *cpus, cpus);
    }
    #endif
    """
    # Let this thread be one that works in bulk: its share of the CPU stays, and comes in slices of 12 ms; whoever wakes
    # up and has shorter ones (1.4 ms on two CPUs) goes first (since Linux 6.12; before, nothing changes). A synchronous
    # 4K writer beside a flood of 1M writes, with slices of 3, 12 and 100 ms for the crew and the engines: p99 187, 82
    # and 60 µs; the flood's own 20, 28 and 70 ms, because a run waits for its engine's turn (medians of 7 interleaved
    # rounds).
    void take_long_slices "zramfs_take_long_slices"()
    ctypedef struct cpu_set_t:
        pass
    void CPU_ZERO(cpu_set_t *cpus)
    void CPU_SET(int cpu, cpu_set_t *cpus)
    void run_on "zramfs_run_on"(const cpu_set_t *cpus)    # and nowhere else, this thread
