# cython: language_level=3
"""The memory of requests that wait: their data is kept until it is stored. Belongs to the event loop.

Compiled because each write that is answered later is counted.
"""

from libc.stdint cimport int64_t


cdef class RequestMemory:
    """Counts what is held, in bytes, against a limit: beyond it a write is to be stored where it arrives."""

    def __init__(self, int64_t limit_bytes):
        self.limit_bytes = limit_bytes

    cpdef bint has_room(self, int64_t size_bytes) noexcept:
        """Whether so much more may be held."""
        return self.held_bytes + size_bytes <= self.limit_bytes

    cpdef void hold(self, int64_t size_bytes) noexcept:
        """Count what a request holds from now on."""
        self.held_bytes += size_bytes

    cpdef void let_go(self, int64_t size_bytes) noexcept:
        """Count what it holds no more."""
        self.held_bytes -= size_bytes

    def __repr__(self):
        return f"<RequestMemory {self.held_bytes} of {self.limit_bytes} bytes>"
