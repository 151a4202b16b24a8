# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""The transport `dev`: one thread that takes requests from /dev/fuse, and polls for the next one while that pays.

The thread submits bios, and answers those that end at once; others are answered by the thread that ends them. While no
request comes it goes on with large bios, sees to accelerators, polls for a bounded time, and then sleeps.
"""

import logging

cimport cython
from libc.errno cimport EAGAIN, ECONNABORTED, EINTR, ENODEV, ENOENT, ENOMEM
from libc.stdint cimport int64_t, uint8_t

from zramfs.atomic cimport add_i64, exchange_u64, load_int, peek_i64, poke_u64
from zramfs.block.bio cimport ENDED, READ, WRITE, Bio
from zramfs.block.layer cimport BlockLayer
from zramfs.clock cimport monotonic_ns
from zramfs.events cimport POLLIN, poll, pollfd, usleep
from zramfs.receive.buffers cimport (
    HAS_ENDED,
    IS_LEFT,
    MESSAGE_BYTES,
    MOST_BYTES,
    SUBMITTING,
    data_of,
    forget_tail,
    message_of,
)
from zramfs.receive.handles cimport Handles
from zramfs.receive.handover cimport Handover
from zramfs.receive.protocol cimport errno, fuse_in_header, iovec, writev
from zramfs.receive.receiver cimport NO_MEMORY_US, TURN_NS, KeptWrites
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
from zramfs.request_memory cimport RequestMemory
from zramfs.threads cimport sched_yield

cdef extern from "<unistd.h>" nogil:
    ssize_t read(int fd, void *room, size_t room_bytes)

cdef enum:
    IDLE_MS = 1000          # without a request, until memory is given back

_log = logging.getLogger(__name__)


cdef class DevReceiver(Receiver):
    """Receives what comes by /dev/fuse, as `channel` of `layer`, in the thread that calls `run`.

    `memory` limits what is kept of writes that end later. A request comes from `fd`, which does not block, and belongs
    to the caller; `handover` has those that are no bios.
    """

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
        super().__init__(
            handles=handles,
            handover=handover,
            layer=layer,
            memory=memory,
            kept=KeptWrites(),
            channel=channel,
        )
        self.busy_poll_ns = busy_poll_us * 1000
        self.pool = BufferPool()
        self.dev.fd = fd
        self.dev.origin.reply = reply_to_handed_over
        self.pays = True

    def run(self):
        """Receive requests until `stop`, or until the kernel gives the session up."""
        self.begin_thread(b"zramfs-recv-1")
        with nogil:
            self.receive()

    def work_off(self):
        """After `run`: go on with large bios for a while; False if there is nothing to do."""
        with nogil:
            has_worked = self.layer.work(self.channel, monotonic_ns() + TURN_NS)
        return bool(has_worked)

    cdef void receive(self) noexcept nogil:
        cdef ssize_t size_bytes
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
        """Whether there is memory for the next request, which waits in the kernel otherwise."""
        self.buffer = self.pool.take()
        if self.buffer != NULL:
            return True
        if not self.was_out_of_memory:
            self.was_out_of_memory = True
            with gil:
                _log.warning("no memory for the next request; it waits, and so will others, without a word")
        self.have_slice(monotonic_ns())
        usleep(NO_MEMORY_US)
        return False

    # ---- a request ------------------------------------------------------------------------------------------------

    @cython.final
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
        """Leave a request to pyfuse3."""
        cdef fuse_in_header *header = <fuse_in_header *>message_of(self.buffer)
        self.hand_over_with_patience(
            &self.dev.origin, header, header + 1, size_bytes - sizeof(fuse_in_header), NULL, 0
        )

    @cython.final
    cdef void submit(self) noexcept nogil:
        """Submit the bio, and keep its buffer until it ends."""
        cdef Buffer *buffer = self.buffer
        cdef Bio *bio = &buffer.request.bio
        bio.end = finish_bio
        if not self.prepare(bio, <uint8_t *>data_of(buffer)):
            self.answer(buffer)
            return
        if bio.operation == READ:
            buffer.touched_bytes = max(buffer.touched_bytes, bio.size_bytes)
        elif bio.operation == WRITE:
            bio.is_urgent = not self.may_be_kept()
        buffer.turn = SUBMITTING
        if submit_request(&buffer.request) != ENDED and not self.leave():
            self.buffer = NULL

    @cython.final
    cdef bint may_be_kept(self) noexcept nogil:
        """Whether a write may end later: there is memory for its data, and room for reads beside it."""
        cdef Buffer *buffer = self.buffer
        cdef Request *request = &buffer.request
        if not self.memory.has_room(buffer.touched_bytes):
            forget_tail(buffer, request.bio.size_bytes)
            if not self.memory.has_room(buffer.touched_bytes):
                return False
        return not request.bio.is_async or self.has_place_for_write(request.disk)

    cdef bint leave(self) noexcept nogil:
        """Leave the buffer to whoever ends its bio. True: it has ended, and the buffer is still ours."""
        cdef Buffer *buffer = self.buffer
        cdef bint is_write = buffer.request.bio.operation == WRITE
        add_i64(&self.begun, 1)
        buffer.held_bytes = buffer.touched_bytes if is_write else 0
        if is_write:
            self.hold(buffer.held_bytes)
        if exchange_u64(&buffer.turn, IS_LEFT) != HAS_ENDED:
            return False
        self.let_go_of_write(buffer)
        add_i64(&self.begun, -1)
        return True

    cdef void let_go_of_write(self, Buffer *buffer) noexcept nogil:
        """Count the memory of a request as held no more, if it is a write."""
        if buffer.request.bio.operation == WRITE:
            self.let_go(buffer.held_bytes)

    cdef void finish(self, Buffer *buffer) noexcept nogil:
        """A bio has ended: answer its request. On any thread."""
        self.answer(buffer)
        if exchange_u64(&buffer.turn, HAS_ENDED) == IS_LEFT:
            self.let_go_of_write(buffer)
            self.pool.give(buffer)
            add_i64(&self.begun, -1)  # last: the receiver may be taken down when nothing is in flight

    @cython.final
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

    @cython.final
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

    @cython.final
    cdef void pass_time(self) noexcept nogil:
        """Go on with what is begun; or poll for the next request for a while; or sleep."""
        cdef int64_t now_ns = monotonic_ns()
        if self.have_slice(now_ns):
            return
        if self.spin_ends_ns == 0:
            self.spin_ends_ns = self.spin_end(now_ns, self.busy_poll_ns if self.pays else 0)
        if now_ns < self.spin_ends_ns:
            sched_yield()
        else:
            self.sleep()
            self.spin_ends_ns = 0

    cdef void sleep(self) noexcept nogil:
        """Wait for a request or for somebody who wakes us. A long wait means that polling does not pay."""
        cdef pollfd watched[2]
        cdef int64_t began_ns = monotonic_ns()
        self.follow_io_flusher()
        watched[0].fd, watched[0].events = self.dev.fd, POLLIN
        watched[1].fd, watched[1].events = self.wake_fd, POLLIN
        if poll(watched, 2, IDLE_MS if self.has_requests else -1) == 0:
            self.pool.trim()
            forget_tail(self.buffer, 0)
            self.has_requests = False
            self.pays = False
            return
        self.clear_wake()
        self.has_requests = True
        self.pays = monotonic_ns() - began_ns < self.busy_poll_ns

    def __repr__(self):
        return f"<DevReceiver {self.requests} requests, {self.in_flight} in flight>"


cdef void finish_bio(Bio *bio) noexcept nogil:
    (<DevReceiver>bio.owner).finish(<Buffer *>bio)


cdef ssize_t reply_to_handed_over(Origin *origin, uint64_t unique, const iovec *iov, int count) noexcept nogil:
    return writev((<DevOrigin *>origin).fd, iov, count)
