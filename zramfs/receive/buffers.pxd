# The memory that requests are received in on /dev/fuse, and where it is kept for the next.

from libc.stdint cimport int64_t, uint64_t

from zramfs.page cimport PAGE_BYTES
from zramfs.receive.protocol cimport DATA_BYTES
from zramfs.receive.request cimport Request
from zramfs.threads cimport pthread_mutex_t

cdef enum:
    HEAD_BYTES = PAGE_BYTES     # of a buffer: the Request, and at its end what precedes the data
    MESSAGE_BYTES = 80          # fuse_in_header and fuse_write_in; data begins on a page, to be copied in one go
    MOST_BYTES = MESSAGE_BYTES + DATA_BYTES

# Who is done with a buffer first.
cdef enum Turn:
    SUBMITTING = 0
    HAS_ENDED = 1
    IS_LEFT = 2

# `request` comes first: a Bio's address is its buffer's.
cdef struct Buffer:
    Request request
    Buffer *next                # in the pool
    uint64_t touched_bytes      # of its data, at the most: what may be resident
    uint64_t held_bytes         # as counted by the request memory, for a write that ends later
    uint64_t turn               # a Turn: atomic

cdef class BufferPool:
    cdef pthread_mutex_t lock   # of what follows
    cdef Buffer *first
    cdef uint64_t unused_bytes  # touched ones of unused buffers
    cdef uint64_t buffers       # mapped ones

    cdef Buffer *take(self) noexcept nogil      # NULL: the system has no memory
    cdef void give(self, Buffer *buffer) noexcept nogil
    cdef void trim(self) noexcept nogil
    cdef Buffer *map_buffer(self) noexcept nogil
    cdef void shrink(self, uint64_t most_bytes) noexcept nogil

cdef inline void *message_of(Buffer *buffer) noexcept nogil:
    """Where MOST_BYTES may be received."""
    return <char *>buffer + HEAD_BYTES - MESSAGE_BYTES

cdef inline char *data_of(Buffer *buffer) noexcept nogil:
    return <char *>buffer + HEAD_BYTES

cdef void forget_tail(Buffer *buffer, uint64_t size_bytes) noexcept nogil
