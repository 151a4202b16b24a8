# The receiver of /dev/fuse.

from libc.stdint cimport int64_t, uint64_t

from zramfs.receive.buffers cimport Buffer, BufferPool
from zramfs.receive.handover cimport Origin
from zramfs.receive.receiver cimport Receiver

# `origin` comes first: a reply finds its file descriptor by it.
cdef struct DevOrigin:
    Origin origin
    int fd

cdef class DevReceiver(Receiver):
    cdef readonly BufferPool pool
    cdef DevOrigin dev
    cdef Buffer *buffer             # for the next request; NULL: one is to be taken from the pool
    cdef int64_t busy_poll_ns       # how long to poll for the next request before sleeping
    cdef bint pays                  # polling for the next request does
    cdef bint has_requests          # one came since the last sleep
    cdef bint was_out_of_memory

    cdef void receive(self) noexcept nogil
    cdef bint make_room(self) noexcept nogil
    cdef void take(self, uint64_t size_bytes) noexcept nogil
    cdef void hand_over(self, uint64_t size_bytes) noexcept nogil
    cdef void submit(self) noexcept nogil
    cdef bint may_be_kept(self) noexcept nogil
    cdef void let_go_of_write(self, Buffer *buffer) noexcept nogil
    cdef bint leave(self) noexcept nogil
    cdef void finish(self, Buffer *buffer) noexcept nogil
    cdef void answer(self, Buffer *buffer) noexcept nogil
    cdef bint go_on_after(self, int error) noexcept nogil
    cdef void pass_time(self) noexcept nogil
    cdef void sleep(self) noexcept nogil
