# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""A ring for one of the kernel's queues: what is submitted to it. Its owner looks at completions (`io_ring_peek`).

It belongs to the thread that opens it; nobody else enters it.
"""

from zramfs.events cimport POLLIN
from zramfs.receive.uring_protocol cimport (
    COMMIT_AND_FETCH,
    IO_RING_POLL_ADD,
    IO_RING_POLL_MULTISHOT,
    IO_RING_TIMEOUT,
    IO_RING_URING_CMD,
    REGISTER,
    EntryCommand,
    io_ring_close,
    io_ring_end_with_thread,
    io_ring_enter,
    io_ring_next,
    io_ring_open,
)

cdef enum:
    MOST_SUBMISSIONS = 256      # at a time


cdef class QueueRing:
    """Has the commands of `queue` of the session whose /dev/fuse is `dev_fd`, which belongs to the caller."""

    def __cinit__(self, *args, **kwargs):
        self.ring.fd = -1

    def __init__(self, int dev_fd, int queue):
        self.dev_fd, self.queue = dev_fd, queue

    def __dealloc__(self):
        self.close()

    cdef int open(self, int entries, uint64_t anchor) noexcept nogil:
        """Make the ring, which belongs to the calling thread from then on. 0, or an errno.

        `anchor` names what ties it to the thread, and never completes: without that a daemon which is killed would
        leave its mount behind.
        """
        cdef int failure = io_ring_open(&self.ring, MOST_SUBMISSIONS, 2 * entries)
        if failure == 0:
            failure = io_ring_end_with_thread(&self.ring, anchor)
        return -failure

    cdef void close(self) noexcept nogil:
        """Give the ring up: the kernel takes its entries back."""
        io_ring_close(&self.ring)

    cdef void enter(self, bint waits, int64_t timeout_ns) noexcept nogil:
        """Let replies leave, and requests come. What it fails for (a signal, the end of the time) is no failure."""
        io_ring_enter(&self.ring, waits, timeout_ns)

    cdef void give(self, uint64_t number, const iovec *room) noexcept nogil:
        """Give the kernel an entry: header and payload."""
        cdef io_ring_sqe *sqe = self.command(number, REGISTER, 0)
        sqe.address = <uint64_t>room
        sqe.length = 2

    cdef void answer(self, uint64_t number, uint64_t unique) noexcept nogil:
        """Send the reply that an entry has, and let the kernel have the entry for the next request."""
        self.command(number, COMMIT_AND_FETCH, unique)

    cdef io_ring_sqe *command(self, uint64_t number, int operation, uint64_t commit_id) noexcept nogil:
        cdef io_ring_sqe *sqe = self.submission()
        cdef EntryCommand *arguments = <EntryCommand *>sqe.arguments
        sqe.opcode = IO_RING_URING_CMD
        sqe.fd = self.dev_fd
        sqe.command = operation
        sqe.user_data = number
        arguments.commit_id = commit_id
        arguments.queue = self.queue
        return sqe

    cdef void watch(self, int fd, uint64_t user_data) noexcept nogil:
        """Complete each time that `fd` has become readable."""
        cdef io_ring_sqe *sqe = self.submission()
        sqe.opcode = IO_RING_POLL_ADD
        sqe.fd = fd
        sqe.events = POLLIN
        sqe.length = IO_RING_POLL_MULTISHOT
        sqe.user_data = user_data

    cdef void tell_in(self, int64_t seconds, uint64_t user_data) noexcept nogil:
        """Complete when so much time is over. One such alarm at a time."""
        cdef io_ring_sqe *sqe = self.submission()
        self.alarm.seconds, self.alarm.nanoseconds = seconds, 0
        sqe.opcode = IO_RING_TIMEOUT
        sqe.fd = -1
        sqe.address = <uint64_t>&self.alarm
        sqe.length = 1
        sqe.user_data = user_data

    cdef io_ring_sqe *submission(self) noexcept nogil:
        """Return the next entry to fill in, zeroed."""
        while self.ring.unsubmitted == MOST_SUBMISSIONS:
            self.enter(False, 0)
        return io_ring_next(&self.ring)

    def __repr__(self):
        return f"<QueueRing of queue {self.queue}, {self.ring.unsubmitted} to submit>"
