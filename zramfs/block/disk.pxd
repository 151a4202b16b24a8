from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

from zramfs.block.bio cimport Bio
from zramfs.block.latency cimport LATENCY_BINS
from zramfs.block.layer cimport BlockLayer
from zramfs.block.slots cimport SlotTable
from zramfs.block.trace cimport Tracer
from zramfs.memory cimport LazyMemory
from zramfs.threads cimport pthread_mutex_t
from zramfs.zcomp.zcomp cimport Zcomp

# Of one channel: what requests have finished, by Operation, failed ones, and those that came and went. All atomic. How
# many have finished is in the bins of their latencies; those of reads and writes are in the page of memory that has all
# else that a request counts.
cdef struct IoCounts:
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

cdef class Disk:
    cdef readonly str name
    cdef readonly BlockLayer layer
    cdef readonly SlotTable table       # these three change only while the disk is closed, and nothing is in flight
    cdef readonly Zcomp zcomp
    cdef bint any_thread                # otherwise its bios are the event loop's: some codec, or the manager, is Python's
    cdef void **codecs                  # Codecs by channel, borrowed from:
    cdef list codecs_kept
    cdef pthread_mutex_t tail_lock      # of the last channel, which belongs to no thread
    cdef public Tracer tracer           # None: no trace; changes only while the disk is closed
    cdef LazyMemory io_memory
    cdef IoCounts *io                   # by channel
    cdef list latency_before            # of each Operation, the count of each bin when `latency_stat` was reset
    cdef int life                       # a Life: atomic
    cdef uint64_t size_now              # the disksize, 0 while it is closed: atomic
    cdef uint64_t busy_stamp_ms         # when `busy_ms_now` was brought up to date: atomic, and so is that
    cdef uint64_t busy_ms_now
    cdef int64_t noting                 # bios that are answered, and whose record is yet to be kept: atomic

    cdef int submit(self, Bio *bio) noexcept nogil
    cdef int resume(self, Bio *bio) noexcept nogil
    cdef bint go_on(self, Bio *bio, int64_t ends_ns) noexcept nogil
    cdef int64_t find(self, uint64_t offset_bytes, bint data) noexcept nogil
    cdef void finish(self, Bio *bio) noexcept nogil
    cdef bint patch(
        self, Bio *bio, int channel, uint64_t page, uint32_t skip_bytes, const uint8_t *patch, uint32_t size_bytes,
        const uint8_t *contents, uint64_t block
    ) noexcept nogil
    cdef bint enter(self, Bio *bio) noexcept nogil
    cdef int64_t in_flight_now(self) noexcept nogil
    cdef void add_up_latencies(self, int operation, uint64_t *total) noexcept nogil
    cdef void note_busy(self, int64_t now_ns, bint is_end) noexcept nogil
    cdef int read(self, Bio *bio) noexcept nogil
    cdef int write(self, Bio *bio) noexcept nogil
    cdef int punch(self, Bio *bio) noexcept nogil
    cdef bint patch_head(self, Bio *bio) noexcept nogil
    cdef bint patch_tail(self, Bio *bio, int channel) noexcept nogil
    cdef void write_at_once(self, Bio *bio) noexcept nogil
    cdef int begin_work(self, Bio *bio) noexcept nogil
    cdef void end_parts(self, Bio *bio) noexcept nogil
    cdef int settle(self, Bio *bio) noexcept nogil


cdef void fail(Bio *bio, int reason) noexcept nogil
cdef bint has_failed(Bio *bio) noexcept nogil
