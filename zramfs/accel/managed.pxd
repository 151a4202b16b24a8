from libc.stdint cimport int64_t, uint32_t, uint64_t

from zramfs.accel.modelled cimport ModelledQueue
from zramfs.accel.repair cimport SoftwareRepair
from zramfs.accel.waiters cimport StreamWaiters
from zramfs.streams cimport RunEnd, Stream, StreamManager

cdef class ManagedStream(Stream):
    cdef ManagedStreams manager
    cdef uint32_t number
    cdef bint is_polled                 # its run, and not yet counted
    cdef RunEnd end

    cdef void complete(self) noexcept nogil

cdef class ManagedStreams(StreamManager):
    cdef readonly ModelledQueue queue
    cdef readonly list streams
    cdef void **stream_of               # by number
    cdef uint32_t *free_streams         # numbers
    cdef uint32_t free_count
    cdef StreamWaiters waiters
    cdef SoftwareRepair repairs
    cdef int serves                     # whether completions are served
    cdef int online
    cdef uint64_t queue_full
    cdef int unended                    # runs in flight whose `end` has not returned

    cdef void set_online_now(self, bint online) noexcept nogil
