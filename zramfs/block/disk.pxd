from libc.stdint cimport int64_t, uint64_t

from zramfs.block.io_counts cimport IoCounts
from zramfs.block.layer cimport BlockLayer
from zramfs.block.slots cimport SlotTable
from zramfs.block.trace cimport Tracer
from zramfs.threads cimport pthread_mutex_t
from zramfs.zcomp.zcomp cimport Zcomp

cdef class Disk:
    cdef readonly str name
    cdef readonly BlockLayer layer
    cdef readonly IoCounts counts
    cdef readonly SlotTable table       # these three change only while the disk is closed, and nothing is in flight
    cdef readonly Zcomp zcomp
    cdef bint any_thread                # otherwise its bios are the event loop's: a codec, or the manager, is Python's
    cdef void **codecs                  # Codecs by channel, borrowed from:
    cdef list codecs_kept
    cdef pthread_mutex_t tail_lock      # of the last channel, which belongs to no thread
    cdef public Tracer tracer           # None: no trace; changes only while the disk is closed
    cdef int life                       # a Life: atomic
    cdef uint64_t size_now              # the disksize, 0 while it is closed: atomic
    cdef int64_t noting                 # bios that are answered, and whose record is yet to be kept: atomic

    cdef bint enter(self, int channel) noexcept nogil
    cdef void leave(self, int channel) noexcept nogil
    cdef int64_t find(self, uint64_t offset_bytes, bint data) noexcept nogil
