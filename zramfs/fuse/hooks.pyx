# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""The companion: adds to libfuse's low-level operations what pyfuse3 leaves out.

pyfuse3 calls `fuse_session_new` of libfuse with its table of operations. This module defines a function of that name;
loaded with RTLD_GLOBAL before pyfuse3 it is found first, completes a copy of the table and calls libfuse's own. The
same goes for `fuse_session_receive_buf`, so that it never blocks the event loop, and answers reads and writes that
need no waiting one after the other, without a coroutine and a turn of the event loop for each.
`companion` loads this module and is the only one to import it.

libfuse calls the functions below from pyfuse3's session loop, which holds the GIL.
"""

import logging

from cpython.buffer cimport PyBUF_READ, PyBUF_WRITE, Py_buffer, PyBuffer_FillInfo
from cpython.bytes cimport PyBytes_FromStringAndSize
from cpython.memoryview cimport PyMemoryView_FromMemory
from libc.errno cimport EAGAIN, EINTR, EIO, ENOMEM
from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc, realloc
from libc.string cimport memcpy, memset

from zramfs.clock cimport NEVER_NS, monotonic_ns
from zramfs.device.page_store cimport PageStore
from zramfs.device.page_write cimport can_write_later
from zramfs.fuse.block_io cimport BlockIo
from zramfs.fuse.spin cimport events_within
from zramfs.request_memory cimport RequestMemory

from zramfs.device.page_write import write_later

cdef extern from "<malloc.h>" nogil:
    size_t malloc_usable_size(void *memory)

cdef extern from "<unistd.h>" nogil:
    int usleep(unsigned int us)

cdef extern from "<sys/types.h>" nogil:
    ctypedef int64_t off_t

cdef extern from *:
    """
    #define FUSE_USE_VERSION 34
    #include <dlfcn.h>
    #include <fcntl.h>
    #include <fuse3/fuse_lowlevel.h>
    #include <linux/fuse.h>
    """
    struct fuse_in_header:
        uint32_t opcode
    struct fuse_open_out:
        uint64_t fh
        uint32_t open_flags
    struct fuse_args:
        pass
    struct fuse_session:
        pass
    struct fuse_buf:
        size_t size
        int flags
        void *mem
    struct fuse_bufvec:
        size_t count
        size_t idx
        size_t off
        fuse_buf *buf
    ctypedef struct fuse_req_struct "struct fuse_req":
        pass
    ctypedef fuse_req_struct *fuse_req_t
    ctypedef uint64_t fuse_ino_t
    struct fuse_file_info:
        int flags
        unsigned int writepage
        unsigned int direct_io
        uint64_t fh
    struct fuse_conn_info:
        unsigned int max_background
        unsigned int congestion_threshold
        unsigned int capable
        unsigned int want
    struct fuse_lowlevel_ops:
        void (*init)(void *userdata, fuse_conn_info *conn) noexcept
        void (*read)(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, fuse_file_info *fi) noexcept
        void (*write_buf)(fuse_req_t req, fuse_ino_t ino, fuse_bufvec *bufv, off_t off, fuse_file_info *fi) noexcept
        void (*fallocate)(
            fuse_req_t req, fuse_ino_t ino, int mode, off_t offset, off_t length, fuse_file_info *fi) noexcept
        void (*lseek)(fuse_req_t req, fuse_ino_t ino, off_t off, int whence, fuse_file_info *fi) noexcept
    int fuse_version()
    int fuse_session_fd(fuse_session *session)
    int fcntl(int fd, int command, ...)
    void fuse_session_process_buf(fuse_session *session, const fuse_buf *buffer)
    int fuse_reply_err(fuse_req_t req, int err)
    int fuse_reply_buf(fuse_req_t req, const char *data, size_t size)
    int fuse_reply_write(fuse_req_t req, size_t count)
    void fuse_reply_none(fuse_req_t req)
    int fuse_reply_lseek(fuse_req_t req, off_t off)
    void *dlsym(void *handle, const char *symbol)
    void *RTLD_NEXT
    enum:
        FOPEN_DIRECT_IO
        FOPEN_PARALLEL_DIRECT_WRITES
        O_DIRECT
        O_DSYNC
        O_NONBLOCK
        F_GETFL
        F_SETFL
        FUSE_CAP_AUTO_INVAL_DATA
        FUSE_BUF_IS_FD
        FUSE_READ
        FUSE_WRITE

ctypedef fuse_session *(*session_new_fn)(fuse_args *, const fuse_lowlevel_ops *, size_t, void *) noexcept
ctypedef int (*reply_open_fn)(fuse_req_t, const fuse_file_info *) noexcept
ctypedef int (*receive_buf_fn)(fuse_session *, fuse_buf *) noexcept

cdef enum:
    SOON_NS = 100000    # a completion so near is awaited by polling: the event loop takes about as long to wake up
    LOOK_NS = 2000      # one so near is awaited before the next request is looked for: that takes about as long
    NO_ROOM_US = 1000   # until memory for the next request is looked for again
    PLACES_FOR_READS = 16  # of the background requests, which writes that wait for a stream must not all be
    COPIED_BYTES = 1 << 17  # data of up to so many bytes is copied, not kept: the request's memory has room for 1 MiB

_log = logging.getLogger(__name__)

# fuse_version() is 10 * major + minor, or 100 * major + minor from 3.10 on. The table and fuse_file_info have the
# layout used here from 3.8 (lseek) to 3.16; 3.17 made fuse_session_new a macro for a function of another name.
_OLDEST = 38
_OLDEST_THREE_DIGITS = 310
_NEWEST = 316

cdef fuse_lowlevel_ops theirs        # pyfuse3's table
cdef fuse_lowlevel_ops completed     # ours: theirs and what is missing there
cdef receive_buf_fn receive_buf = NULL
cdef object server = None            # who answers
cdef dict open_files = None          # its files, by handle
cdef RequestMemory request_memory = None  # what requests hold that are answered later
cdef fuse_session *session = NULL
cdef fuse_buf pending                # a request that pyfuse3 has yet to receive
cdef int pending_result = 0          # its size; or 0, or a negative errno: what libfuse said instead of a request
cdef bint is_pending = False
cdef int max_background = 0
cdef int later_writes = 0            # writes that are answered later: background requests, most of them
cdef bint parallel_direct_writes = False
cdef object waiting_write = None     # the one that pyfuse3 is handing to Python, for `take_write`
cdef bint must_not_wait = False      # whether the request in the works is answered before pyfuse3 knows of it
cdef bint has_to_wait = False        # whether it could not be answered so
cdef PageStore busy_store = None     # where the last write that is answered later went
cdef int64_t next_event_ns = NEVER_NS # when its device wants attention
cdef size_t room_bytes = 0           # what libfuse allocates for a request, once that is known
cdef bint was_out_of_memory = False  # that has happened
cdef char *reply_room = NULL         # what is read, until libfuse has copied it; grows to the largest request
cdef size_t reply_room_bytes = 0


def unsupported_reason():
    """Why this libfuse cannot be completed; empty if it can."""
    cdef int version = fuse_version()
    if _OLDEST <= version < 100 or _OLDEST_THREE_DIGITS <= version <= _NEWEST:
        return ""
    return f"libfuse's version is {version}, and its ABI is known from 3.8 to 3.16"


def complete_sessions(int background, bint direct_writes_are_parallel):
    """Complete the session that is made next. `background` requests are taken from the kernel at a time.

    `direct_writes_are_parallel`: several writers of one block file, opened with O_DIRECT, need not wait for each other.
    """
    global max_background, parallel_direct_writes
    max_background, parallel_direct_writes = background, direct_writes_are_parallel


def connect(answers):
    """Say who answers; before the session's loop begins.

    `answers.open_files` are asked for reads and writes, by handle; what memory they are given is theirs until they
    return. `answers.request_memory` limits what is kept of writes that are answered later, and `answers.errno_of(error, request)` translates what they raise. `answers.fallocate(reply, file, mode,
    offset, length)` and `answers.lseek(reply, file, offset, whence)` answer through `reply`, at once or later.
    `answers.session_ended()` is called when the kernel has given the session up.
    """
    global server, open_files, request_memory
    cdef int fd = fuse_session_fd(session)
    server = answers
    open_files = answers.open_files
    request_memory = answers.request_memory
    fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK)


def answer_some(int64_t ends_ns, int64_t spin_ns):
    """Answer reads and writes that need no waiting, one after the other, until `ends_ns` on the monotonic clock.

    True: a request waits for pyfuse3 to receive it. False: no request has come, for `spin_ns`, which are spent polling.
    None: the time is over, and there may be more. At least one request is received, if there is one. Writes that were
    begun are answered as soon as their device says so, if that is near.
    """
    global is_pending, pending_result, must_not_wait, next_event_ns
    cdef int fd = fuse_session_fd(session)
    next_event_ns = NEVER_NS if busy_store is None else busy_store.zcomp.next_event_ns()
    while not is_pending:
        if next_event_ns - monotonic_ns() < LOOK_NS:
            spin_until(next_event_ns)
            attend_device()
        if pending.mem == NULL and not make_room():
            usleep(NO_ROOM_US)
            return None
        pending_result = receive_buf(session, &pending)
        if pending_result == -EAGAIN:
            if not events_within(fd, spin_ns if next_event_ns == NEVER_NS else time_until_event_ns()):
                if next_event_ns - monotonic_ns() > 0:
                    return False
                attend_device()
                if monotonic_ns() > ends_ns:
                    return None
        elif pending_result == -EINTR:
            return None
        elif pending_result <= 0 or not is_read_or_write(&pending):
            is_pending = True
        else:
            must_not_wait = True
            fuse_session_process_buf(session, &pending)
            must_not_wait = False
            is_pending = has_to_wait
            if monotonic_ns() > ends_ns and not is_pending:
                return None
    return True


cdef bint make_room() noexcept:
    """Whether there is memory for the next request. Without it that one waits in the kernel.

    libfuse would have the daemon end, and everybody's data with it.
    """
    global was_out_of_memory
    if not room_bytes:
        return True  # libfuse's first
    pending.mem = malloc(room_bytes)
    if pending.mem == NULL and not was_out_of_memory:
        was_out_of_memory = True
        _log.warning("no memory for the next request; it waits, and so will others, without a word")
    return pending.mem != NULL


cdef void spin_until(int64_t end_ns) noexcept:
    while monotonic_ns() < end_ns:
        pass


cdef int64_t time_until_event_ns() noexcept:
    """How long to poll for requests until the device wants attention; 0 if that is too far away to wait for."""
    cdef int64_t left_ns = next_event_ns - monotonic_ns()
    return left_ns if 0 < left_ns < SOON_NS else 0


cdef int attend_device() except -1:
    """Answer the writes that their device has done."""
    global next_event_ns
    busy_store.zcomp.poll_completions()
    next_event_ns = busy_store.zcomp.next_event_ns()
    return 0


def take_write():
    """Data and kind (is_async) of the write that pyfuse3 hands over without them; None if this one has its data.

    Ask before the handler's first await. The data may be used until the handler ends.
    """
    global waiting_write
    taken, waiting_write = waiting_write, None
    return taken


cdef inline object is_async(fuse_file_info *fi):
    """Whether nobody waits for a write by itself: the table of asynchronous writes.

    Synchronous ones (O_SYNC, O_DSYNC, RWF_DSYNC) are not, the page cache's writeback and direct ones are, others are
    not. The kernel's O_SYNC has O_DSYNC's bit.
    """
    return bool(fi.writepage or fi.flags & (O_DIRECT | O_DSYNC) == O_DIRECT)


cdef class Reply:
    """The one answer to a request. A request that is forgotten is answered with EIO."""

    cdef fuse_req_t request
    cdef size_t size_bytes      # of a write
    cdef size_t held_bytes      # what is kept of it

    def error(self, int error_number):
        """Answer with an errno; 0 for success."""
        if self.request != NULL:
            fuse_reply_err(self.request, error_number)
            self.request = NULL

    def offset(self, int64_t offset_bytes):
        """Answer an lseek."""
        if self.request != NULL:
            fuse_reply_lseek(self.request, offset_bytes)
            self.request = NULL

    def __dealloc__(self):
        self.let_go()
        if self.request != NULL:
            fuse_reply_err(self.request, EIO)

    cdef void let_go(self) noexcept:
        global later_writes
        if self.held_bytes:
            request_memory.let_go(self.held_bytes)
            self.held_bytes = 0
            later_writes -= 1

    def __call__(self, failure):
        """Answer a write that was begun, with its outcome."""
        self.let_go()
        if self.request == NULL:
            return
        if failure is None:
            fuse_reply_write(self.request, self.size_bytes)
            self.request = NULL
        else:
            self.error(errno_of(failure, "write"))


cdef Reply reply_to(fuse_req_t request):
    cdef Reply reply = Reply.__new__(Reply)
    reply.request = request
    return reply


cdef class KeptData:
    """The data of a write that is answered later, where it was received."""

    cdef void *request
    cdef void *data
    cdef Py_ssize_t size_bytes

    def __getbuffer__(self, Py_buffer *view, int flags):
        PyBuffer_FillInfo(view, self, self.data, self.size_bytes, True, flags)

    def __dealloc__(self):
        free(self.request)


cdef inline bint is_copied(fuse_buf *buffer) noexcept:
    """Whether data is copied to be kept, or the memory is kept in which it was received."""
    return buffer.size <= COPIED_BYTES or not must_not_wait


cdef inline size_t held_bytes(fuse_buf *buffer) noexcept:
    """What keeping the data takes."""
    return buffer.size if is_copied(buffer) else malloc_usable_size(pending.mem)


cdef object data_to_keep(fuse_buf *buffer):
    """What was received in `pending`, for longer than this call. `buffer` is libfuse's description of it."""
    global room_bytes
    cdef KeptData kept
    if is_copied(buffer):
        return PyBytes_FromStringAndSize(<char *>buffer.mem, buffer.size)
    kept = KeptData.__new__(KeptData)
    kept.request, kept.data, kept.size_bytes = pending.mem, buffer.mem, buffer.size
    room_bytes = malloc_usable_size(pending.mem)
    pending.mem = NULL  # the next request needs another: `make_room`
    return memoryview(kept)


cdef void hook_init(void *userdata, fuse_conn_info *conn) noexcept:
    conn.max_background = max_background
    conn.congestion_threshold = max_background * 3 // 4
    # Only we change the block file, and say so: a size to be asked for before each read would be a second request.
    conn.want &= ~<unsigned int>FUSE_CAP_AUTO_INVAL_DATA
    theirs.init(userdata, conn)


cdef void hook_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, fuse_file_info *fi) noexcept:
    """Answer a read at once if that can be; else let pyfuse3 call its handler."""
    global has_to_wait, reply_room, reply_room_bytes
    cdef void *larger
    cdef int64_t result = -1
    if size > reply_room_bytes:
        larger = realloc(reply_room, size)
        if larger == NULL:
            fuse_reply_err(req, ENOMEM)
            return
        reply_room, reply_room_bytes = <char *>larger, size
    try:
        if not has_to_wait:
            out = PyMemoryView_FromMemory(reply_room, size, PyBUF_WRITE)
            file = open_files[fi.fh]
            result = (<BlockIo>file).read_into(off, out) if isinstance(file, BlockIo) else file.read_into(off, out)
    except Exception as error:
        fuse_reply_err(req, errno_of(error, "read"))
        return
    if result >= 0:
        fuse_reply_buf(req, reply_room, result)
    elif must_not_wait:
        has_to_wait = True
        fuse_reply_none(req)
    else:
        has_to_wait = False
        theirs.read(req, ino, size, off, fi)


cdef void hook_write_buf(
    fuse_req_t req, fuse_ino_t ino, fuse_bufvec *bufv, off_t off, fuse_file_info *fi
) noexcept:
    """Answer a write at once if that can be, or later, if nobody waits for it; else let pyfuse3 call its handler.

    That one finds the data in `waiting_write`, where it was received: pyfuse3 would copy it, for 0.1 ms a MiB.
    """
    global has_to_wait, waiting_write
    cdef fuse_bufvec nothing
    cdef int64_t result = -1
    waiting_write = None
    if bufv.count != 1 or bufv.idx or bufv.off or bufv.buf[0].flags & FUSE_BUF_IS_FD:
        theirs.write_buf(req, ino, bufv, off, fi)
        return
    try:
        data = PyMemoryView_FromMemory(<char *>bufv.buf[0].mem, bufv.buf[0].size, PyBUF_READ)
        if not has_to_wait:
            file = open_files[fi.fh]
            if isinstance(file, BlockIo):
                result = (<BlockIo>file).write_nowait(off, data, is_async(fi))
                if result < 0 and is_async(fi) and can_write_later(off, bufv.buf[0].size):
                    if may_be_kept(<BlockIo>file, &bufv.buf[0]):
                        answer_later(req, <BlockIo>file, off, &bufv.buf[0])
                        return
                    result = (<BlockIo>file).write_at_once(off, data, True)
            else:
                result = file.write_nowait(off, data, is_async(fi))
    except Exception as error:
        fuse_reply_err(req, errno_of(error, "write"))
        return
    if result >= 0:
        fuse_reply_write(req, result)
    elif must_not_wait:
        has_to_wait = True
        fuse_reply_none(req)
    else:
        has_to_wait = False
        waiting_write = data, is_async(fi)
        nothing = bufv[0]
        nothing.buf[0].size = 0
        theirs.write_buf(req, ino, &nothing, off, fi)


cdef bint may_be_kept(BlockIo file, fuse_buf *buffer) except -1:
    """Whether a write may be answered later: there is memory for its data, and room for reads beside it."""
    cdef PageStore store = file.device.store
    if not request_memory.has_room(held_bytes(buffer)):
        return False
    return later_writes < max_background - PLACES_FOR_READS or not store.zcomp.may_stall()


cdef int answer_later(fuse_req_t req, BlockIo file, off_t off, fuse_buf *buffer) except -1:
    """Begin an asynchronous write; its device will say when it can be answered. The data is copied or kept."""
    global busy_store, next_event_ns, later_writes
    cdef PageStore store = file.device.store
    cdef Reply reply
    cdef size_t held = held_bytes(buffer)
    bio = file.bio(off, data_to_keep(buffer), True)
    reply = reply_to(req)
    reply.size_bytes = len(bio.data)
    reply.held_bytes = held
    request_memory.hold(held)
    later_writes += 1
    try:
        write_later(store, bio, reply)
    except Exception as error:
        reply(error)  # here: our caller would answer the request once more
    busy_store, next_event_ns = store, store.zcomp.next_event_ns()
    return 0


cdef int errno_of(error, request) noexcept:
    try:
        return server.errno_of(error, request)
    except Exception:
        _log.exception("%s failed, and so did its error; the request is answered with EIO", request)
        return EIO


cdef void hook_fallocate(
    fuse_req_t req, fuse_ino_t ino, int mode, off_t offset, off_t length, fuse_file_info *fi
) noexcept:
    cdef Reply reply = reply_to(req)
    try:
        server.fallocate(reply, open_files[fi.fh], mode, offset, length)
    except Exception:
        _log.exception("fallocate failed; the request is answered with EIO")
        reply.error(EIO)


cdef void hook_lseek(fuse_req_t req, fuse_ino_t ino, off_t off, int whence, fuse_file_info *fi) noexcept:
    cdef Reply reply = reply_to(req)
    try:
        server.lseek(reply, open_files[fi.fh], off, whence)
    except Exception:
        _log.exception("lseek failed; the request is answered with EIO")
        reply.error(EIO)


cdef public fuse_session *fuse_session_new(
    fuse_args *args, const fuse_lowlevel_ops *operations, size_t operations_bytes, void *userdata
) noexcept:
    """What pyfuse3 calls instead of libfuse's."""
    global receive_buf, session
    cdef session_new_fn original = <session_new_fn>dlsym(RTLD_NEXT, b"fuse_session_new")
    receive_buf = <receive_buf_fn>dlsym(RTLD_NEXT, b"fuse_session_receive_buf")
    if original == NULL or receive_buf == NULL:
        return NULL
    if not max_background:
        return original(args, operations, operations_bytes, userdata)  # not to be completed
    memset(&theirs, 0, sizeof(theirs))
    memcpy(&theirs, operations, min(operations_bytes, sizeof(theirs)))
    completed = theirs
    completed.init = hook_init
    completed.read = hook_read
    completed.write_buf = hook_write_buf
    completed.fallocate = hook_fallocate
    completed.lseek = hook_lseek
    session = original(args, &completed, sizeof(completed), userdata)
    return session


cdef public int fuse_reply_open(fuse_req_t req, const fuse_file_info *fi) noexcept:
    """What pyfuse3 calls instead of libfuse's, which does not know FOPEN_PARALLEL_DIRECT_WRITES."""
    cdef reply_open_fn original = <reply_open_fn>dlsym(RTLD_NEXT, b"fuse_reply_open")
    cdef fuse_open_out out
    if not (parallel_direct_writes and fi.flags & O_DIRECT and isinstance(open_files.get(fi.fh), BlockIo)):
        return original(req, fi)
    memset(&out, 0, sizeof(out))
    out.fh = fi.fh
    out.open_flags = FOPEN_DIRECT_IO | FOPEN_PARALLEL_DIRECT_WRITES
    return fuse_reply_buf(req, <const char *>&out, sizeof(out))


cdef public int fuse_session_receive_buf(fuse_session *received, fuse_buf *buffer) noexcept:
    """What pyfuse3 calls instead of libfuse's: hands over the request that is pending, or looks for another.

    A request that was waiting may be gone by the time it is read, because whoever sent it was killed. The read would
    then block the event loop until the next request; ours says EINTR, and pyfuse3 waits again.
    """
    global is_pending, pending
    cdef fuse_buf empty
    cdef int result
    if is_pending:
        is_pending = False
        empty = buffer[0]
        buffer[0] = pending
        pending = empty
        result = pending_result
    else:
        result = receive_buf(received, buffer)
    if result == 0:
        tell_end()
    return -EINTR if result == -EAGAIN else result


cdef void tell_end() noexcept:
    """The kernel has given the session up: nobody waits for the requests that are still in the works."""
    try:
        server.session_ended()
    except Exception:
        _log.exception("the end of the session was not noted")


cdef inline bint is_read_or_write(fuse_buf *buffer) noexcept:
    if buffer.flags & FUSE_BUF_IS_FD:
        return False
    cdef uint32_t opcode = (<fuse_in_header *>buffer.mem).opcode
    return opcode == FUSE_READ or opcode == FUSE_WRITE
