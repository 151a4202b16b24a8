# cython: language_level=3
"""The memory of requests that wait: their data is kept until it is stored. Any thread holds and lets go.

Compiled because each write that is answered later is counted.
"""

cimport cython
from libc.stdint cimport int64_t

from zramfs.atomic cimport count_i64, peek_i64


@cython.final
cdef class RequestMemory:
    """Counts what is held, in bytes, against a limit: beyond it a write is to be stored where it arrives.

    Several threads that ask at the same time may go beyond it, by a request each.
    """

    def __init__(self, int64_t limit_bytes):
        self.limit_bytes = limit_bytes

    @property
    def held_bytes(self):
        """What is held at present."""
        return peek_i64(&self.held_now)

    cpdef bint has_room(self, int64_t size_bytes) noexcept nogil:
        """Whether so much more may be held."""
        return peek_i64(&self.held_now) + size_bytes <= self.limit_bytes

    cpdef void hold(self, int64_t size_bytes) noexcept nogil:
        """Count what a request holds from now on."""
        count_i64(&self.held_now, size_bytes)

    cpdef void let_go(self, int64_t size_bytes) noexcept nogil:
        """Count what it holds no more."""
        count_i64(&self.held_now, -size_bytes)

    def __repr__(self):
        return f"<RequestMemory {self.held_bytes} of {self.limit_bytes} bytes>"
