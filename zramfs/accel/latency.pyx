# cython: language_level=3, cdivision=True
"""The latencies of the last few thousand runs, for a median and a tail that are exact."""

from libc.stdlib cimport calloc, free

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

    cdef void add(self, int64_t sample_ns) noexcept:
        self.samples_ns[self.count % WINDOW] = sample_ns
        self.count += 1

    def percentile_us(self, percent):
        """The latency that so many percent do not exceed, in µs; 0 before the first."""
        cdef uint64_t held = min(self.count, <uint64_t>WINDOW)
        if held == 0:
            return 0.0
        ordered = sorted([self.samples_ns[i] for i in range(held)])
        return round(ordered[min(held - 1, held * percent // 100)] / NS_PER_US, 1)

    def __repr__(self):
        return f"<LatencyWindow {self.count} runs, p50 {self.percentile_us(50)} us, p99 {self.percentile_us(99)} us>"
