# FUSE over io_uring: what <linux/fuse.h> has of it since Linux 6.14. And the ring itself, `io_ring.h`.

from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t

cdef extern from "io_ring.h" nogil:
    struct io_ring_sqe:
        uint8_t opcode
        int32_t fd
        uint32_t command
        uint64_t address
        uint32_t length
        uint32_t events
        uint64_t user_data
        uint8_t arguments[80]
    struct io_ring_cqe:
        uint64_t user_data
        int32_t result
        uint32_t flags
    struct io_ring:
        int fd
        uint32_t unsubmitted
    struct io_ring_time:
        int64_t seconds
        int64_t nanoseconds
    int io_ring_open(io_ring *ring, uint32_t submissions, uint32_t completions)
    void io_ring_close(io_ring *ring)
    int io_ring_end_with_thread(io_ring *ring, uint64_t user_data)
    io_ring_sqe *io_ring_next(io_ring *ring)
    int io_ring_enter(io_ring *ring, int wait, int64_t timeout_ns)
    const io_ring_cqe *io_ring_peek(const io_ring *ring)
    void io_ring_seen(io_ring *ring)
    enum:
        IO_RING_POLL_ADD
        IO_RING_TIMEOUT
        IO_RING_URING_CMD
        IO_RING_POLL_MULTISHOT
        IO_RING_MORE

cdef enum:
    REGISTER = 1            # give the kernel an entry for a request
    COMMIT_AND_FETCH = 2    # answer the request that is in it, and wait for the next

cdef extern from * nogil:
    """
    #define ZRAMFS_FUSE_OVER_IO_URING (1ULL << 41)
    """
    const uint64_t FUSE_OVER_IO_URING "ZRAMFS_FUSE_OVER_IO_URING"   # of INIT's flags

# struct fuse_uring_ent_in_out
cdef struct EntryInOut:
    uint64_t flags
    uint64_t commit_id
    uint32_t payload_bytes
    uint32_t padding
    uint64_t reserved

# struct fuse_uring_req_header: what an entry has beside its payload
cdef struct EntryHeader:
    uint8_t in_out[128]         # fuse_in_header; fuse_out_header
    uint8_t arguments[128]      # the first argument, which most operations have
    EntryInOut entry

# struct fuse_uring_cmd_req: in `arguments` of the submission
cdef struct EntryCommand:
    uint64_t flags
    uint64_t commit_id
    uint16_t queue
    uint8_t padding[6]
