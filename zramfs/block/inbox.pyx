# cython: language_level=3
"""Where other threads leave bios to the event loop: those that it goes on with, and those that it waits for."""

import os

from libc.stdint cimport uint64_t

from zramfs.events cimport EFD_CLOEXEC, EFD_NONBLOCK, eventfd, eventfd_read, eventfd_write
from zramfs.threads cimport pthread_mutex_destroy, pthread_mutex_init, pthread_mutex_lock, pthread_mutex_unlock


cdef class Inbox:
    """Bios in the order in which they came. OSError if the system gives no eventfd; it is closed with the object."""

    def __cinit__(self):
        pthread_mutex_init(&self.lock, NULL)
        self.fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)
        if self.fd < 0:
            raise OSError("no eventfd for the event loop's inbox")

    def __dealloc__(self):
        if self.fd >= 0:
            os.close(self.fd)
        pthread_mutex_destroy(&self.lock)

    cdef void push(self, Bio *bio) noexcept nogil:
        """Leave a bio, whose `next` is free, to the event loop."""
        cdef bint was_empty
        bio.next = NULL
        pthread_mutex_lock(&self.lock)
        was_empty = self.first == NULL
        if was_empty:
            self.first = bio
        else:
            self.last.next = bio
        self.last = bio
        pthread_mutex_unlock(&self.lock)
        if was_empty:
            eventfd_write(self.fd, 1)

    cdef Bio *pop_all(self) noexcept nogil:
        """All that is there, linked by `next`; or NULL."""
        cdef Bio *first
        cdef uint64_t ignored
        eventfd_read(self.fd, &ignored)  # first: what comes after it signals anew, because all is taken
        pthread_mutex_lock(&self.lock)
        first = self.first
        self.first = self.last = NULL
        pthread_mutex_unlock(&self.lock)
        return first

    def __repr__(self):
        return f"<Inbox {'empty' if self.first == NULL else 'with something in it'}>"
