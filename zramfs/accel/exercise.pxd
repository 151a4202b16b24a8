from libc.stdint cimport int64_t, uint8_t

from zramfs.codec.run cimport PageCodec
from zramfs.streams cimport StreamManager, Waiter

cdef struct CalledWaiter:
    Waiter waiter
    int called

cdef struct Flight:
    void *stream
    const uint8_t *first_page
    int pages
    int ends

cdef struct Counts:
    int64_t polled_pages, submitted_pages, refused, waits, wrong_pages, wrong_ends

cdef class Exercise:
    cdef StreamManager manager
    cdef PageCodec codec
    cdef int depth
    cdef Flight *flights
    cdef Counts counts

    cdef void write(self, Flight *flight, const uint8_t *first_page, int pages) noexcept nogil
    cdef void *get_stream(self) noexcept nogil
    cdef void look(self) noexcept nogil
    cdef void settle(self, Flight *flight) noexcept nogil
