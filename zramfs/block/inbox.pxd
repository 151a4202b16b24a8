from zramfs.block.bio cimport Bio
from zramfs.threads cimport pthread_mutex_t

cdef class Inbox:
    cdef readonly int fd            # an eventfd, readable while there is something
    cdef pthread_mutex_t lock       # of what follows
    cdef Bio *first
    cdef Bio *last

    cdef void push(self, Bio *bio) noexcept nogil
    cdef Bio *pop_all(self) noexcept nogil
