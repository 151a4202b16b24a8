# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""What the thread of one of the kernel's queues does: it takes what its ring completes, and passes the time until then.

`uring` has the thread's life, `uring_requests` what becomes of a request.
"""

import logging
import os

cimport cython
from libc.errno cimport ECONNABORTED, ENOTCONN, EOPNOTSUPP
from libc.stdint cimport int64_t, uint32_t, uint64_t

from zramfs.atomic cimport fence, load_int, peek_i64, peek_u64, poke_u64, store_int
from zramfs.clock cimport monotonic_ns
from zramfs.receive.protocol cimport fuse_in_header
from zramfs.receive.receiver cimport Receiver
from zramfs.receive.uring_protocol cimport IO_RING_MORE, io_ring_cqe, io_ring_peek, io_ring_seen

cdef enum:
    TICK = 0xFFFFFFFD           # user_data of the end of a second
    BATCH = 4                   # replies that leave together, while there are more requests
    IDLE_S = 1                  # without a request, until memory is given back

_log = logging.getLogger(__name__)


cdef class QueueReceiver(EntryReceiver):
    """A receiver of what the kernel's queue `queue` completes in its ring, where `placement` lets its thread run."""

    # ---- completions ----------------------------------------------------------------------------------------------

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
