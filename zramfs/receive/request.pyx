# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""What is the same on every transport: a request of a block file becomes a bio, and an ended bio becomes a reply."""

from libc.errno cimport EINVAL, ENXIO, EOPNOTSUPP
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.string cimport memset

from zramfs.atomic cimport load_pointer, peek_u64
from zramfs.block.bio cimport PUNCH, READ, WRITE
from zramfs.block.disk cimport Disk
from zramfs.block.submission cimport submit
from zramfs.receive.handles cimport OpenDisk
from zramfs.receive.protocol cimport (
    FUSE_FALLOCATE,
    FUSE_INTERRUPT,
    FUSE_LSEEK,
    FUSE_READ,
    FUSE_WRITE,
    FUSE_WRITE_CACHE,
    O_DIRECT,
    O_DSYNC,
    fuse_fallocate_in,
    fuse_lseek_in,
    fuse_read_in,
    fuse_write_in,
)

cdef enum:
    KEEP_SIZE = 1       # FALLOC_FL_KEEP_SIZE
    PUNCH_HOLE = 2      # FALLOC_FL_PUNCH_HOLE
    ZERO_RANGE = 16     # FALLOC_FL_ZERO_RANGE
    SEEK_DATA = 3
    SEEK_HOLE = 4


cdef Verdict read_request(
    Request *request, const fuse_in_header *header, const void *arguments, uint8_t *payload, Handles handles
) noexcept nogil:
    """Make a bio of a request, if it is one; see `request.pxd`.

    Nobody acts on an interrupt: whoever waits for a request has its answer as soon as it can be had.
    """
    cdef uint32_t opcode = header.opcode
    cdef OpenDisk *entry
    if opcode == FUSE_INTERRUPT:
        return IGNORE
    if opcode != FUSE_READ and opcode != FUSE_WRITE and opcode != FUSE_FALLOCATE and opcode != FUSE_LSEEK:
        return HAND_OVER
    entry = handles.find((<const fuse_read_in *>arguments).fh)  # the handle comes first in all four
    if entry == NULL:
        return HAND_OVER
    request.disk = load_pointer(&entry.disk)
    request.unique = header.unique
    request.opcode = opcode
    request.bio.error = 0
    request.bio.is_async = request.bio.is_urgent = False
    if opcode == FUSE_WRITE:
        return read_write(request, <const fuse_write_in *>arguments, payload)
    if opcode == FUSE_READ:
        return read_read(request, <const fuse_read_in *>arguments)
    if opcode == FUSE_FALLOCATE:
        return read_fallocate(request, <const fuse_fallocate_in *>arguments)
    return read_lseek(request, <const fuse_lseek_in *>arguments)


cdef inline Verdict read_write(Request *request, const fuse_write_in *arguments, uint8_t *payload) noexcept nogil:
    request.bio.operation = WRITE
    request.bio.offset_bytes = arguments.offset
    request.bio.size_bytes = arguments.size
    request.bio.data = payload
    request.bio.is_async = is_async(arguments)
    return SUBMIT


cdef inline bint is_async(const fuse_write_in *arguments) noexcept nogil:
    """Whether nobody waits for a write by itself: the table of asynchronous writes.

    The page cache's writeback is, and a direct write without O_SYNC, O_DSYNC or RWF_DSYNC is; others are not. The
    kernel's O_SYNC has O_DSYNC's bit.
    """
    return bool(arguments.write_flags & FUSE_WRITE_CACHE) or arguments.flags & (O_DIRECT | O_DSYNC) == O_DIRECT


cdef inline Verdict read_read(Request *request, const fuse_read_in *arguments) noexcept nogil:
    request.bio.operation = READ
    request.bio.offset_bytes = arguments.offset
    request.bio.size_bytes = arguments.size
    return SUBMIT


cdef Verdict read_fallocate(Request *request, const fuse_fallocate_in *arguments) noexcept nogil:
    """Punch a hole or zero a range; it ends before the disk does, unless the size stays (blkdev_fallocate)."""
    cdef uint64_t disksize = peek_u64(&(<Disk>request.disk).size_now)
    cdef uint32_t mode = arguments.mode
    if mode & ~<uint32_t>(KEEP_SIZE | PUNCH_HOLE | ZERO_RANGE):
        request.bio.error = EOPNOTSUPP
    elif arguments.offset >= disksize:
        request.bio.error = EINVAL
    elif arguments.length > disksize - arguments.offset and not mode & KEEP_SIZE:
        request.bio.error = EINVAL
    elif mode != PUNCH_HOLE | KEEP_SIZE and mode & ~<uint32_t>KEEP_SIZE != ZERO_RANGE:
        request.bio.error = EOPNOTSUPP
    if request.bio.error:
        return ANSWER
    request.bio.operation = PUNCH
    request.bio.offset_bytes = arguments.offset
    request.bio.size_bytes = min(arguments.length, disksize - arguments.offset)
    return SUBMIT


cdef Verdict read_lseek(Request *request, const fuse_lseek_in *arguments) noexcept nogil:
    """Find the next data or hole; the end counts as a hole."""
    if arguments.whence != SEEK_DATA and arguments.whence != SEEK_HOLE:
        request.bio.error = EINVAL
        return ANSWER
    request.found = (<Disk>request.disk).find(arguments.offset, arguments.whence == SEEK_DATA)
    if request.found < 0:
        request.bio.error = ENXIO
    return ANSWER


cdef int submit_request(Request *request) noexcept nogil:
    """Submit the bio; an Outcome."""
    return submit(<Disk>request.disk, &request.bio)


cdef void make_reply(const Request *request, Reply *reply) noexcept nogil:
    """Say what became of a request."""
    reply.header.unique = request.unique
    reply.header.error = -request.bio.error
    reply.argument_bytes = reply.data_bytes = 0
    if request.bio.error == 0:
        if request.opcode == FUSE_READ:
            reply.data_bytes = request.bio.size_bytes
        elif request.opcode == FUSE_WRITE:
            memset(&reply.argument, 0, sizeof(reply.argument.written))
            reply.argument.written.size = <uint32_t>request.bio.size_bytes
            reply.argument_bytes = sizeof(reply.argument.written)
        elif request.opcode == FUSE_LSEEK:
            reply.argument.found.offset = <uint64_t>request.found
            reply.argument_bytes = sizeof(reply.argument.found)
    reply.header.len = <uint32_t>(sizeof(reply.header) + reply.argument_bytes + reply.data_bytes)
