from libc.stdint cimport uint64_t

from zramfs.accel.descriptor cimport STATUSES
from zramfs.accel.ring cimport DescriptorRing
from zramfs.codec.run cimport CompressedRun

cdef class SoftwareRepair:
    cdef DescriptorRing ring
    cdef uint64_t errors[STATUSES]      # descriptors that failed, by status; atomic, and so is `redone`
    cdef uint64_t redone

    cdef void repair(self, CompressedRun run) noexcept nogil
