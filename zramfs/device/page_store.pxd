from libc.stdint cimport uint64_t

from zramfs.bio cimport WriteBio
from zramfs.device.accounting cimport IoAccounting
from zramfs.device.slots cimport Codecs, ReadHelper, SlotTable
from zramfs.streams cimport Stream
from zramfs.zcomp.zcomp cimport Zcomp

cdef class PageStore:
    cdef readonly SlotTable slots
    cdef readonly Zcomp zcomp
    cdef readonly dict secondaries
    cdef readonly Codecs codecs
    cdef readonly IoAccounting accounting
    cdef ReadHelper read_helper
    cdef readonly object long_writes    # LongWrites
    cdef public object tracer

    cpdef bint read_into(self, uint64_t offset_bytes, object out) except -1
    cpdef bint write_nowait(self, WriteBio bio) except -1
    cpdef bint write_at_once(self, WriteBio bio) except -1
    cpdef int commit(self, uint64_t page, Stream stream) except -1
    cdef int _write(self, WriteBio bio, bint may_choose) except -1
    cdef int _write_pages(self, WriteBio bio, uint64_t pages, bint may_choose) except -1
