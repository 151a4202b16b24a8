# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""A disk without a mount, and a thread that submits bios of 4K to it, without the GIL. `block_layer` compiles it."""

from libc.stdint cimport int64_t, uint8_t, uint64_t
from libc.string cimport memset

from zramfs.block.bio cimport ENDED, READ, WRITE, Bio
from zramfs.block cimport submission
from zramfs.block.disk cimport Disk
from zramfs.clock cimport monotonic_ns
from zramfs.page cimport PAGE_BYTES

from zramfs.backends.lz4 import LZ4
from zramfs.block.layer import BlockLayer
from zramfs.block.slots import Codecs, SlotTable
from zramfs.contracts import StreamPolicy
from zramfs.zcomp.zcomp import Zcomp

cdef enum:
    BETWEEN_LOOKS = 64      # requests until the clock is read again
    STRIDE = 40503          # odd: it meets each of 2^n pages once, and no page's neighbour after it


def new_disk(int threads, uint64_t pages):
    """A disk on per-CPU streams with lz4, and a channel for each thread beside the event loop's."""
    layer = BlockLayer(receivers=threads)
    zcomp = Zcomp(LZ4, policy=StreamPolicy.PERCPU)
    codecs = [Codecs(LZ4.create_context(zcomp.params)) for _ in range(layer.channel_count)]
    disk = Disk("zram0", layer)
    disk.open(SlotTable(pages, channel_count=layer.channel_count), zcomp, codecs)
    return disk


cdef void note_end(Bio *bio) noexcept nogil:
    (<uint64_t *>bio.owner)[0] += 1


def submit(
    Disk disk not None, int channel, bint writes, uint8_t[::1] pages, uint64_t first_page, uint64_t page_count,
    int64_t begin_ns, int64_t end_ns, uint64_t most
):
    """Write `pages` in turn, or read into the first of them, on `page_count` (2^n) pages of the disk; how many it were.

    Begins and ends by the monotonic clock, or after `most` requests. Raises RuntimeError if a bio
    fails, or is not ended where it is submitted.
    """
    cdef uint64_t ended = 0, submitted = 0, data_pages = pages.shape[0] // PAGE_BYTES
    cdef Bio bio
    cdef int outcome = ENDED
    with nogil:
        while monotonic_ns() < begin_ns:
            pass
        while outcome == ENDED and submitted < most and (submitted % BETWEEN_LOOKS or monotonic_ns() < end_ns):
            memset(&bio, 0, sizeof(bio))
            bio.operation = WRITE if writes else READ
            bio.offset_bytes = (first_page + submitted * STRIDE % page_count) * PAGE_BYTES
            bio.size_bytes = PAGE_BYTES
            bio.data = &pages[submitted % data_pages * PAGE_BYTES if writes else 0]
            bio.channel = channel
            bio.owner = &ended
            bio.end = note_end
            outcome = submission.submit(disk, &bio)
            if bio.error:
                break
            submitted += 1
    if ended != submitted:
        raise RuntimeError(f"{submitted + 1} bios were submitted, {ended} ended; outcome {outcome}, error {bio.error}")
    return submitted
