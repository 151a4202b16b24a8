# What the receivers of both transports have in common: the thread's life, and its turns of work that is not a
# request's.
#
# `handles`, `handover`, `layer`, `memory` and `kept` are shared with others; the rest of the first part belongs to the
# receiver's thread.

cimport cython
from libc.errno cimport EINVAL
from libc.stdint cimport int64_t, uint8_t, uint64_t

from zramfs.block.bio cimport READ, Bio
from zramfs.block.layer cimport BlockLayer
from zramfs.receive.handles cimport Handles
from zramfs.receive.handover cimport Handover, Origin
from zramfs.receive.protocol cimport DATA_BYTES, fuse_in_header
from zramfs.request_memory cimport RequestMemory

cdef enum:
    NO_MEMORY_US = 1000     # until memory is looked for again
    # How long requests may follow each other before large bios and accelerators have a slice in any case. Longer than a
    # slice: requests should be taken faster than large ones are worked off, or those that come wait behind them.
    TURN_NS = 500000

cdef class KeptWrites:
    cdef int64_t writes             # atomic

cdef class Receiver:
    cdef Handles handles
    cdef Handover handover
    cdef BlockLayer layer
    cdef RequestMemory memory
    cdef KeptWrites kept
    cdef readonly int channel
    cdef int wake_fd
    cdef int64_t spin_ends_ns       # 0: a request has just been answered
    cdef int64_t turn_ends_ns
    cdef bint is_io_flusher
    cdef int is_stopping            # atomic, and so is all that follows
    cdef int wants_io_flusher
    cdef uint64_t requests_now
    cdef int64_t begun              # bios that end later, or on another thread

    cdef void begin_thread(self, const char *name) noexcept nogil
    cdef void wake(self) noexcept nogil
    cdef void clear_wake(self) noexcept nogil
    cdef void hand_over_with_patience(
        self, Origin *origin, const fuse_in_header *header, const void *arguments, uint64_t argument_bytes,
        const void *payload, uint64_t payload_bytes
    ) noexcept nogil
    cdef bint has_place_for_write(self, void *disk) noexcept nogil
    cdef void hold(self, uint64_t size_bytes) noexcept nogil
    cdef void let_go(self, uint64_t size_bytes) noexcept nogil
    cdef bint have_slice(self, int64_t now_ns) noexcept nogil
    cdef void begin_turn(self, int64_t now_ns) noexcept nogil
    cdef void have_turn(self, int64_t now_ns) noexcept nogil
    cdef int64_t spin_end(self, int64_t now_ns, int64_t poll_ns) noexcept nogil
    cdef void await_near_event(self) noexcept nogil
    cdef void follow_io_flusher(self) noexcept nogil

    # Fill in what the receiver knows of a bio, whose data is in `payload`; False if it is a read of more than INIT's
    # answer allows. Inlined: each request comes here.
    @cython.final
    cdef inline bint prepare(self, Bio *bio, uint8_t *payload) noexcept nogil:
        bio.owner = <void *>self
        bio.channel = self.channel
        if bio.operation == READ:
            bio.data = payload
            if bio.size_bytes > DATA_BYTES:
                bio.error = EINVAL
        return bio.error == 0
