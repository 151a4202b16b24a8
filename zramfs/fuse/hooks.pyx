# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""The companion: adds to libfuse's low-level operations what pyfuse3 leaves out.

pyfuse3 calls `fuse_session_new` of libfuse with its table of operations. This module defines a function of that name;
loaded with RTLD_GLOBAL before pyfuse3 it is found first, completes a copy of the table and calls libfuse's own. The
same goes for `fuse_session_receive_buf`, so that it never blocks the event loop.
`companion` loads this module and is the only one to import it.

libfuse calls the functions below from pyfuse3's session loop, which holds the GIL.
"""

import logging

from libc.errno cimport EAGAIN, EINTR, EIO
from libc.stdint cimport int64_t, uint64_t
from libc.string cimport memcpy, memset

cdef extern from "<sys/types.h>" nogil:
    ctypedef int64_t off_t

cdef extern from *:
    """
    #define FUSE_USE_VERSION 34
    #include <dlfcn.h>
    #include <fcntl.h>
    #include <fuse3/fuse_lowlevel.h>
    """
    struct fuse_args:
        pass
    struct fuse_session:
        pass
    struct fuse_bufvec:
        pass
    struct fuse_buf:
        pass
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
        void (*write_buf)(fuse_req_t req, fuse_ino_t ino, fuse_bufvec *bufv, off_t off, fuse_file_info *fi) noexcept
        void (*fallocate)(
            fuse_req_t req, fuse_ino_t ino, int mode, off_t offset, off_t length, fuse_file_info *fi) noexcept
        void (*lseek)(fuse_req_t req, fuse_ino_t ino, off_t off, int whence, fuse_file_info *fi) noexcept
    int fuse_version()
    int fuse_session_fd(fuse_session *session)
    int fcntl(int fd, int command, ...)
    int fuse_reply_err(fuse_req_t req, int err)
    int fuse_reply_lseek(fuse_req_t req, off_t off)
    void *dlsym(void *handle, const char *symbol)
    void *RTLD_NEXT
    enum:
        O_DIRECT
        O_DSYNC
        O_NONBLOCK
        F_GETFL
        F_SETFL
        FUSE_CAP_AUTO_INVAL_DATA

ctypedef fuse_session *(*session_new_fn)(fuse_args *, const fuse_lowlevel_ops *, size_t, void *) noexcept
ctypedef int (*receive_buf_fn)(fuse_session *, fuse_buf *) noexcept

_log = logging.getLogger(__name__)

# fuse_version() is 10 * major + minor, or 100 * major + minor from 3.10 on. The table and fuse_file_info have the
# layout used here from 3.8 (lseek) to 3.16; 3.17 made fuse_session_new a macro for a function of another name.
_OLDEST = 38
_OLDEST_THREE_DIGITS = 310
_NEWEST = 316

cdef fuse_lowlevel_ops theirs        # pyfuse3's table
cdef fuse_lowlevel_ops completed     # ours: theirs and what is missing there
cdef int write_flags = 0             # of the write that is being handed to Python
cdef bint write_is_writeback = False
cdef receive_buf_fn receive_buf = NULL
cdef object on_fallocate = None
cdef object on_lseek = None
cdef int max_background = 0


def unsupported_reason():
    """Why this libfuse cannot be completed; empty if it can."""
    cdef int version = fuse_version()
    if _OLDEST <= version < 100 or _OLDEST_THREE_DIGITS <= version <= _NEWEST:
        return ""
    return f"libfuse's version is {version}, and its ABI is known from 3.8 to 3.16"


def complete_sessions(int background):
    """Complete the sessions made from now on. `background` requests are taken from the kernel at a time."""
    global max_background
    max_background = background


def connect(fallocate, lseek):
    """Say who answers; before the session's loop begins.

    `fallocate(reply, fh, mode, offset, length)` and `lseek(reply, fh, offset, whence)` answer through `reply`, at once
    or later.
    """
    global on_fallocate, on_lseek
    on_fallocate, on_lseek = fallocate, lseek


def write_is_async():
    """Whether nobody waits for the write that is being handled. Ask before the handler's first await.

    The table of asynchronous writes: synchronous ones (O_SYNC, O_DSYNC, RWF_DSYNC) are not, the page cache's
    writeback and direct ones are, others are not. The kernel's O_SYNC has O_DSYNC's bit.
    """
    if write_is_writeback:
        return True
    return bool(write_flags & O_DIRECT) and not write_flags & O_DSYNC


cdef class Reply:
    """The one answer to a request. A request that is forgotten is answered with EIO."""

    cdef fuse_req_t request

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
        if self.request != NULL:
            fuse_reply_err(self.request, EIO)


cdef Reply reply_to(fuse_req_t request):
    cdef Reply reply = Reply.__new__(Reply)
    reply.request = request
    return reply


cdef void hook_init(void *userdata, fuse_conn_info *conn) noexcept:
    conn.max_background = max_background
    conn.congestion_threshold = max_background * 3 // 4
    # Only we change the block file, and say so: a size to be asked for before each read would be a second request.
    conn.want &= ~<unsigned int>FUSE_CAP_AUTO_INVAL_DATA
    theirs.init(userdata, conn)


cdef void hook_write_buf(
    fuse_req_t req, fuse_ino_t ino, fuse_bufvec *bufv, off_t off, fuse_file_info *fi
) noexcept:
    global write_flags, write_is_writeback
    write_flags = fi.flags
    write_is_writeback = fi.writepage
    theirs.write_buf(req, ino, bufv, off, fi)


cdef void hook_fallocate(
    fuse_req_t req, fuse_ino_t ino, int mode, off_t offset, off_t length, fuse_file_info *fi
) noexcept:
    cdef Reply reply = reply_to(req)
    try:
        on_fallocate(reply, fi.fh, mode, offset, length)
    except Exception:
        _log.exception("fallocate failed; the request is answered with EIO")
        reply.error(EIO)


cdef void hook_lseek(fuse_req_t req, fuse_ino_t ino, off_t off, int whence, fuse_file_info *fi) noexcept:
    cdef Reply reply = reply_to(req)
    try:
        on_lseek(reply, fi.fh, off, whence)
    except Exception:
        _log.exception("lseek failed; the request is answered with EIO")
        reply.error(EIO)


cdef public fuse_session *fuse_session_new(
    fuse_args *args, const fuse_lowlevel_ops *operations, size_t operations_bytes, void *userdata
) noexcept:
    """What pyfuse3 calls instead of libfuse's."""
    cdef session_new_fn original = <session_new_fn>dlsym(RTLD_NEXT, b"fuse_session_new")
    if original == NULL:
        return NULL
    if not max_background:
        return original(args, operations, operations_bytes, userdata)  # not to be completed
    memset(&theirs, 0, sizeof(theirs))
    memcpy(&theirs, operations, min(operations_bytes, sizeof(theirs)))
    completed = theirs
    completed.init = hook_init
    completed.write_buf = hook_write_buf
    completed.fallocate = hook_fallocate
    completed.lseek = hook_lseek
    return original(args, &completed, sizeof(completed), userdata)


cdef public int fuse_session_receive_buf(fuse_session *session, fuse_buf *buffer) noexcept:
    """What pyfuse3 calls instead of libfuse's.

    A request that was waiting may be gone by the time it is read, because whoever sent it was killed. The read would
    then block the event loop until the next request; ours says EINTR, and pyfuse3 waits again.
    """
    global receive_buf
    cdef int fd = fuse_session_fd(session)
    cdef int result
    if receive_buf == NULL:
        receive_buf = <receive_buf_fn>dlsym(RTLD_NEXT, b"fuse_session_receive_buf")
        if receive_buf == NULL:
            return -EIO
        if max_background:
            fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK)
    result = receive_buf(session, buffer)
    return -EINTR if result == -EAGAIN else result
