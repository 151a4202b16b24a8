# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""Waits a few microseconds for a file descriptor without the event loop, which costs more than a request does."""

from libc.stdint cimport int64_t

from zramfs.clock cimport monotonic_ns

cdef extern from "<poll.h>" nogil:
    struct pollfd:
        int fd
        short events
        short revents
    int poll(pollfd *fds, unsigned long count, int timeout_ms)
    enum:
        POLLIN

cdef extern from "<sched.h>" nogil:
    int sched_yield()


cdef enum:
    LOOK_NS = 2000  # a system call or two: so near the end a look would only be late


cdef short events_within(int fd, int64_t budget_ns) noexcept:
    """poll(2)'s word for `fd`: 0 if it stays quiet, or poll itself fails."""
    cdef pollfd watched
    cdef int64_t deadline_ns = monotonic_ns() + budget_ns if budget_ns else 0
    cdef int64_t left_ns
    watched.fd = fd
    watched.events = POLLIN
    cdef int ready = poll(&watched, 1, 0)
    if ready == 0 and budget_ns:
        with nogil:
            while ready == 0 and (left_ns := deadline_ns - monotonic_ns()) > 0:
                if left_ns > LOOK_NS:
                    sched_yield()
                    ready = poll(&watched, 1, 0)
    return watched.revents if ready > 0 else 0


def wait_for_events(int fd, int64_t budget_ns):
    """Return poll(2)'s events of `fd`, now or within `budget_ns`, which is spent polling; 0 if it cannot be read.

    Others may use the CPU meanwhile. A signal ends it early: Python's handlers run only once we are back.
    """
    return events_within(fd, budget_ns)
