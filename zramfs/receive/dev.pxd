# The receiver of /dev/fuse.

from libc.stdint cimport int64_t, uint64_t

from zramfs.block.bio cimport Bio
from zramfs.block.layer cimport BlockLayer
from zramfs.receive.buffers cimport Buffer, BufferPool
from zramfs.receive.handles cimport Handles
from zramfs.receive.handover cimport Handover, Origin
from zramfs.request_memory cimport RequestMemory

# `origin` comes first: a reply finds its file descriptor by it.
cdef struct DevOrigin:
    Origin origin
    int fd

cdef class DevReceiver:
    cdef Handles handles
    cdef Handover handover
    cdef BlockLayer layer
    cdef RequestMemory memory
    cdef readonly BufferPool pool
    cdef readonly int channel
    cdef DevOrigin dev
    cdef int wake_fd
    cdef int64_t busy_poll_ns
    cdef Buffer *buffer             # for the next request; NULL: one is to be taken from the pool
    cdef bint pays                  # polling for the next request does
    cdef bint has_requests          # one came since the last sleep
    cdef int64_t spin_ends_ns       # 0: a request has just been answered
    cdef int64_t turn_ends_ns
    cdef bint was_out_of_memory
    cdef bint is_io_flusher
    cdef int is_stopping            # atomic, and so is all that follows
    cdef int wants_io_flusher
    cdef uint64_t requests_now
    cdef int64_t begun              # bios that end later, or on another thread
    cdef int64_t kept_writes        # the writes among them

    cdef void receive(self) noexcept nogil
    cdef bint make_room(self) noexcept nogil
    cdef void take(self, uint64_t size_bytes) noexcept nogil
    cdef void hand_over(self, uint64_t size_bytes) noexcept nogil
    cdef void submit(self) noexcept nogil
    cdef bint may_be_kept(self) noexcept nogil
    cdef void let_go(self, Buffer *buffer) noexcept nogil
    cdef bint leave(self) noexcept nogil
    cdef void finish(self, Buffer *buffer) noexcept nogil
    cdef void answer(self, Buffer *buffer) noexcept nogil
    cdef bint go_on_after(self, int error) noexcept nogil
    cdef void pass_time(self) noexcept nogil
    cdef void have_turn(self, int64_t now_ns) noexcept nogil
    cdef void sleep(self) noexcept nogil
    cdef void await_near_event(self) noexcept nogil
    cdef void follow_io_flusher(self) noexcept nogil
