from libc.stdint cimport int64_t, uint64_t

from zramfs.block.bio cimport Bio
from zramfs.block.latency cimport LATENCY_BINS
from zramfs.memory cimport LazyMemory

# Of one channel: what requests have finished, by Operation, failed ones, and those that came and went. All atomic. How
# many have finished is in the bins of their latencies; those of reads and writes are in the page of memory that has all
# else that a request counts.
cdef struct ChannelCounts:
    uint64_t sectors[3]
    uint64_t time_ns[3]
    uint64_t flushes
    uint64_t failed_reads
    uint64_t failed_writes
    uint64_t begun
    uint64_t ended
    uint64_t unused[5]
    uint64_t bins[3][LATENCY_BINS]
    uint64_t rest_of_the_page[360]

cdef class IoCounts:
    cdef readonly int channel_count
    cdef LazyMemory memory
    cdef ChannelCounts *channels
    cdef list latency_before            # of each Operation, the count of each bin when `latency_stat` was reset
    cdef uint64_t busy_stamp_ms         # when `busy_ms_now` was brought up to date: atomic, and so is that
    cdef uint64_t busy_ms_now

    cdef void finish(self, const Bio *bio, int64_t now_ns) noexcept nogil
    cdef void note_busy(self, int64_t now_ns, bint is_end) noexcept nogil
    cdef int64_t in_flight(self) noexcept nogil
    cdef void add_up_latencies(self, int operation, uint64_t *total) noexcept nogil
