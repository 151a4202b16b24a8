# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""Latencies in bins that widen with their value, as HdrHistogram's do: 58 KiB, however many there are.

Beside them the sums of batches of equal time, whose means are nearly independent of each other: the classic way to a
confidence interval for what comes out of a queue (Law, Simulation Modeling and Analysis, chapter 9).
"""

from libc.stdint cimport int64_t, uint64_t
from libc.stdlib cimport calloc, free

import math

_FEWEST_BATCHES = 10


cdef int bin_of(int64_t latency_ns) noexcept nogil:
    cdef int shift = 0
    while latency_ns >> shift >= 2 * SUB_BINS:
        shift += 1
    return (shift << SUB_BITS) + <int>(latency_ns >> shift)


cdef int64_t lower_edge(int number) noexcept nogil:
    """The smallest latency of a bin, in ns."""
    cdef int shift
    if number < 2 * SUB_BINS:
        return number
    shift = (number >> SUB_BITS) - 1
    return <int64_t>((number & (SUB_BINS - 1)) + SUB_BINS) << shift


cdef class LatencyHistogram:
    """How many requests took how long; all in ns."""

    def __cinit__(self):
        self.counts = <uint64_t *>calloc(BIN_COUNT, sizeof(uint64_t))
        if self.counts == NULL:
            raise MemoryError

    def __dealloc__(self):
        free(self.counts)

    cdef void add(self, int64_t latency_ns, int batch) noexcept nogil:
        """Count a latency of 0 ns or more, in a batch from 0 to BATCHES - 1."""
        self.counts[bin_of(latency_ns)] += 1
        self.count += 1
        self.sum_ns += latency_ns
        self.most_ns = max(self.most_ns, latency_ns)
        self.batch_counts[batch] += 1
        self.batch_sums_ns[batch] += latency_ns

    def note(self, int64_t latency_ns, int batch=0):
        """Likewise, for Python."""
        if latency_ns < 0 or not 0 <= batch < BATCHES:
            raise ValueError(f"a latency of {latency_ns} ns in batch {batch}")
        self.add(latency_ns, batch)

    def mean_ns(self):
        """The mean; 0 of none."""
        return self.sum_ns / self.count if self.count else 0.0

    def mean_error_ns(self):
        """Half the width of the 95 % confidence interval of the mean; 0 with fewer than ten batches that have any."""
        means = [self.batch_sums_ns[i] / self.batch_counts[i] for i in range(BATCHES) if self.batch_counts[i]]
        if len(means) < _FEWEST_BATCHES:
            return 0.0
        middle = sum(means) / len(means)
        variance = sum((mean - middle) ** 2 for mean in means) / (len(means) - 1)
        return students_t(len(means) - 1) * math.sqrt(variance / len(means))

    def percentile_ns(self, double percent):
        """The upper edge of the bin that holds it, but no more than the largest latency; 0 of none."""
        cdef double wanted = self.count * percent / 100
        cdef double reached = 0
        cdef int number
        for number in range(BIN_COUNT - 1):
            reached += self.counts[number]
            if self.counts[number] and reached >= wanted:
                return min(lower_edge(number + 1), self.most_ns)
        return 0

    def bins(self):
        """(lower edge in ns, requests) of each bin that has any."""
        return [(lower_edge(number), self.counts[number]) for number in range(BIN_COUNT) if self.counts[number]]

    def __repr__(self):
        return f"<LatencyHistogram {self.count} requests, mean {self.mean_ns():.0f} ns>"


def students_t(int degrees):
    """The 97.5 % quantile of Student's t, to 4 thousandths for 9 degrees or more (by its expansion)."""
    z = 1.959964
    return z + (z**3 + z) / (4 * degrees) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * degrees**2)
