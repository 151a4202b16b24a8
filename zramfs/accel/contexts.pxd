from libc.stdint cimport uint8_t

from zramfs.codec.run cimport PageCodec
from zramfs.threads cimport pthread_mutex_t

# A codec's scratch memory, for whoever holds its lock.
cdef struct Context:
    pthread_mutex_t lock
    void *codec

cdef class ContextPool:
    cdef readonly bint needs_gil        # the codec is Python
    cdef int count
    cdef tuple codecs
    cdef uint8_t *contexts              # a stride of CONTEXT_BYTES each

    cdef Context *get_locked(self) noexcept nogil
    cdef void put_unlocked(self, Context *context) noexcept nogil
    cdef Context *at(self, int number) noexcept nogil
