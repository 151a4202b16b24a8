# The kernel's FUSE protocol, as far as receivers read and write it (<linux/fuse.h>). Declarations only.

from libc.stdint cimport int32_t, int64_t, uint16_t, uint32_t, uint64_t

cdef enum:
    # The most data of a request, as INIT's answer says, whatever libfuse would take: the room that receivers have. 256
    # pages of 4 KiB.
    DATA_BYTES = 1 << 20

cdef extern from * nogil:
    """
    #include <errno.h>
    #include <fcntl.h>
    #include <sys/uio.h>
    #include <linux/fuse.h>
    #ifndef FUSE_INIT_EXT
    #define FUSE_INIT_EXT (1 << 30)
    #endif
    #ifndef FOPEN_PARALLEL_DIRECT_WRITES
    #define FOPEN_PARALLEL_DIRECT_WRITES (1 << 6)
    #endif
    #define zramfs_set_errno(number) (errno = (number))
    """
    struct iovec:
        void *iov_base
        size_t iov_len
    ssize_t writev(int fd, const iovec *iov, int count)
    int errno
    void set_errno "zramfs_set_errno"(int number)
    struct fuse_in_header:
        uint32_t len
        uint32_t opcode
        uint64_t unique
        uint64_t nodeid
        uint32_t pid
    struct fuse_out_header:
        uint32_t len
        int32_t error
        uint64_t unique
    struct fuse_init_out:
        uint32_t minor
        uint32_t flags
        uint16_t max_background
        uint16_t congestion_threshold
        uint32_t max_write
        uint16_t max_pages
        uint32_t flags2
    struct fuse_open_out:
        uint64_t fh
        uint32_t open_flags
    struct fuse_read_in:
        uint64_t fh
        uint64_t offset
        uint32_t size
    struct fuse_write_in:
        uint64_t fh
        uint64_t offset
        uint32_t size
        uint32_t write_flags
        uint32_t flags
    struct fuse_write_out:
        uint32_t size
    struct fuse_fallocate_in:
        uint64_t fh
        uint64_t offset
        uint64_t length
        uint32_t mode
    struct fuse_lseek_in:
        uint64_t fh
        uint64_t offset
        uint32_t whence
    struct fuse_lseek_out:
        uint64_t offset
    enum:
        FUSE_LOOKUP
        FUSE_FORGET
        FUSE_OPEN
        FUSE_READ
        FUSE_WRITE
        FUSE_INIT
        FUSE_INTERRUPT
        FUSE_BATCH_FORGET
        FUSE_FALLOCATE
        FUSE_LSEEK
        FUSE_WRITE_CACHE
        FUSE_AUTO_INVAL_DATA
        FUSE_ASYNC_DIO
        FUSE_INIT_EXT
        FOPEN_DIRECT_IO
        FOPEN_PARALLEL_DIRECT_WRITES
        O_DIRECT
        O_DSYNC
