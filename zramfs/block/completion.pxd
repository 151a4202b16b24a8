from zramfs.block.bio cimport Bio
from zramfs.block.disk cimport Disk

cdef void end_parts(Disk disk, Bio *bio) noexcept nogil
cdef int settle(Disk disk, Bio *bio) noexcept nogil
cdef void finish(Disk disk, Bio *bio) noexcept nogil
