# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""Here requests that receivers do not answer go to pyfuse3, unparsed, and its replies go back the same way.

libfuse's custom I/O (`fuse_session_custom_io`) reads from here and writes to here, as if it were /dev/fuse. Two of the
answers that pass are completed with what libfuse and pyfuse3 leave out: INIT's, and those to opens of block files.
"""

import logging
import os

from libc.errno cimport EINTR
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy

from zramfs.atomic cimport peek_int, peek_u64, poke_int, poke_u64
from zramfs.events cimport EFD_CLOEXEC, EFD_NONBLOCK, eventfd, eventfd_read, eventfd_write
from zramfs.receive.handles cimport OpenDisk
from zramfs.receive.protocol cimport (
    DATA_BYTES,
    FOPEN_DIRECT_IO,
    FOPEN_PARALLEL_DIRECT_WRITES,
    FUSE_ASYNC_DIO,
    FUSE_AUTO_INVAL_DATA,
    FUSE_BATCH_FORGET,
    FUSE_FORGET,
    FUSE_INIT,
    FUSE_INIT_EXT,
    FUSE_OPEN,
    O_DIRECT,
    errno,
    fuse_init_out,
    fuse_open_out,
    fuse_out_header,
    set_errno,
    writev,
)
from zramfs.threads cimport pthread_mutex_destroy, pthread_mutex_init, pthread_mutex_lock, pthread_mutex_unlock

_log = logging.getLogger(__name__)


cdef class Handover:
    """A queue of requests for pyfuse3, and the table of those that it works on. Any thread may hand over.

    `fd` is what pyfuse3 waits for. OSError if the system gives no eventfd.
    """

    def __cinit__(self, *args, **kwargs):
        pthread_mutex_init(&self.lock, NULL)
        self.fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)
        if self.fd < 0:
            raise OSError("no eventfd for requests that are handed over")

    def __init__(self, Handles handles not None, *, int background, bint direct_writes_are_parallel, session_ended):
        self.handles = handles
        self.dev_fd = -1
        self.background = background
        self.direct_writes_are_parallel = direct_writes_are_parallel
        self.session_ended = session_ended

    def __dealloc__(self):
        cdef HandedRequest *handed
        for bucket in range(BUCKETS):
            while (handed := self.in_works[bucket]) != NULL:
                self.in_works[bucket] = handed.next
                free(handed)
        while (handed := self.first) != NULL:
            self.first = handed.next
            free(handed.message)
            free(handed)
        if self.fd >= 0:
            os.close(self.fd)
        pthread_mutex_destroy(&self.lock)

    @property
    def has_ended(self):
        """Whether the kernel has given the session up."""
        return peek_int(&self.end_error) != 0

    @property
    def count(self):
        """How many requests were handed over."""
        return peek_u64(&self.handed_over)

    # ---- to pyfuse3 -----------------------------------------------------------------------------------------------

    cdef bint hand_over(
        self, Origin *origin, const fuse_in_header *header, const void *arguments, uint64_t argument_bytes,
        const void *payload, uint64_t payload_bytes
    ) noexcept nogil:
        """Copy a request for pyfuse3; False if there is no memory for that."""
        cdef uint64_t header_bytes = sizeof(fuse_in_header)
        cdef HandedRequest *handed = <HandedRequest *>malloc(sizeof(HandedRequest))
        if handed == NULL:
            return False
        handed.next, handed.origin = NULL, origin
        handed.unique, handed.opcode = header.unique, header.opcode
        handed.size_bytes = header_bytes + argument_bytes + payload_bytes
        handed.message = <uint8_t *>malloc(handed.size_bytes)
        if handed.message == NULL:
            free(handed)
            return False
        memcpy(handed.message, header, header_bytes)
        memcpy(handed.message + header_bytes, arguments, argument_bytes)
        memcpy(handed.message + header_bytes + argument_bytes, payload, payload_bytes)
        pthread_mutex_lock(&self.lock)
        if self.first == NULL:
            self.first = handed
            eventfd_write(self.fd, 1)
        else:
            self.last.next = handed
        self.last = handed
        poke_u64(&self.handed_over, self.handed_over + 1)
        pthread_mutex_unlock(&self.lock)
        return True

    cdef void end(self, int error) noexcept nogil:
        """Let pyfuse3 read this errno when it has read what waits: ENODEV ends its session."""
        pthread_mutex_lock(&self.lock)
        if self.end_error == 0:
            poke_int(&self.end_error, error)
        eventfd_write(self.fd, 1)
        pthread_mutex_unlock(&self.lock)

    cdef HandedRequest *pop(self) noexcept nogil:
        """The first request that waits, which is in the works from now on; or NULL."""
        cdef HandedRequest *handed
        cdef HandedRequest **bucket
        cdef uint64_t ignored
        pthread_mutex_lock(&self.lock)
        handed = self.first
        if handed != NULL:
            self.first = handed.next
            if handed.opcode != FUSE_FORGET and handed.opcode != FUSE_BATCH_FORGET:  # which have no answer
                bucket = &self.in_works[handed.unique % BUCKETS]
                handed.next = bucket[0]
                bucket[0] = handed
        if self.first == NULL and self.end_error == 0:
            eventfd_read(self.fd, &ignored)
        pthread_mutex_unlock(&self.lock)
        return handed

    # ---- back -----------------------------------------------------------------------------------------------------

    cdef HandedRequest *take_answered(self, uint64_t unique) noexcept nogil:
        """The request in the works that a reply is for, which is the caller's now; NULL if there is none."""
        cdef HandedRequest **link = &self.in_works[unique % BUCKETS]
        cdef HandedRequest *handed
        pthread_mutex_lock(&self.lock)
        while link[0] != NULL and link[0].unique != unique:
            link = &link[0].next
        handed = link[0]
        if handed != NULL:
            link[0] = handed.next
        pthread_mutex_unlock(&self.lock)
        return handed

    cdef ssize_t send(self, const iovec *iov, int count) noexcept nogil:
        """Send what libfuse says: the reply to a request by the way that it came, notifications to /dev/fuse."""
        cdef const fuse_out_header *header = <const fuse_out_header *>iov[0].iov_base
        cdef HandedRequest *handed = self.take_answered(header.unique) if header.unique else NULL
        cdef ssize_t sent
        cdef int error
        if handed == NULL:
            return writev(self.dev_fd, iov, count)
        if handed.opcode == FUSE_INIT and header.error == 0 and count > 1:
            self.complete_init(iov[1].iov_base)
        elif handed.opcode == FUSE_OPEN and header.error == 0 and count > 1:
            self.complete_open(iov[1].iov_base)
        sent = handed.origin.reply(handed.origin, header.unique, iov, count)
        error = errno
        if handed.opcode == FUSE_INIT and sent >= 0 and self.initialised != NULL:
            self.initialised(self.initialised_owner)
        free(handed)
        set_errno(error)
        return sent

    cdef void complete_init(self, void *answer) noexcept nogil:
        """Ask for as many background requests as there are to be, and for room that receivers have.

        Only we change the block file, and say so: a size to be asked for before each read would be a second request.
        """
        cdef fuse_init_out *init = <fuse_init_out *>answer
        cdef uint64_t flags = self.init_flags | FUSE_ASYNC_DIO
        init.max_background = self.background
        init.congestion_threshold = self.background * 3 // 4
        init.max_write = min(init.max_write, <uint32_t>DATA_BYTES)
        init.max_pages = min(init.max_pages, <uint16_t>(DATA_BYTES // page_bytes))
        init.flags = (init.flags | <uint32_t>flags) & ~<uint32_t>FUSE_AUTO_INVAL_DATA
        if flags >> 32:
            init.flags |= <uint32_t>FUSE_INIT_EXT
            init.flags2 |= <uint32_t>(flags >> 32)

    cdef void complete_open(self, void *answer) noexcept nogil:
        """Let several direct writers of one block file go on beside each other."""
        cdef fuse_open_out *opened = <fuse_open_out *>answer
        cdef OpenDisk *entry = self.handles.find(opened.fh)
        if self.direct_writes_are_parallel and entry != NULL and entry.open_flags & O_DIRECT:
            opened.open_flags |= FOPEN_DIRECT_IO | FOPEN_PARALLEL_DIRECT_WRITES

    def __repr__(self):
        return f"<Handover of {self.count} requests{', ended' if self.has_ended else ''}>"


cdef uint32_t page_bytes = os.sysconf("SC_PAGE_SIZE")


cdef ssize_t read_handed_over(int fd, void *room, size_t room_bytes, void *userdata) noexcept:
    """Give libfuse the next request, on the event loop's thread, which has the GIL. EINTR: none is there yet."""
    cdef Handover handover = <Handover>userdata
    cdef HandedRequest *handed = handover.pop()
    cdef int end_error = peek_int(&handover.end_error)
    cdef ssize_t size_bytes
    if handed == NULL:
        if end_error:
            tell_end(handover)
        set_errno(end_error if end_error else EINTR)
        return -1
    size_bytes = handed.size_bytes
    memcpy(room, handed.message, min(<size_t>size_bytes, room_bytes))
    free(handed.message)
    handed.message = NULL
    if handed.opcode == FUSE_FORGET or handed.opcode == FUSE_BATCH_FORGET:
        free(handed)
    return size_bytes


cdef void tell_end(Handover handover) noexcept:
    """The kernel has given the session up: nobody waits for the requests that are still in the works."""
    ended, handover.session_ended = handover.session_ended, None
    try:
        if ended is not None:
            ended()
    except Exception:
        _log.exception("the end of the session was not noted")


cdef ssize_t send_reply(int fd, iovec *iov, int count, void *userdata) noexcept nogil:
    """Send what libfuse says, on whichever thread: that of notifications has no GIL."""
    return (<Handover>userdata).send(iov, count)
