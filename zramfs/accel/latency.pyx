# cython: language_level=3, cdivision=True
"""The latencies of the last few thousand runs, for a median and a tail that are exact.

One thread adds at a time, and any may look meanwhile.
"""

from libc.stdint cimport int64_t, uint64_t
from libc.stdlib cimport calloc, free, qsort

from zramfs.atomic cimport load_u64, peek_i64, poke_i64, store_u64

cdef enum:
    WINDOW = 4096
    NS_PER_US = 1000


cdef class LatencyWindow:
    """The last 4096 latencies."""

    def __cinit__(self):
        self.samples_ns = <int64_t *>calloc(WINDOW, sizeof(int64_t))
        if self.samples_ns == NULL:
            raise MemoryError

    def __dealloc__(self):
        free(self.samples_ns)

    cdef void add(self, int64_t sample_ns) noexcept nogil:
        poke_i64(&self.samples_ns[self.count % WINDOW], sample_ns)
        store_u64(&self.count, self.count + 1)

    cdef void clear(self) noexcept nogil:
        """Forget them, on behalf of the thread that adds."""
        store_u64(&self.count, 0)

    def percentile_us(self, percent):
        """The latency that so many percent do not exceed, in µs; 0 before the first."""
        return self.percentiles_us(percent)[0]

    def percentiles_us(self, *percents):
        """Several at once, which takes no longer: a quarter of a millisecond, without the GIL."""
        cdef uint64_t held = min(load_u64(&self.count), <uint64_t>WINDOW)
        cdef int64_t ordered[WINDOW]
        cdef uint64_t i
        if held == 0:
            return [0.0 for _ in percents]
        with nogil:
            for i in range(held):
                ordered[i] = peek_i64(&self.samples_ns[i])
            qsort(ordered, held, sizeof(int64_t), compare_i64)
        places = [min(held - 1, held * <uint64_t>percent // 100) for percent in percents]
        return [round(ordered[<uint64_t>place] / <double>NS_PER_US, 1) for place in places]

    def __repr__(self):
        return f"<LatencyWindow p50 {self.percentile_us(50)} us, p99 {self.percentile_us(99)} us>"


cdef int compare_i64(const void *left, const void *right) noexcept nogil:
    cdef int64_t first = (<const int64_t *>left)[0]
    cdef int64_t second = (<const int64_t *>right)[0]
    return (first > second) - (first < second)
