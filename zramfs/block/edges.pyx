# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""The partial pages of a write or punched range, one at each end at the most: read, patched, compressed and stored."""

from zramfs.block.bio cimport CODEC_FAILED, HEAD, NO_ROOM_LEFT, PAGE_IS_CORRUPT, TAIL, WRITE, fail, has_failed
from zramfs.block.slots cimport Codecs
from zramfs.block.store cimport IS_ELSEWHERE, KEPT, NOT_LOADED, NO_ROOM, patch_page
from zramfs.clock cimport boot_time
from zramfs.streams cimport Stream


cdef bint patch_head(Disk disk, Bio *bio) noexcept nogil:
    """Patch the partial page at its head, if that is left to patch; False if it is in the backing device, or fails."""
    cdef uint32_t skip_bytes = bio.offset_bytes % PAGE_BYTES
    cdef uint32_t head_bytes = head_bytes_of(bio)
    cdef const uint8_t *data = bio.data if bio.operation == WRITE else NULL
    if head_bytes == 0 or bio.edges_done & HEAD:
        return True
    if not patch_edge(disk, bio, bio.channel, bio.offset_bytes // PAGE_BYTES, skip_bytes, data, head_bytes, NULL, 0):
        return False
    bio.edges_done |= HEAD
    return True


cdef bint patch_tail(Disk disk, Bio *bio, int channel) noexcept nogil:
    """Likewise at its tail, on this channel; not after a failure."""
    cdef uint32_t tail_bytes = tail_bytes_of(bio)
    cdef uint64_t page = (bio.offset_bytes + bio.size_bytes) // PAGE_BYTES
    cdef const uint8_t *data = bio.data + (bio.size_bytes - tail_bytes) if bio.operation == WRITE else NULL
    if tail_bytes == 0 or bio.edges_done & TAIL or has_failed(bio):
        return True
    if not patch_edge(disk, bio, channel, page, 0, data, tail_bytes, NULL, 0):
        return False
    bio.edges_done |= TAIL
    return True


cdef bint patch_edge(
    Disk disk, Bio *bio, int channel, uint64_t page, uint32_t skip_bytes, const uint8_t *patch, uint32_t size_bytes,
    const uint8_t *contents, uint64_t block
) noexcept nogil:
    """Patch one page on the per-CPU stream of this CPU, whatever the policy; False if it is elsewhere, or fails."""
    cdef void *stream = disk.zcomp.lock_percpu()
    cdef int result = patch_page(
        disk.table, channel, page, skip_bytes, patch, size_bytes, <Codecs>disk.codecs[channel],
        <Stream>stream, boot_time(), contents, block
    )
    disk.zcomp.put_stream(stream)
    bio.pages_by_kind[0] += 1
    if result == IS_ELSEWHERE:
        bio.is_elsewhere = True
    elif result != KEPT:
        fail(bio, reason_of(result))
    return result == KEPT


cdef int reason_of(int stored) noexcept nogil:
    """Why a bio fails whose page was not kept."""
    if stored == NO_ROOM:
        return NO_ROOM_LEFT
    return PAGE_IS_CORRUPT if stored == NOT_LOADED else CODEC_FAILED
