# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""The transport `uring`: the kernel has a queue for each CPU, and each queue a thread with a ring of its own.

A request belongs to the queue of its caller's CPU, and is answered by the thread that has the queue's ring, whoever
ended its bio (`uring_requests`). Where that thread runs is `placement`'s choice.
"""

import logging
import os
import threading

cimport cython
from libc.errno cimport ECONNABORTED, ENOMEM, ENOTCONN, EOPNOTSUPP
from libc.stdint cimport int64_t, uint32_t, uint64_t

from zramfs.atomic cimport fence, load_int, peek_i64, peek_u64, poke_u64, store_int
from zramfs.block.layer cimport BlockLayer
from zramfs.clock cimport monotonic_ns
from zramfs.events cimport POLLIN, poll, pollfd
from zramfs.receive.entries cimport Entries
from zramfs.receive.handles cimport Handles
from zramfs.receive.handover cimport Handover
from zramfs.receive.protocol cimport fuse_in_header
from zramfs.receive.queue_ring cimport QueueRing
from zramfs.receive.receiver cimport KeptWrites, Receiver
from zramfs.receive.uring_protocol cimport IO_RING_MORE, io_ring_cqe, io_ring_peek, io_ring_seen
from zramfs.receive.uring_requests cimport reply_to_handed_over
from zramfs.request_memory cimport RequestMemory

cdef enum:
    WAKE = 0xFFFFFFFF           # user_data of what wakes the thread; others are entries' numbers,
    ANCHOR = 0xFFFFFFFE         # but for what never completes: it ties the ring to the thread,
    TICK = 0xFFFFFFFD           # and for the end of a second
    BATCH = 4                   # replies that leave together, while there are more requests
    IDLE_S = 1                  # without a request, until memory is given back
    ANSWERS_NS = 1000000000     # after `stop`, for the answers that pyfuse3 owes
    STOPPING_NS = 10000000      # between two looks whether they have come
    LAST_NS = 10000000          # after the session's end, for what is on its way to the thread
    # Entries of a queue, at the least. A request keeps one until it is answered, however long that takes; where all are
    # kept, later requests of that CPU wait in the kernel, whatever they ask for. An unused one takes 450 bytes of
    # memory.
    LEAST_ENTRIES = 4160
    PLACES_FOR_OTHERS = 64      # beside the kernel's background requests

_log = logging.getLogger(__name__)


cdef class UringReceiver(EntryReceiver):
    """Receives what comes by the kernel's queue `queue`, as `channel` of `layer`, in the thread that calls `run`.

    `dev_fd` is the session's /dev/fuse, and belongs to the caller. `memory` limits what is kept of writes that end
    later.
    """

    def __init__(
        self,
        int dev_fd,
        *,
        int queue,
        Handles handles not None,
        Handover handover not None,
        BlockLayer layer not None,
        RequestMemory memory not None,
        Placement placement not None,
        KeptWrites kept not None,
        int channel,
    ):
        super().__init__(
            handles=handles,
            handover=handover,
            layer=layer,
            memory=memory,
            kept=kept,
            channel=channel,
        )
        self.placement = placement
        self.queue = queue
        self.ring = QueueRing(dev_fd, queue)
        self.entries = Entries(max(handover.background + PLACES_FOR_OTHERS, <int>LEAST_ENTRIES))
        self.is_set_up = threading.Event()

    def run(self):
        """Set up what can be before the session is; then receive requests until `stop`, and return at `close`."""
        cdef bytes name = b"zramfs-ring-%d" % self.queue
        self.begin_thread(name)
        with nogil:
            self.failure = self.open()
        self.is_set_up.set()
        try:
            if self.failure == 0:
                with nogil:
                    self.receive()
        finally:
            store_int(&self.has_answered_now, True)
            self.ring.close()

    def close(self):
        """Let `run` return: the session has ended. From any thread."""
        store_int(&self.may_go, True)
        self.wake()

    @property
    def has_answered(self):
        """Whether `stop` was called, and nothing more will be answered."""
        return bool(load_int(&self.has_answered_now))

    # ---- beginning and end ----------------------------------------------------------------------------------------

    cdef int open(self) noexcept nogil:
        """Make the ring, which belongs to the thread from then on, and the room for requests. 0, or an errno."""
        cdef int number, failure
        self.placement.take_seat(self.queue)
        failure = self.ring.open(self.entries.count, ANCHOR)
        if failure:
            return failure
        if not self.entries.map_all():
            return ENOMEM
        for number in range(self.entries.count):
            self.entries.first[number].receiver = <void *>self
            self.entries.first[number].way_back.origin.reply = reply_to_handed_over
        return 0

    cdef void begin(self) noexcept nogil:
        """INIT is answered: the kernel takes entries. From any thread."""
        store_int(&self.has_begun, True)
        self.wake()

    cdef void receive(self) noexcept nogil:
        """Give the kernel all entries (the connection changes over when every queue has one), and take what comes."""
        cdef int number
        if not self.await_begin():
            return
        self.ring.watch(self.wake_fd, WAKE)
        for number in range(self.entries.count):
            self.ring.give(number, self.entries.first[number].room)
        self.ring.enter(False, 0)
        while not self.is_done():
            if peek_i64(&self.layer.runs_in_flight):
                self.await_near_event()
            if not self.take_ended() and not self.reap():
                self.pass_time()
        self.keep_ring()

    cdef bint await_begin(self) noexcept nogil:
        """Wait until the kernel takes entries; False if it does not come to that."""
        cdef pollfd watched
        watched.fd, watched.events = self.wake_fd, POLLIN
        while not load_int(&self.has_begun) and not load_int(&self.is_stopping):
            poll(&watched, 1, -1)
            self.clear_wake()
        return not load_int(&self.is_stopping)

    @cython.final
    cdef bint is_done(self) noexcept nogil:
        """Whether nothing more is to be answered; pyfuse3 has a second for what it owes."""
        if not load_int(&self.is_stopping):
            return False
        if self.answers_end_ns == 0:
            self.answers_end_ns = monotonic_ns() + ANSWERS_NS
        if self.begun or self.ring.ring.unsubmitted:
            return False
        return self.handed_over_now == 0 or monotonic_ns() > self.answers_end_ns

    cdef void keep_ring(self) noexcept nogil:
        """Wait until the session has ended, and a little for what is on its way to the thread.

        A request on its way to a thread that has gone is refused with ECANCELED (fuse_uring_send_in_task), which nobody
        expects. The end of the session refuses it with ECONNABORTED.
        """
        cdef int64_t end_ns
        store_int(&self.has_answered_now, True)
        while not load_int(&self.may_go):
            self.ring.enter(True, STOPPING_NS)
            self.reap()
        end_ns = monotonic_ns() + LAST_NS
        while monotonic_ns() < end_ns:
            self.ring.enter(True, LAST_NS)
            self.reap()

    # ---- completions ----------------------------------------------------------------------------------------------

    @cython.final
    cdef bint reap(self) noexcept nogil:
        """Take the requests that are there; False if there was none."""
        cdef const io_ring_cqe *cqe = io_ring_peek(&self.ring.ring)
        cdef int64_t now_ns = 0
        cdef uint64_t which
        cdef uint32_t flags
        cdef int result
        if cqe == NULL:
            return False
        while cqe != NULL:
            now_ns = monotonic_ns()
            which, result, flags = cqe.user_data, cqe.result, cqe.flags
            io_ring_seen(&self.ring.ring)
            self.complete(which, result, not flags & IO_RING_MORE, now_ns)
            cqe = io_ring_peek(&self.ring.ring)
            if self.ring.ring.unsubmitted >= BATCH and cqe != NULL:
                self.ring.enter(False, 0)
        self.placement.move_if_due(self.queue, now_ns)
        if now_ns > self.turn_ends_ns:
            self.have_turn(now_ns)
        return True

    @cython.final
    cdef void complete(self, uint64_t which, int result, bint is_last, int64_t now_ns) noexcept nogil:
        """Take one: a request, most of the time."""
        if which == WAKE:
            self.clear_wake()
            self.follow_io_flusher()
            if is_last:
                self.ring.watch(self.wake_fd, WAKE)
        elif which == TICK:
            self.end_second()
        elif result:
            self.lose(-result)
        elif not load_int(&self.is_stopping):  # nobody answers it then: the session ends
            self.note(&self.entries.first[which], now_ns)
            self.take(&self.entries.first[which])

    @cython.final
    cdef void note(self, Entry *entry, int64_t now_ns) noexcept nogil:
        """Count a request, and let the placement know of it."""
        poke_u64(&self.requests_now, self.requests_now + 1)
        self.placement.arrive(
            self.queue, (<fuse_in_header *>entry.header.in_out).pid, self.empty_looks <= 1, now_ns
        )
        self.empty_looks = 0
        self.spin_ends_ns = 0
        if not self.is_ticking:
            self.begin_second()

    cdef void lose(self, int error) noexcept nogil:
        """The kernel does not want an entry any more: the session has ended, or it never took it.

        A queue without entries, of a connection that uses io_uring, would let everybody wait for ever: the session
        ends.
        """
        self.lost += 1
        if error == ENOTCONN or error == ECONNABORTED:
            return
        if self.lost == 1:
            with gil:
                _log.warning("queue %d of io_uring is not used as it should be: %s", self.queue, os.strerror(error))
        if self.lost == self.entries.count and error != EOPNOTSUPP:  # which means that all comes by /dev/fuse
            self.handover.end(error)

    # ---- no request -----------------------------------------------------------------------------------------------

    @cython.final
    cdef void pass_time(self) noexcept nogil:
        """Go on with what is begun; or wait for an accelerator's near event; or sleep. Replies leave first.

        Polling for the next request takes a call of the kernel each time, on a CPU that its caller could have. A queue
        32 deep had 11 to 14 % fewer requests that way while its thread roamed, and a fifth fewer at home.
        """
        cdef int64_t now_ns = monotonic_ns()
        if self.has_work():
            self.ring.enter(False, 0)
            if io_ring_peek(&self.ring.ring) != NULL or self.have_slice(now_ns):
                return
        if self.spin_ends_ns == 0:
            self.spin_ends_ns = self.spin_end(now_ns, 0)
        self.empty_looks += 1
        if now_ns < self.spin_ends_ns:
            self.ring.enter(False, 0)
        else:
            self.sleep()
            self.spin_ends_ns = 0

    @cython.final
    cdef bint has_work(self) noexcept nogil:
        """Whether there are large bios or runs to go on with, of this queue's callers.

        Those of others would take the CPU from ours, who wait for nothing large: beside a flood on the other CPU a
        synchronous writer of 4K had a 99th percentile of 1.6 ms that way.
        """
        return self.begun > 0 and (peek_u64(&self.layer.queued) or peek_i64(&self.layer.runs_in_flight))

    cdef void have_turn(self, int64_t now_ns) noexcept nogil:
        """Give large bios and accelerators a slice if they are ours, however many requests there are."""
        if self.has_work():
            self.ring.enter(False, 0)
            Receiver.have_turn(self, now_ns)
        else:
            self.begin_turn(now_ns)

    @cython.final
    cdef void sleep(self) noexcept nogil:
        """Wait for a request, or for somebody who wakes us.

        There is no end of time in this wait, but where the session ends: it would cost each request a timer.
        """
        store_int(&self.is_asleep, True)
        fence()
        if peek_u64(<uint64_t *>&self.ended):
            store_int(&self.is_asleep, False)
            return
        self.ring.enter(True, STOPPING_NS if load_int(&self.is_stopping) else -1)
        store_int(&self.is_asleep, False)
        self.empty_looks = 2

    cdef void begin_second(self) noexcept nogil:
        """Have the ring tell when a second is over."""
        self.is_ticking = True
        self.requests_at_tick = self.requests_now
        self.ring.tell_in(IDLE_S, TICK)

    cdef void end_second(self) noexcept nogil:
        """Give memory back if no request came in it."""
        self.is_ticking = False
        if self.requests_now != self.requests_at_tick:
            self.begin_second()
        else:
            self.entries.trim()

    def __repr__(self):
        return f"<UringReceiver of queue {self.queue}: {self.requests} requests, {peek_i64(&self.begun)} in flight>"
