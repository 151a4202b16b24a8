# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""The contexts in which threads of the driver do a device's work: one for each CPU, got locked and put unlocked."""

from libc.stdint cimport uint8_t
from libc.stdlib cimport free
from libc.string cimport memset

from zramfs.codec.run cimport PageCodec, sched_getcpu
from zramfs.threads cimport (
    pthread_mutex_destroy,
    pthread_mutex_init,
    pthread_mutex_lock,
    pthread_mutex_trylock,
    pthread_mutex_unlock,
)

cdef extern from "<stdlib.h>" nogil:
    void *aligned_alloc(size_t alignment, size_t size)

cdef enum:
    # Two lines of cache: neighbours are prefetched in pairs.
    CONTEXT_BYTES = 128


cdef class ContextPool:
    """`codecs`, at least one, for as many threads at a time. Who holds a context's lock takes no other lock."""

    def __cinit__(self, codecs):
        cdef PageCodec codec
        cdef int number
        self.codecs = tuple(codecs)
        self.count = len(self.codecs)
        self.contexts = <uint8_t *>aligned_alloc(CONTEXT_BYTES, max(self.count, 1) * CONTEXT_BYTES)
        if self.contexts == NULL:
            raise MemoryError
        memset(self.contexts, 0, max(self.count, 1) * CONTEXT_BYTES)
        for number, codec in enumerate(self.codecs):
            pthread_mutex_init(&self.at(number).lock, NULL)
            self.at(number).codec = <void *>codec
            self.needs_gil |= codec.needs_gil

    def __dealloc__(self):
        cdef int number
        for number in range(self.count):
            pthread_mutex_destroy(&self.at(number).lock)
        free(self.contexts)

    cdef Context *get_locked(self) noexcept nogil:
        """That of this CPU; of another one if its holder was interrupted, which may take a while."""
        cdef int own = max(sched_getcpu(), 0) % self.count
        cdef int other
        for other in range(self.count):
            context = self.at((own + other) % self.count)
            if pthread_mutex_trylock(&context.lock) == 0:
                return context
        context = self.at(own)
        pthread_mutex_lock(&context.lock)
        return context

    cdef void put_unlocked(self, Context *context) noexcept nogil:
        pthread_mutex_unlock(&context.lock)

    cdef Context *at(self, int number) noexcept nogil:
        return <Context *>(self.contexts + number * CONTEXT_BYTES)

    def __len__(self):
        return self.count

    def __repr__(self):
        return f"<ContextPool of {self.count}>"
