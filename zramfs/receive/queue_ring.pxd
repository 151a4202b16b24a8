# The ring by which one of the kernel's queues is read and answered.

cimport cython
from libc.stdint cimport int64_t, uint64_t

from zramfs.receive.protocol cimport iovec
from zramfs.receive.uring_protocol cimport io_ring, io_ring_sqe, io_ring_time

@cython.final
cdef class QueueRing:
    cdef readonly int queue
    cdef int dev_fd
    cdef io_ring ring               # peeked at by its owner
    cdef io_ring_time alarm         # as the kernel reads it

    cdef int open(self, int entries, uint64_t anchor) noexcept nogil    # 0, or an errno
    cdef void close(self) noexcept nogil
    cdef void enter(self, bint waits, int64_t timeout_ns) noexcept nogil
    cdef void give(self, uint64_t number, const iovec *room) noexcept nogil
    cdef void answer(self, uint64_t number, uint64_t unique) noexcept nogil
    cdef void watch(self, int fd, uint64_t user_data) noexcept nogil
    cdef void tell_in(self, int64_t seconds, uint64_t user_data) noexcept nogil
    cdef io_ring_sqe *command(self, uint64_t number, int operation, uint64_t commit_id) noexcept nogil
    cdef io_ring_sqe *submission(self) noexcept nogil
