from libc.stdint cimport int64_t, uint32_t, uint64_t

from zramfs.accel.descriptor cimport STATUSES
from zramfs.accel.modelled cimport ModelledQueue
from zramfs.accel.waiters cimport WaiterQueue
from zramfs.streams cimport RunEnd, Stream, StreamManager

cdef class ManagedStream(Stream):
    cdef ManagedStreams manager
    cdef uint32_t number
    cdef bint is_polled                 # its run, and not yet counted
    cdef RunEnd end

    cdef void complete(self) noexcept nogil
    cdef void repair(self) noexcept nogil

cdef class ManagedStreams(StreamManager):
    cdef readonly ModelledQueue queue
    cdef readonly list streams
    cdef void **stream_of               # by number
    cdef uint32_t *free_streams         # numbers
    cdef uint32_t free_count
    cdef WaiterQueue waiters
    cdef bint is_calling_waiters
    cdef int serves                     # whether completions are served
    cdef int online
    cdef int waits
    cdef uint64_t queue_full
    cdef int unended                    # runs in flight whose `end` has not returned
    cdef uint64_t errors[STATUSES]      # descriptors that failed, by status
    cdef uint64_t software_redone

    cdef void set_online_now(self, bint online) noexcept nogil
    cdef void call_waiters(self) noexcept nogil
    cdef int _free_for_waiters(self) noexcept nogil
    cdef void _forget_called(self) noexcept nogil
