from libc.stdint cimport int64_t, uint8_t, uint64_t

from zramfs.block.bio cimport Bio
from zramfs.memory cimport LazyMemory
from zramfs.threads cimport pthread_mutex_t

# What is told of a request. Times are of the monotonic clock.
cdef struct TraceRecord:
    uint64_t size_bytes
    uint64_t pages_by_kind[3]   # by zcomp's Kind
    int64_t arrival_ns
    int64_t submit_ns
    int64_t complete_ns
    int64_t reply_ns
    uint8_t operation
    uint8_t is_async

cdef class Tracer:
    cdef bytes name
    cdef int64_t origin_ns
    cdef LazyMemory memory
    cdef TraceRecord *records               # circular
    cdef uint64_t capacity
    cdef pthread_mutex_t lock               # of what follows; nothing is called with it held
    cdef uint64_t begin
    cdef uint64_t count
    cdef readonly uint64_t lost_records     # for want of room, since lines were taken last

    cdef void describe(self, const Bio *bio, int64_t now_ns, TraceRecord *record) noexcept nogil
    cdef void note(self, TraceRecord *record) noexcept nogil
    cdef int _take_out(self, TraceRecord *taken, uint64_t *lost) noexcept nogil
    cdef int _format(self, const TraceRecord *record, char *line) noexcept
    cdef double _us(self, int64_t time_ns) noexcept
