# How much CPU time of the driver's threads was the device's own work: hardware would have done that itself.
#
# Asking for a thread's CPU time takes a system call, and twice 0.3 us is much beside the compression of one page. So
# every 32nd piece of work is timed, and stands for the others by its pages. One thread works at a time.

from libc.stdint cimport int64_t, uint64_t

from zramfs.atomic cimport peek_i64, peek_u64, poke_i64, poke_u64
from zramfs.clock cimport thread_cpu_ns

cdef enum:
    TIMED_EVERY = 32
    UNTIMED = -1

cdef struct WorkMeter:
    uint64_t pieces
    uint64_t pages
    uint64_t timed_pages
    int64_t timed_ns

cdef inline int64_t begin_work(WorkMeter *meter) noexcept nogil:
    """Begin a piece of work; what `end_work` wants to have."""
    cdef bint is_timed = meter.pieces % TIMED_EVERY == 0
    meter.pieces += 1
    return thread_cpu_ns() if is_timed else UNTIMED

cdef inline void end_work(WorkMeter *meter, int64_t began_ns, int pages) noexcept nogil:
    poke_u64(&meter.pages, meter.pages + pages)
    if began_ns != UNTIMED:
        poke_u64(&meter.timed_pages, meter.timed_pages + pages)
        poke_i64(&meter.timed_ns, meter.timed_ns + thread_cpu_ns() - began_ns)

cdef inline void add_up(WorkMeter *total, const WorkMeter *meter) noexcept nogil:
    """Add what a meter shows, on any thread."""
    total.pages += peek_u64(&meter.pages)
    total.timed_pages += peek_u64(&meter.timed_pages)
    total.timed_ns += peek_i64(&meter.timed_ns)

cdef inline int64_t work_ns(const WorkMeter *total) noexcept nogil:
    """All of the work, as far as those pieces tell that were timed."""
    return <int64_t>(total.timed_ns * (<double>total.pages / total.timed_pages)) if total.timed_pages else 0
