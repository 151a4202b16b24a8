from libc.stdint cimport uint8_t, uint32_t, uint64_t

from zramfs.block.bio cimport Bio
from zramfs.block.disk cimport Disk
from zramfs.page cimport PAGE_BYTES

cdef inline uint32_t head_bytes_of(const Bio *bio) noexcept nogil:
    """How much of a bio lies in a partial page at its head."""
    cdef uint32_t skip_bytes = bio.offset_bytes % PAGE_BYTES
    return <uint32_t>min(PAGE_BYTES - skip_bytes, bio.size_bytes) if skip_bytes else 0

cdef inline uint32_t tail_bytes_of(const Bio *bio) noexcept nogil:
    """How much of a bio lies in another partial page, at its tail."""
    return (bio.offset_bytes + bio.size_bytes) % PAGE_BYTES if head_bytes_of(bio) < bio.size_bytes else 0

cdef bint patch_head(Disk disk, Bio *bio) noexcept nogil
cdef bint patch_tail(Disk disk, Bio *bio, int channel) noexcept nogil
cdef bint patch_edge(
    Disk disk, Bio *bio, int channel, uint64_t page, uint32_t skip_bytes, const uint8_t *patch, uint32_t size_bytes,
    const uint8_t *contents, uint64_t block
) noexcept nogil
