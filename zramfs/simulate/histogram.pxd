from libc.stdint cimport int64_t, uint64_t

cdef enum:
    SUB_BINS = 128          # of each power of two: a bin is at most 1/128 of its value wide
    SUB_BITS = 7
    BIN_COUNT = 7424        # for every int64_t
    BATCHES = 30            # of equal time, for the confidence in the mean

cdef class LatencyHistogram:
    cdef uint64_t *counts
    cdef readonly uint64_t count
    cdef readonly int64_t most_ns
    cdef double sum_ns
    cdef uint64_t batch_counts[BATCHES]
    cdef double batch_sums_ns[BATCHES]

    cdef void add(self, int64_t latency_ns, int batch) noexcept nogil
