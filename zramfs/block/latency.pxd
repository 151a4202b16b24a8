# How long requests took, in bins that widen with their value, as HdrHistogram's do: eight for each power of two.

from libc.stdint cimport int64_t, uint64_t

cdef extern from * nogil:
    int leading_zeros "__builtin_clzll"(unsigned long long word)    # of a word that is not 0

cdef enum:
    SUB_BITS = 3
    SHORTEST_NS = 1 << 8    # what takes less is in the first bin: no request does
    FIRST_BIN = 48          # where bins that began at 0 ns would have it
    LATENCY_BINS = 216      # 27 powers of two: the last bin begins at 32 s, and has whatever took longer

cdef inline int latency_bin(int64_t latency_ns) noexcept nogil:
    """The bin of a latency: an eighth of its value wide at the most."""
    cdef int64_t told_ns = max(latency_ns, <int64_t>SHORTEST_NS)
    cdef int shift = 60 - leading_zeros(<uint64_t>told_ns)
    return min((shift << SUB_BITS) + <int>(told_ns >> shift) - FIRST_BIN, LATENCY_BINS - 1)

cdef inline int64_t edge_ns(int number) noexcept nogil:
    """The smallest latency that belongs to a bin."""
    cdef int shift = ((number + FIRST_BIN) >> SUB_BITS) - 1
    return <int64_t>(number + FIRST_BIN - (shift << SUB_BITS)) << shift
