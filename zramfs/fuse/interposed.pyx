# cython: language_level=3
"""What pyfuse3 calls instead of libfuse's `fuse_session_new`: so the session is known, and its I/O can be taken over.

`companion` loads this module with RTLD_GLOBAL before pyfuse3, so that the dynamic linker finds the function here first.
It is the only one to import it. What pyfuse3 leaves out of its table of operations is completed on the way.
"""

import logging
import os

from libc.errno cimport EIO, ENXIO, EOPNOTSUPP
from libc.stdint cimport int64_t, uint64_t
from libc.string cimport memcpy, memset, strerror

from zramfs.receive.handover cimport Handover, read_handed_over, send_reply
from zramfs.receive.protocol cimport errno, iovec

cdef extern from "<sys/types.h>" nogil:
    ctypedef int64_t off_t

cdef extern from *:
    """
    #define FUSE_USE_VERSION 34
    #include <dlfcn.h>
    #include <fcntl.h>
    #include <unistd.h>
    #include <fuse3/fuse_lowlevel.h>
    """
    struct fuse_args:
        pass
    struct fuse_session:
        pass
    ctypedef struct fuse_req_struct "struct fuse_req":
        pass
    ctypedef fuse_req_struct *fuse_req_t
    ctypedef uint64_t fuse_ino_t
    struct fuse_file_info:
        uint64_t fh
    struct fuse_lowlevel_ops:
        void (*fallocate)(
            fuse_req_t req, fuse_ino_t ino, int mode, off_t offset, off_t length, fuse_file_info *fi) noexcept
        void (*lseek)(fuse_req_t req, fuse_ino_t ino, off_t off, int whence, fuse_file_info *fi) noexcept
    int fuse_version()
    int fuse_session_fd(fuse_session *session)
    int fuse_reply_err(fuse_req_t req, int err)
    int fuse_reply_lseek(fuse_req_t req, off_t off)
    void *dlsym(void *handle, const char *symbol)
    void *RTLD_DEFAULT
    void *RTLD_NEXT
    int fcntl(int fd, int command, ...)
    enum:
        F_DUPFD_CLOEXEC
        F_GETFL
        F_SETFL
        O_NONBLOCK

# libfuse's struct fuse_custom_io, as 3.13 to 3.16 have it.
cdef struct CustomIo:
    ssize_t (*writev)(int fd, iovec *iov, int count, void *userdata) noexcept nogil
    ssize_t (*read)(int fd, void *room, size_t room_bytes, void *userdata) noexcept
    void *splice_receive
    void *splice_send

ctypedef fuse_session *(*session_new_fn)(fuse_args *, const fuse_lowlevel_ops *, size_t, void *) noexcept
ctypedef int (*custom_io_fn)(fuse_session *, const CustomIo *, int) noexcept

_log = logging.getLogger(__name__)

# fuse_version() is 100 * major + minor from 3.10 on. 3.13 brought the custom I/O; 3.17 made both functions that are
# used here macros for functions of other names.
_OLDEST, _NEWEST = 313, 316

cdef fuse_session *session = NULL
cdef fuse_lowlevel_ops completed    # pyfuse3's table, with what is missing there
cdef Handover expected = None       # where the next session's requests come from
cdef object seek_file = None


def unsupported_reason():
    """Why this libfuse's session cannot be taken over; empty if it can."""
    cdef int version = fuse_version()
    if _OLDEST <= version <= _NEWEST:
        return ""
    return f"libfuse's version is {version}, and its custom I/O is known from 3.13 to 3.16"


def expect_session(Handover handover not None, seek):
    """Complete the session that pyfuse3 makes next, which will read from `handover`, and write to it.

    `seek(handle, offset, whence)` finds the next data or hole of a file that is no block file; None if there is none.
    """
    global expected, seek_file
    expected, seek_file = handover, seek


def take_over():
    """Give the session its I/O; the descriptor of /dev/fuse, which the caller uses from now on, and gives back.

    Its place in the session, which pyfuse3 has looked up already, goes to what `handover` has to wait for. The new
    number is larger than any that was given to the mount: `session._fusermount_told_last` depends on that.
    """
    cdef CustomIo io
    cdef int number = fuse_session_fd(session)
    cdef int failure
    cdef custom_io_fn set_custom_io = <custom_io_fn>dlsym(RTLD_DEFAULT, b"fuse_session_custom_io")
    dev_fd = fcntl(number, F_DUPFD_CLOEXEC, number + 1)
    if dev_fd < 0:
        raise OSError(errno, strerror(errno))
    fcntl(dev_fd, F_SETFL, fcntl(dev_fd, F_GETFL) | O_NONBLOCK)
    os.dup2(expected.fd, number, inheritable=False)
    expected.dev_fd = dev_fd
    memset(&io, 0, sizeof(io))
    io.read, io.writev = read_handed_over, send_reply
    failure = set_custom_io(session, &io, number)
    if failure:
        give_back()
        raise OSError(-failure, strerror(-failure))
    return dev_fd


def give_back():
    """Put /dev/fuse back where libfuse closes it, before the session is closed. Nobody uses it any more."""
    os.dup2(expected.dev_fd, fuse_session_fd(session), inheritable=False)
    os.close(expected.dev_fd)
    expected.dev_fd = -1


cdef public fuse_session *fuse_session_new(
    fuse_args *args, const fuse_lowlevel_ops *operations, size_t operations_bytes, void *userdata
) noexcept:
    """What pyfuse3 calls instead of libfuse's. Its own userdata is NULL."""
    global session
    cdef session_new_fn original = <session_new_fn>dlsym(RTLD_NEXT, b"fuse_session_new")
    if original == NULL:
        return NULL
    if expected is None:
        return original(args, operations, operations_bytes, userdata)
    memset(&completed, 0, sizeof(completed))
    memcpy(&completed, operations, min(operations_bytes, sizeof(completed)))
    completed.fallocate = refuse_fallocate
    completed.lseek = seek
    session = original(args, &completed, sizeof(completed), <void *>expected)
    return session


cdef void refuse_fallocate(
    fuse_req_t req, fuse_ino_t ino, int mode, off_t offset, off_t length, fuse_file_info *fi
) noexcept:
    """Answer for a file that is no block file. ENOSYS, libfuse's answer, would take it from block files as well."""
    fuse_reply_err(req, EOPNOTSUPP)


cdef void seek(fuse_req_t req, fuse_ino_t ino, off_t off, int whence, fuse_file_info *fi) noexcept:
    """Answer for a file that is no block file, on pyfuse3's thread, which has the GIL."""
    try:
        found = seek_file(fi.fh, off, whence)
    except Exception:
        _log.exception("lseek failed; the request is answered with EIO")
        fuse_reply_err(req, EIO)
        return
    if found is None:
        fuse_reply_err(req, ENXIO)
    else:
        fuse_reply_lseek(req, found)
