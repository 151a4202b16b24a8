from libc.stdint cimport int64_t

from zramfs.block.bio cimport Bio
from zramfs.block.disk cimport Disk

cdef int submit(Disk disk, Bio *bio) noexcept nogil
cdef int resume(Disk disk, Bio *bio) noexcept nogil
cdef bint go_on(Disk disk, Bio *bio, int64_t ends_ns) noexcept nogil
