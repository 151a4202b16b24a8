from cpython.buffer cimport Py_buffer
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

from zramfs.block.bio cimport Bio
from zramfs.block.disk cimport Disk

cdef class TrioBio:
    cdef Bio *bio               # NULL when it is its submitter's again
    cdef Disk kept              # its disk

cdef class Request(TrioBio):
    cdef Bio own
    cdef int channel            # of the thread that submits it; who goes on with the bio is another's business
    cdef Py_buffer view         # of the data, from `submit` to the end
    cdef int64_t state          # a State: atomic
    cdef public object on_ended # called by `tell`, once
    cdef void *inbox            # where the event loop is told of the end, borrowed

    cdef bint await_end(self)

cdef class HandedOver(TrioBio):
    pass
