# Requests on their way to pyfuse3, and its replies on their way back.

from libc.stdint cimport uint8_t, uint32_t, uint64_t

from zramfs.receive.handles cimport Handles
from zramfs.receive.protocol cimport fuse_in_header, iovec
from zramfs.threads cimport pthread_mutex_t

# Where a request came from, and its reply goes to. `reply` is called once for each request that was handed over and has
# a reply, on the event loop's thread; it returns what writev(2) does: the bytes taken, or -1 and errno. `iov[0]` is a
# whole fuse_out_header.
cdef struct Origin:
    ssize_t (*reply)(Origin *origin, uint64_t unique, const iovec *iov, int count) noexcept nogil

# A request between `hand_over` and its reply.
cdef struct HandedRequest:
    HandedRequest *next
    Origin *origin
    uint64_t unique
    uint32_t opcode
    uint64_t size_bytes
    uint8_t *message            # until pyfuse3 has read it

cdef enum:
    BUCKETS = 256

cdef class Handover:
    cdef readonly int fd                # an eventfd: a request waits to be read, or the session has ended
    cdef readonly Handles handles
    cdef pthread_mutex_t lock           # of what follows
    cdef HandedRequest *first           # those to be read
    cdef HandedRequest *last
    cdef HandedRequest *in_works[BUCKETS]   # those that are read and not answered, by `unique`
    cdef uint64_t handed_over           # requests so far; read without the lock
    cdef int end_error                  # errno of the end of the session; 0 before it; likewise
    # Set before the session begins; read without the lock.
    cdef public int dev_fd              # /dev/fuse, where notifications go
    cdef public int background          # requests that the kernel hands over in the background at a time
    cdef public bint direct_writes_are_parallel
    cdef public uint64_t init_flags     # to be set in INIT's answer beside libfuse's: FUSE_OVER_IO_URING
    cdef public object session_ended    # called on the event loop's thread
    cdef void (*initialised)(void *owner) noexcept nogil    # or NULL: called on that thread when INIT has been answered
    cdef void *initialised_owner

    # Copies `arguments`, all that follows the header, and `payload`, which follows that (uring has it elsewhere).
    # False: there is no memory, and nothing is done.
    cdef bint hand_over(
        self, Origin *origin, const fuse_in_header *header, const void *arguments, uint64_t argument_bytes,
        const void *payload, uint64_t payload_bytes
    ) noexcept nogil
    # The kernel has given the session up (ENODEV), or cannot be read from: what waits is read, and then this errno.
    cdef void end(self, int error) noexcept nogil

    cdef HandedRequest *pop(self) noexcept nogil
    cdef HandedRequest *take_answered(self, uint64_t unique) noexcept nogil
    cdef ssize_t send(self, const iovec *iov, int count) noexcept nogil
    cdef void complete_init(self, void *answer) noexcept nogil
    cdef void complete_open(self, void *answer) noexcept nogil

# libfuse's struct fuse_custom_io: `userdata` is the Handover.
cdef ssize_t read_handed_over(int fd, void *room, size_t room_bytes, void *userdata) noexcept
cdef ssize_t send_reply(int fd, iovec *iov, int count, void *userdata) noexcept nogil
