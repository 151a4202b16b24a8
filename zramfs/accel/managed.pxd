from libc.stdint cimport int64_t, uint32_t, uint64_t

from zramfs.accel.modelled cimport ModelledQueue
from zramfs.streams cimport Stream, StreamManager

cdef class ManagedStream(Stream):
    cdef ManagedStreams manager
    cdef uint32_t number
    cdef bint is_orphan                 # its device went away while it worked on the run
    cdef object callback

    cdef int complete(self) except -1
    cdef void repair(self) noexcept

cdef class ManagedStreams(StreamManager):
    cdef readonly ModelledQueue queue
    cdef readonly list streams
    cdef list free_streams
    cdef object waiters                 # whom to call when a stream is free, first come first served
    cdef bint is_calling_waiters
    cdef public bint takes_runs
    cdef readonly bint is_online
    cdef public bint waits_when_full
    cdef readonly int queue_full
    cdef readonly dict errors           # descriptors that failed, by status
    cdef readonly uint64_t software_redone
