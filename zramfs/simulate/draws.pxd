# Random numbers of a stream of their own for whoever draws: SplitMix64, whose state is one word.
# Source: Steele, Lea and Flood, Fast Splittable Pseudorandom Number Generators, OOPSLA 2014.

from libc.math cimport log
from libc.stdint cimport int64_t, uint64_t

cdef inline uint64_t draw_bits(uint64_t *state) noexcept nogil:
    cdef uint64_t mixed
    state[0] += <uint64_t>0x9E3779B97F4A7C15
    mixed = state[0]
    mixed = (mixed ^ (mixed >> 30)) * <uint64_t>0xBF58476D1CE4E5B9
    mixed = (mixed ^ (mixed >> 27)) * <uint64_t>0x94D049BB133111EB
    return mixed ^ (mixed >> 31)

cdef inline double draw_share(uint64_t *state) noexcept nogil:
    """More than 0 and less than 1, all alike."""
    return ((draw_bits(state) >> 11) + 0.5) / 9007199254740992.0

cdef inline int64_t draw_exponential(double mean, uint64_t *state) noexcept nogil:
    """A whole number, of an exponential distribution with this mean."""
    return <int64_t>(-log(draw_share(state)) * mean + 0.5)
