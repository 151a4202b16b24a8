# How long requests took, in bins that widen with their value, as HdrHistogram's do: eight for each power of two.

from libc.stdint cimport int64_t, uint64_t

cdef extern from * nogil:
    int leading_zeros "__builtin_clzll"(unsigned long long word)    # of a word that is not 0

cdef enum:
    SUB_BITS = 3
    SUB_BINS = 1 << SUB_BITS
    LATENCY_BINS = 320      # 2^41 ns is 37 minutes; the last bin has whatever took longer

cdef inline int latency_bin(int64_t latency_ns) noexcept nogil:
    """The bin of a latency, which is 0 or more: an eighth of its value wide at the most. Three instructions and a shift."""
    cdef int shift = max(60 - leading_zeros(<uint64_t>latency_ns | 1), 0)
    return min((shift << SUB_BITS) + <int>(latency_ns >> shift), LATENCY_BINS - 1)

cdef inline int64_t edge_ns(int number) noexcept nogil:
    """The smallest latency that belongs to a bin."""
    cdef int shift = max((number >> SUB_BITS) - 1, 0)
    return <int64_t>(number - (shift << SUB_BITS)) << shift
