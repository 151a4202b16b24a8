# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""The transport `dev`: one thread that takes requests from /dev/fuse, and polls for the next one while that pays.

The thread submits bios, and answers those that end at once; others are answered by the thread that ends them. While no
request comes it goes on with large bios, sees to accelerators, polls for a bounded time, and then sleeps.
"""

import logging
import os

from libc.errno cimport EAGAIN, ECONNABORTED, EINTR, EINVAL, ENODEV, ENOENT, ENOMEM
from libc.stdint cimport int64_t, uint8_t, uint64_t

from zramfs.atomic cimport add_i64, exchange_u64, load_i64, load_int, load_u64, peek_i64, peek_int, peek_u64
from zramfs.atomic cimport poke_int, poke_u64, store_int
from zramfs.block.bio cimport ENDED, READ, WRITE
from zramfs.block.disk cimport Disk
from zramfs.clock cimport NEVER_NS, monotonic_ns
from zramfs.events cimport (
    EFD_CLOEXEC,
    EFD_NONBLOCK,
    POLLIN,
    eventfd,
    eventfd_read,
    eventfd_write,
    poll,
    pollfd,
    usleep,
)
from zramfs.threads cimport (
    PR_SET_IO_FLUSHER,
    PR_SET_NAME,
    prctl,
    pthread_sigmask,
    sched_yield,
    SIG_BLOCK,
    sigfillset,
    sigset_t,
)
from zramfs.receive.buffers cimport (
    DATA_BYTES,
    HAS_ENDED,
    IS_LEFT,
    MESSAGE_BYTES,
    MOST_BYTES,
    SUBMITTING,
    data_of,
    forget_tail,
    message_of,
)
from zramfs.receive.protocol cimport errno, fuse_in_header, iovec, writev
from zramfs.receive.request cimport (
    ANSWER,
    HAND_OVER,
    SUBMIT,
    Reply,
    Request,
    Verdict,
    make_reply,
    read_request,
    submit_request,
)

cdef extern from "<unistd.h>" nogil:
    ssize_t read(int fd, void *room, size_t room_bytes)

cdef enum:
    SLICE_NS = 50000        # of work on large bios, before the next request is looked for, which takes 2 µs
    # How long requests may follow each other before large bios and accelerators have a slice in any case. Longer than a
    # slice: requests should be taken faster than large ones are worked off, or those that come wait behind them.
    TURN_NS = 500000
    SOON_NS = 100000        # an event so near is awaited by polling: sleeping takes about as long
    LOOK_NS = 2000          # one so near is awaited before the next request is looked for: that takes about as long
    NO_MEMORY_US = 1000     # until memory is looked for again
    IDLE_MS = 1000          # without a request, until memory is given back
    PLACES_FOR_READS = 16   # of the background requests, which writes that wait for a stream must not all be

_log = logging.getLogger(__name__)


cdef class DevReceiver:
    """Receives what comes by /dev/fuse, as `channel` of `layer`, in the thread that calls `run`.

    `memory` limits what is kept of writes that end later. A request comes from `fd`, which does not block, and belongs to
    the caller; `handover` has those that are no bios.
    """

    def __cinit__(self, *args, **kwargs):
        self.wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)
        if self.wake_fd < 0:
            raise OSError("no eventfd to wake a receiver by")

    def __init__(
        self,
        int fd,
        *,
        Handles handles not None,
        Handover handover not None,
        BlockLayer layer not None,
        RequestMemory memory not None,
        int channel,
        int busy_poll_us,
    ):
        self.handles, self.handover, self.layer, self.memory = handles, handover, layer, memory
        self.pool = BufferPool()
        self.channel = channel
        self.busy_poll_ns = busy_poll_us * 1000
        self.dev.fd = fd
        self.dev.origin.reply = reply_to_handed_over
        self.pays = True

    def __dealloc__(self):
        if self.wake_fd >= 0:
            os.close(self.wake_fd)

    def run(self):
        """Receive requests until `stop`, or until the kernel gives the session up."""
        with nogil:
            self.receive()

    def stop(self):
        """Let `run` return; requests that were begun are still answered. From any thread."""
        store_int(&self.is_stopping, True)
        eventfd_write(self.wake_fd, 1)

    def work_off(self):
        """After `run`: go on with large bios for a while; False if there is nothing to do."""
        with nogil:
            is_done = self.layer.work(self.channel, monotonic_ns() + TURN_NS)
        return bool(is_done)

    def set_io_flusher(self, bint is_one):
        """Tell the kernel whether allocations of the thread must not wait for I/O that it serves (swap)."""
        poke_int(&self.wants_io_flusher, is_one)
        eventfd_write(self.wake_fd, 1)

    @property
    def requests(self):
        """How many requests it has received."""
        return peek_u64(&self.requests_now)

    @property
    def in_flight(self):
        """Bios that it has begun, and that have not ended: with 0 nobody writes to the session's descriptor any more."""
        return load_i64(&self.begun)

    cdef void receive(self) noexcept nogil:
        cdef sigset_t every_signal
        cdef ssize_t size_bytes
        sigfillset(&every_signal)
        pthread_sigmask(SIG_BLOCK, &every_signal, NULL)  # they are the main thread's
        prctl(PR_SET_NAME, <const char *>b"zramfs-recv-1")
        while not load_int(&self.is_stopping):
            if peek_i64(&self.layer.runs_in_flight):
                self.await_near_event()
            if self.buffer == NULL and not self.make_room():
                continue
            size_bytes = read(self.dev.fd, message_of(self.buffer), MOST_BYTES)
            if size_bytes >= <ssize_t>sizeof(fuse_in_header):
                self.take(size_bytes)
            elif not self.go_on_after(errno if size_bytes < 0 else ENODEV):
                break

    cdef bint make_room(self) noexcept nogil:
        """Whether there is memory for the next request. Without it that one waits in the kernel, and the daemon lives on."""
        self.buffer = self.pool.take()
        if self.buffer != NULL:
            return True
        if not self.was_out_of_memory:
            self.was_out_of_memory = True
            with gil:
                _log.warning("no memory for the next request; it waits, and so will others, without a word")
        self.layer.work(self.channel, monotonic_ns() + SLICE_NS)
        usleep(NO_MEMORY_US)
        return False

    # ---- a request ------------------------------------------------------------------------------------------------

    cdef void take(self, uint64_t size_bytes) noexcept nogil:
        """Do with a request what is to be done."""
        cdef Buffer *buffer = self.buffer
        cdef fuse_in_header *header = <fuse_in_header *>message_of(buffer)
        cdef Verdict verdict
        cdef int64_t now_ns
        if size_bytes > MESSAGE_BYTES:
            buffer.touched_bytes = max(buffer.touched_bytes, size_bytes - MESSAGE_BYTES)
        poke_u64(&self.requests_now, self.requests_now + 1)
        verdict = read_request(&buffer.request, header, header + 1, <uint8_t *>data_of(buffer), self.handles)
        if verdict == SUBMIT:
            self.submit()
        elif verdict == ANSWER:
            self.answer(buffer)
        elif verdict == HAND_OVER:
            self.hand_over(size_bytes)
        self.spin_ends_ns = 0
        now_ns = monotonic_ns()
        if now_ns > self.turn_ends_ns:
            self.have_turn(now_ns)

    cdef void hand_over(self, uint64_t size_bytes) noexcept nogil:
        """Leave a request to pyfuse3, as soon as there is memory for that."""
        cdef fuse_in_header *header = <fuse_in_header *>message_of(self.buffer)
        cdef uint64_t argument_bytes = size_bytes - sizeof(fuse_in_header)
        while not self.handover.hand_over(&self.dev.origin, header, header + 1, argument_bytes, NULL, 0):
            usleep(NO_MEMORY_US)
            if load_int(&self.is_stopping):
                return

    cdef void submit(self) noexcept nogil:
        """Submit the bio, and keep its buffer until it ends."""
        cdef Buffer *buffer = self.buffer
        cdef Bio *bio = &buffer.request.bio
        bio.end = finish_bio
        bio.owner = <void *>self
        bio.channel = self.channel
        if bio.operation == READ:
            if bio.size_bytes > DATA_BYTES:
                bio.error = EINVAL  # more than INIT's answer allows
                self.answer(buffer)
                return
            bio.data = <uint8_t *>data_of(buffer)
            buffer.touched_bytes = max(buffer.touched_bytes, bio.size_bytes)
        elif bio.operation == WRITE:
            bio.is_urgent = not self.may_be_kept()
        buffer.turn = SUBMITTING
        if submit_request(&buffer.request) != ENDED and not self.leave():
            self.buffer = NULL

    cdef bint may_be_kept(self) noexcept nogil:
        """Whether a write may end later: there is memory for its data, and room for reads beside it."""
        cdef Buffer *buffer = self.buffer
        cdef Request *request = &buffer.request
        if not self.memory.has_room(buffer.touched_bytes):
            forget_tail(buffer, request.bio.size_bytes)
            if not self.memory.has_room(buffer.touched_bytes):
                return False
        if not request.bio.is_async or peek_i64(&self.kept_writes) < self.handover.background - PLACES_FOR_READS:
            return True
        return not may_stall(request.disk)

    cdef bint leave(self) noexcept nogil:
        """Leave the buffer to whoever ends its bio. True: it has ended, and the buffer is still ours."""
        cdef Buffer *buffer = self.buffer
        cdef bint is_write = buffer.request.bio.operation == WRITE
        add_i64(&self.begun, 1)
        buffer.held_bytes = buffer.touched_bytes if is_write else 0
        if is_write:
            self.memory.hold(buffer.held_bytes)
            add_i64(&self.kept_writes, 1)
        if exchange_u64(&buffer.turn, IS_LEFT) != HAS_ENDED:
            return False
        self.let_go(buffer)
        add_i64(&self.begun, -1)
        return True

    cdef void let_go(self, Buffer *buffer) noexcept nogil:
        """Count the memory of a write as held no more."""
        if buffer.request.bio.operation == WRITE:
            self.memory.let_go(buffer.held_bytes)
            add_i64(&self.kept_writes, -1)

    cdef void finish(self, Buffer *buffer) noexcept nogil:
        """A bio has ended: answer its request. On any thread."""
        self.answer(buffer)
        if exchange_u64(&buffer.turn, HAS_ENDED) == IS_LEFT:
            self.let_go(buffer)
            self.pool.give(buffer)
            add_i64(&self.begun, -1)  # last: the receiver may be taken down when nothing is in flight

    cdef void answer(self, Buffer *buffer) noexcept nogil:
        """Send the reply. Where that fails nobody waits for it any more: the kernel has given the request up."""
        cdef Reply reply
        cdef iovec parts[2]
        make_reply(&buffer.request, &reply)
        parts[0].iov_base, parts[0].iov_len = &reply.header, sizeof(reply.header)
        parts[1].iov_base, parts[1].iov_len = &reply.argument, reply.argument_bytes
        if reply.data_bytes:
            parts[1].iov_base, parts[1].iov_len = buffer.request.bio.data, reply.data_bytes
        writev(self.dev.fd, parts, 2 if parts[1].iov_len else 1)

    # ---- no request -----------------------------------------------------------------------------------------------

    cdef bint go_on_after(self, int error) noexcept nogil:
        """Do what there is to be done when no request was read; False if none will come."""
        if error == EAGAIN:
            self.pass_time()
        elif error == ENOMEM:
            usleep(NO_MEMORY_US)
        elif error != EINTR and error != ENOENT:  # ENOENT: whoever sent it was killed meanwhile
            self.handover.end(ENODEV if error == ECONNABORTED else error)
            return False
        return True

    cdef void pass_time(self) noexcept nogil:
        """Go on with what is begun; or poll for the next request for a while; or sleep."""
        cdef int64_t now_ns = monotonic_ns()
        cdef int64_t event_ns
        if self.layer.work(self.channel, now_ns + SLICE_NS):
            self.spin_ends_ns = 0
            self.turn_ends_ns = monotonic_ns() + TURN_NS
            return
        if self.spin_ends_ns == 0:
            event_ns = self.layer.next_event_ns()
            if event_ns != NEVER_NS:
                self.spin_ends_ns = event_ns if event_ns - now_ns < SOON_NS else now_ns
            else:
                self.spin_ends_ns = now_ns + self.busy_poll_ns if self.pays else now_ns
        if now_ns < self.spin_ends_ns:
            sched_yield()
        else:
            self.sleep()
            self.spin_ends_ns = 0

    cdef void have_turn(self, int64_t now_ns) noexcept nogil:
        """Give large bios and accelerators a slice, however many requests there are."""
        self.layer.work(self.channel, now_ns + SLICE_NS)
        self.turn_ends_ns = monotonic_ns() + TURN_NS

    cdef void sleep(self) noexcept nogil:
        """Wait for a request or for somebody who wakes us. A long wait means that polling does not pay."""
        cdef pollfd watched[2]
        cdef int64_t began_ns = monotonic_ns()
        cdef uint64_t ignored
        self.follow_io_flusher()
        watched[0].fd, watched[0].events = self.dev.fd, POLLIN
        watched[1].fd, watched[1].events = self.wake_fd, POLLIN
        if poll(watched, 2, IDLE_MS if self.has_requests else -1) == 0:
            self.pool.trim()
            forget_tail(self.buffer, 0)
            self.has_requests = False
            self.pays = False
            return
        eventfd_read(self.wake_fd, &ignored)
        self.has_requests = True
        self.pays = monotonic_ns() - began_ns < self.busy_poll_ns

    cdef void await_near_event(self) noexcept nogil:
        """Wait for what an accelerator is about to finish, if that is so near that a look for a request would be late."""
        cdef int64_t event_ns = self.layer.next_event_ns()
        if event_ns - monotonic_ns() >= LOOK_NS:
            return
        while monotonic_ns() < event_ns:
            pass
        self.layer.attend()

    cdef void follow_io_flusher(self) noexcept nogil:
        cdef bint is_wanted = peek_int(&self.wants_io_flusher)
        if is_wanted != self.is_io_flusher:
            self.is_io_flusher = is_wanted
            prctl(PR_SET_IO_FLUSHER, <unsigned long>is_wanted, <unsigned long>0, <unsigned long>0, <unsigned long>0)

    def __repr__(self):
        return f"<DevReceiver {self.requests} requests, {self.in_flight} in flight>"


cdef void finish_bio(Bio *bio) noexcept nogil:
    (<DevReceiver>bio.owner).finish(<Buffer *>bio)


cdef bint may_stall(void *disk) noexcept nogil:
    """Whether an asynchronous write may have to wait for a stream. The disk is open: its streams stay, if it has a size."""
    return load_u64(&(<Disk>disk).size_now) and (<Disk>disk).zcomp.may_stall()


cdef ssize_t reply_to_handed_over(Origin *origin, uint64_t unique, const iovec *iov, int count) noexcept nogil:
    return writev((<DevOrigin *>origin).fd, iov, count)
