from zramfs.accel.ring cimport DescriptorRing
from zramfs.streams cimport Stream, StreamManager

cdef class ManagedStream(Stream):
    cdef ManagedStreams manager
    cdef int number
    cdef object callback

cdef class ManagedStreams(StreamManager):
    cdef readonly DescriptorRing ring
    cdef readonly list streams
    cdef list free_streams
    cdef public bint takes_runs
    cdef readonly int queue_full
