# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""The end of a bio, on whichever thread finishes the last of it: its tail is patched, it is counted, and told of.

A bio that meets a page in the backing device is left to the event loop instead.
"""

from libc.errno cimport EIO
from libc.stdint cimport int64_t

from zramfs.atomic cimport add_i64
from zramfs.block.bio cimport ENDED, FOR_TRIO, READ, WRITE, has_failed
from zramfs.block.edges cimport patch_tail, tail_bytes_of
from zramfs.block.trace cimport TraceRecord
from zramfs.clock cimport monotonic_ns
from zramfs.page cimport PAGE_BYTES
from zramfs.threads cimport pthread_mutex_lock, pthread_mutex_unlock


cdef void end_parts(Disk disk, Bio *bio) noexcept nogil:
    """The last part of a bio's whole pages has ended, on whichever thread: patch its tail, and settle it."""
    cdef int channel = bio.channel
    if bio.operation == WRITE and tail_bytes_of(bio):
        pthread_mutex_lock(&disk.tail_lock)
        patch_tail(disk, bio, disk.layer.channel_count - 1)
        pthread_mutex_unlock(&disk.tail_lock)
    if settle(disk, bio) == FOR_TRIO and channel == 0:
        disk.layer.inbox.push(bio)


cdef int settle(Disk disk, Bio *bio) noexcept nogil:
    """End a bio of which nothing is in flight; or leave it to the event loop, if a page has to be fetched.

    The event loop begins with a read anew, and goes on with a write.
    """
    if not bio.is_elsewhere or has_failed(bio):
        finish(disk, bio)
        return ENDED
    bio.is_elsewhere = False
    bio.work_share = NULL
    bio.work_on = NULL
    if bio.operation == READ:
        bio.page = (bio.offset_bytes + PAGE_BYTES - 1) // PAGE_BYTES
    bio.parts = 1
    if bio.channel:
        disk.layer.inbox.push(bio)
    return FOR_TRIO


cdef void finish(Disk disk, Bio *bio) noexcept nogil:
    """Count a bio, and end it: from then on it is its submitter's, and the disk may be closed."""
    cdef int64_t now_ns = monotonic_ns()
    cdef int channel = bio.channel
    if has_failed(bio) and bio.error == 0:
        bio.error = EIO
    disk.counts.finish(bio, now_ns)
    if disk.tracer is None:
        disk.leave(channel)
        bio.end(bio)
    else:
        end_traced(disk, bio, now_ns)


cdef void end_traced(Disk disk, Bio *bio, int64_t now_ns) noexcept nogil:
    """End a bio, and keep its record: whoever asks what is in flight waits for that."""
    cdef int channel = bio.channel
    cdef TraceRecord record
    disk.tracer.describe(bio, now_ns, &record)
    add_i64(&disk.noting, 1)
    bio.end(bio)
    record.reply_ns = monotonic_ns()
    disk.tracer.note(&record)
    disk.leave(channel)
    add_i64(&disk.noting, -1)
