# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""Buffers for requests: one mapping each, used again in the order in which the caches remember them.

A request has its Request, its words and its data in one buffer, and keeps it until it is answered. Only what is touched
of a buffer is resident: a write of 4 KiB takes two pages.
"""

from libc.stdint cimport uint8_t

from zramfs.atomic cimport peek_u64, poke_u64
from zramfs.memory cimport give_back_behind, map_memory, munmap
from zramfs.receive.protocol cimport DATA_BYTES
from zramfs.threads cimport pthread_mutex_destroy, pthread_mutex_init, pthread_mutex_lock, pthread_mutex_unlock

cdef enum:
    # What unused buffers may hold of memory while requests come, and on a mount that is idle: mapping and touching 1
    # MiB anew costs 0.1 ms, as much as copying it.
    MOST_UNUSED_BYTES = 32 << 20
    MOST_IDLE_BYTES = 2 << 20

assert sizeof(Buffer) <= HEAD_BYTES - MESSAGE_BYTES


cdef class BufferPool:
    """The buffers of a receiver; any thread gives them back. They are unmapped with the pool, those in use are not."""

    def __cinit__(self):
        pthread_mutex_init(&self.lock, NULL)

    def __dealloc__(self):
        self.shrink(0)
        pthread_mutex_destroy(&self.lock)

    cdef Buffer *take(self) noexcept nogil:
        """A buffer, the one that was given last if there is one. NULL: the system has no memory."""
        cdef Buffer *buffer
        pthread_mutex_lock(&self.lock)
        buffer = self.first
        if buffer != NULL:
            self.first = buffer.next
            poke_u64(&self.unused_bytes, self.unused_bytes - buffer.touched_bytes)
        pthread_mutex_unlock(&self.lock)
        return buffer if buffer != NULL else self.map_buffer()

    cdef Buffer *map_buffer(self) noexcept nogil:
        cdef Buffer *buffer = <Buffer *>map_memory(NULL, HEAD_BYTES + DATA_BYTES, 0)
        if buffer != NULL:
            pthread_mutex_lock(&self.lock)
            poke_u64(&self.buffers, self.buffers + 1)
            pthread_mutex_unlock(&self.lock)
        return buffer

    cdef void give(self, Buffer *buffer) noexcept nogil:
        """Take a buffer back; the memory of one too many goes back to the system."""
        cdef bint is_kept
        pthread_mutex_lock(&self.lock)
        is_kept = self.unused_bytes + buffer.touched_bytes <= MOST_UNUSED_BYTES
        if is_kept:
            buffer.next = self.first
            self.first = buffer
            poke_u64(&self.unused_bytes, self.unused_bytes + buffer.touched_bytes)
        else:
            poke_u64(&self.buffers, self.buffers - 1)
        pthread_mutex_unlock(&self.lock)
        if not is_kept:
            munmap(buffer, HEAD_BYTES + DATA_BYTES)

    cdef void trim(self) noexcept nogil:
        """Keep no more than an idle mount needs."""
        self.shrink(MOST_IDLE_BYTES)

    cdef void shrink(self, uint64_t most_bytes) noexcept nogil:
        cdef Buffer *buffer
        pthread_mutex_lock(&self.lock)
        while self.first != NULL and (self.unused_bytes > most_bytes or most_bytes == 0):
            buffer = self.first
            self.first = buffer.next
            poke_u64(&self.unused_bytes, self.unused_bytes - buffer.touched_bytes)
            poke_u64(&self.buffers, self.buffers - 1)
            munmap(buffer, HEAD_BYTES + DATA_BYTES)
        pthread_mutex_unlock(&self.lock)

    @property
    def mapped_buffers(self):
        """How many buffers there are, in use or not."""
        return peek_u64(&self.buffers)

    @property
    def unused_memory_bytes(self):
        """What unused buffers hold of memory, at the most."""
        return peek_u64(&self.unused_bytes)

    def __repr__(self):
        return f"<BufferPool of {self.mapped_buffers} buffers, {self.unused_memory_bytes} bytes unused>"


cdef void forget_tail(Buffer *buffer, uint64_t size_bytes) noexcept nogil:
    """Give back the memory of a buffer behind the data that it has."""
    buffer.touched_bytes = give_back_behind(<uint8_t *>data_of(buffer), size_bytes, buffer.touched_bytes)
