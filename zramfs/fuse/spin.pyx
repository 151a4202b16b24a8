# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""Waits a few microseconds for a file descriptor without the event loop, which costs more than a request does."""

from libc.stdint cimport int64_t

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

cdef extern from "<time.h>" nogil:
    struct timespec:
        int64_t tv_sec
        long tv_nsec
    int clock_gettime(int clock, timespec *now)
    enum:
        CLOCK_MONOTONIC


cdef inline int64_t monotonic_ns() noexcept nogil:
    cdef timespec now
    clock_gettime(CLOCK_MONOTONIC, &now)
    return now.tv_sec * 1000000000 + now.tv_nsec


def is_readable_within(int fd, int64_t budget_ns):
    """Whether `fd` can be read, now or within `budget_ns`, which is spent polling. Others may use the CPU meanwhile.

    A signal ends it early: Python's handlers run only once we are back.
    """
    cdef pollfd watched
    cdef int64_t deadline_ns
    watched.fd = fd
    watched.events = POLLIN
    cdef int ready = poll(&watched, 1, 0)
    if ready == 0 and budget_ns:
        with nogil:
            deadline_ns = monotonic_ns() + budget_ns
            while ready == 0 and monotonic_ns() < deadline_ns:
                sched_yield()
                ready = poll(&watched, 1, 0)
    return ready > 0
