# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""A receiver's part that no transport changes: its thread, requests that it hands over, writes that it keeps, and its
turns of work on large bios and accelerators, while no request waits for it.

`dev` and `uring` have the rest. What runs for each request is theirs, or is inlined.
"""

import os

from zramfs.atomic cimport add_i64, load_i64, load_int, load_u64, peek_i64, peek_int, peek_u64, poke_int, store_int
from zramfs.block.disk cimport Disk
from zramfs.clock cimport NEVER_NS, monotonic_ns
from zramfs.events cimport EFD_CLOEXEC, EFD_NONBLOCK, eventfd, eventfd_read, eventfd_write, usleep
from zramfs.threads cimport PR_SET_IO_FLUSHER, PR_SET_NAME, SIG_BLOCK, prctl, pthread_sigmask, sigfillset, sigset_t

cdef enum:
    SLICE_NS = 50000        # of work on large bios, before the next request is looked for, which takes 2 µs
    SOON_NS = 100000        # an event so near is awaited by polling: sleeping takes about as long
    LOOK_NS = 2000          # one so near is awaited before the next request is looked for: that takes about as long
    PLACES_FOR_READS = 16   # of the background requests, which writes that wait for a stream must not all be


cdef class KeptWrites:
    """How many writes a transport has that end later. The kernel's limit of background requests is the mount's."""


cdef class Receiver:
    """Submits bios as `channel` of `layer`. `memory` limits what is kept of writes that end later.

    `handover` has the requests that are no bios.
    """

    def __cinit__(self, *args, **kwargs):
        self.wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)
        if self.wake_fd < 0:
            raise OSError("no eventfd to wake a receiver by")

    def __init__(
        self,
        *,
        Handles handles not None,
        Handover handover not None,
        BlockLayer layer not None,
        RequestMemory memory not None,
        KeptWrites kept not None,
        int channel,
    ):
        self.handles, self.handover, self.layer, self.memory, self.kept = handles, handover, layer, memory, kept
        self.channel = channel

    def __dealloc__(self):
        if self.wake_fd >= 0:
            os.close(self.wake_fd)

    def stop(self):
        """Let `run` return; requests that were begun are still answered. From any thread."""
        store_int(&self.is_stopping, True)
        self.wake()

    def set_io_flusher(self, bint is_one):
        """Tell the kernel whether allocations of the thread must not wait for I/O that it serves (swap)."""
        poke_int(&self.wants_io_flusher, is_one)
        self.wake()

    @property
    def requests(self):
        """How many requests it has received."""
        return peek_u64(&self.requests_now)

    @property
    def in_flight(self):
        """Bios that it has begun, and that have not ended. With 0 nobody writes to the session's descriptor."""
        return load_i64(&self.begun)

    # ---- the thread -----------------------------------------------------------------------------------------------

    cdef void begin_thread(self, const char *name) noexcept nogil:
        """Name the calling thread, and leave signals to the main thread."""
        cdef sigset_t every_signal
        sigfillset(&every_signal)
        pthread_sigmask(SIG_BLOCK, &every_signal, NULL)
        prctl(PR_SET_NAME, name)

    cdef void wake(self) noexcept nogil:
        """Have the thread look at what it is asked for. From any thread."""
        eventfd_write(self.wake_fd, 1)

    cdef void clear_wake(self) noexcept nogil:
        cdef uint64_t ignored
        eventfd_read(self.wake_fd, &ignored)

    cdef void follow_io_flusher(self) noexcept nogil:
        cdef bint is_wanted = peek_int(&self.wants_io_flusher)
        if is_wanted != self.is_io_flusher:
            self.is_io_flusher = is_wanted
            prctl(PR_SET_IO_FLUSHER, <unsigned long>is_wanted, <unsigned long>0, <unsigned long>0, <unsigned long>0)

    # ---- a request ------------------------------------------------------------------------------------------------

    cdef void hand_over_with_patience(
        self,
        Origin *origin,
        const fuse_in_header *header,
        const void *arguments,
        uint64_t argument_bytes,
        const void *payload,
        uint64_t payload_bytes,
    ) noexcept nogil:
        """Leave a request to pyfuse3, as soon as there is memory for that."""
        while not self.handover.hand_over(origin, header, arguments, argument_bytes, payload, payload_bytes):
            usleep(NO_MEMORY_US)
            if load_int(&self.is_stopping):
                return

    cdef bint has_place_for_write(self, void *disk) noexcept nogil:
        """Whether an asynchronous write may end later: it will not wait for a stream, or reads have room beside it.

        The disk is open: its streams stay, if it has a size.
        """
        if peek_i64(&self.kept.writes) < self.handover.background - PLACES_FOR_READS:
            return True
        return not (load_u64(&(<Disk>disk).size_now) and (<Disk>disk).zcomp.may_stall())

    cdef void hold(self, uint64_t size_bytes) noexcept nogil:
        """Count the memory of a write that ends later."""
        self.memory.hold(size_bytes)
        add_i64(&self.kept.writes, 1)

    cdef void let_go(self, uint64_t size_bytes) noexcept nogil:
        """Count it no more. On any thread."""
        self.memory.let_go(size_bytes)
        add_i64(&self.kept.writes, -1)

    # ---- no request -----------------------------------------------------------------------------------------------

    cdef bint have_slice(self, int64_t now_ns) noexcept nogil:
        """Go on with large bios and accelerators for a slice; False if there is nothing to do."""
        if not self.layer.work(self.channel, now_ns + SLICE_NS):
            return False
        self.spin_ends_ns = 0
        self.begin_turn(monotonic_ns())
        return True

    cdef void begin_turn(self, int64_t now_ns) noexcept nogil:
        """Let requests follow each other for a while."""
        self.turn_ends_ns = now_ns + TURN_NS

    cdef void have_turn(self, int64_t now_ns) noexcept nogil:
        """Give large bios and accelerators a slice, however many requests there are."""
        if not self.have_slice(now_ns):
            self.begin_turn(now_ns)

    cdef int64_t spin_end(self, int64_t now_ns, int64_t poll_ns) noexcept nogil:
        """Until when to poll: for an event that is near; or, where none is to come, for the next request, so long."""
        cdef int64_t event_ns = self.layer.next_event_ns()
        if event_ns != NEVER_NS:
            return event_ns if event_ns - now_ns < SOON_NS else now_ns
        return now_ns + poll_ns

    cdef void await_near_event(self) noexcept nogil:
        """Wait for an accelerator's next event, if it is so near that a look for a request would take longer."""
        cdef int64_t event_ns = self.layer.next_event_ns()
        if event_ns - monotonic_ns() >= LOOK_NS:
            return
        while monotonic_ns() < event_ns:
            pass
        self.layer.attend()
