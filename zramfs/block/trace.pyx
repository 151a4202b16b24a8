# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""What becomes of a disk's requests: whichever thread ends one notes it, and the event loop takes lines of JSON out.

Whoever ends a bio waits for nothing but the lock, for as long as a record is copied. Where the event loop is late, and
the room used up, records are lost, and counted.
"""

from libc.stdint cimport int64_t, uint8_t, uint64_t
from libc.stdio cimport snprintf
from libc.string cimport memcpy

from zramfs.block.bio cimport READ, WRITE
from zramfs.memory cimport LazyMemory
from zramfs.threads cimport (
    pthread_mutex_destroy,
    pthread_mutex_init,
    pthread_mutex_lock,
    pthread_mutex_unlock,
)
from zramfs.zcomp.zcomp cimport MANAGED, PERCPU

cdef enum:
    TAKEN_RECORDS = 128         # at a time: 0.25 ms
    LINE_BYTES = 512            # room for one: a name, and at most 20 digits for each number
    NS_PER_US = 1000


cdef class Tracer:
    """Room for `capacity` records of the disk `name`. Times are in µs since `origin_ns` of the monotonic clock."""

    def __cinit__(self, str name not None, uint64_t capacity, int64_t origin_ns):
        pthread_mutex_init(&self.lock, NULL)
        self.name = name.encode("ascii")
        self.memory = LazyMemory(capacity * sizeof(TraceRecord))
        self.records = <TraceRecord *>self.memory.start
        self.capacity = capacity
        self.origin_ns = origin_ns

    def __dealloc__(self):
        pthread_mutex_destroy(&self.lock)

    cdef void describe(self, const Bio *bio, int64_t now_ns, TraceRecord *record) noexcept nogil:
        """Fill the record of a bio that is complete now; `reply_ns` is left to whoever answers."""
        record.size_bytes = bio.size_bytes
        memcpy(record.pages_by_kind, bio.pages_by_kind, sizeof(record.pages_by_kind))
        record.arrival_ns = bio.began_ns
        record.submit_ns = bio.submitted_ns if bio.submitted_ns else now_ns
        record.complete_ns = now_ns
        record.operation = bio.operation
        record.is_async = bio.operation == WRITE and bio.is_async

    cdef void note(self, TraceRecord *record) noexcept nogil:
        """Keep a record, if there is room."""
        pthread_mutex_lock(&self.lock)
        if self.count < self.capacity:
            self.records[(self.begin + self.count) % self.capacity] = record[0]
            self.count += 1
        else:
            self.lost_records += 1
        pthread_mutex_unlock(&self.lock)

    def take_lines(self):
        """Take the oldest records out: a line for each, and one for how many were lost; b"" if there are none left."""
        cdef TraceRecord taken[TAKEN_RECORDS]
        cdef char line[LINE_BYTES]
        cdef uint64_t lost = 0
        cdef int count, i
        with nogil:
            count = self._take_out(taken, &lost)
        lines = [line[:self._format(&taken[i], line)] for i in range(count)]
        if lost:
            lines.append(b'{"lost":%d}\n' % lost)
        return b"".join(lines)

    cdef int _take_out(self, TraceRecord *taken, uint64_t *lost) noexcept nogil:
        """With the last of the records goes the count of those lost since."""
        cdef int count = 0
        pthread_mutex_lock(&self.lock)
        while count < TAKEN_RECORDS and self.count:
            taken[count] = self.records[self.begin]
            self.begin = (self.begin + 1) % self.capacity
            self.count -= 1
            count += 1
        if self.count == 0:
            lost[0] = self.lost_records
            self.lost_records = 0
        pthread_mutex_unlock(&self.lock)
        return count

    cdef int _format(self, const TraceRecord *record, char *line) noexcept:
        """Write the record's line; its length."""
        cdef int length = snprintf(
            line, LINE_BYTES, b'{"device":"%s","op":"%s","bytes":%llu,"async":%s,"streams":{', <const char *>self.name,
            operation_name(record.operation), <unsigned long long>record.size_bytes,
            b"true" if record.is_async else b"false",
        )
        cdef const char *comma = b""
        cdef int kind
        for kind in range(3):
            if record.pages_by_kind[kind]:
                length += snprintf(
                    line + length, LINE_BYTES - length, b'%s"%s":%llu', comma, kind_name(kind),
                    <unsigned long long>record.pages_by_kind[kind],
                )
                comma = b","
        length += snprintf(
            line + length, LINE_BYTES - length,
            b'},"arrival_us":%.3f,"submit_us":%.3f,"complete_us":%.3f,"reply_us":%.3f}\n',
            self._us(record.arrival_ns), self._us(record.submit_ns), self._us(record.complete_ns),
            self._us(record.reply_ns),
        )
        return length

    cdef double _us(self, int64_t time_ns) noexcept:
        return (time_ns - self.origin_ns) / <double>NS_PER_US

    def __repr__(self):
        return f"<Tracer {self.count} of {self.capacity} records, {self.lost_records} lost>"


cdef const char *operation_name(uint8_t operation) noexcept:
    return b"read" if operation == READ else (b"write" if operation == WRITE else b"discard")


cdef const char *kind_name(int kind) noexcept:
    return b"percpu" if kind == PERCPU else (b"managed" if kind == MANAGED else b"fallback")



