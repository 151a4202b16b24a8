# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""The transport `uring`: the kernel has a queue for each CPU, and each queue a thread with a ring of its own.

A request belongs to the queue of its caller's CPU, and is answered by the thread that has the queue's ring, whoever
ended its bio (`uring_requests`). This is the life of that thread; `queue_receiver` has its work, and where it runs is
`placement`'s choice.
"""

import threading

from libc.errno cimport ENOMEM
from libc.stdint cimport int64_t

from zramfs.atomic cimport load_int, peek_i64, store_int
from zramfs.block.layer cimport BlockLayer
from zramfs.clock cimport monotonic_ns
from zramfs.events cimport POLLIN, poll, pollfd
from zramfs.receive.entries cimport Entries
from zramfs.receive.handles cimport Handles
from zramfs.receive.handover cimport Handover
from zramfs.receive.placement cimport Placement
from zramfs.receive.queue_receiver cimport ANCHOR, STOPPING_NS, WAKE
from zramfs.receive.queue_ring cimport QueueRing
from zramfs.receive.receiver cimport KeptWrites
from zramfs.receive.uring_requests cimport reply_to_handed_over
from zramfs.request_memory cimport RequestMemory

cdef enum:
    ANSWERS_NS = 1000000000     # after `stop`, for the answers that pyfuse3 owes
    LAST_NS = 10000000          # after the session's end, for what is on its way to the thread
    # Entries of a queue, at the least. A request keeps one until it is answered, however long that takes; where all are
    # kept, later requests of that CPU wait in the kernel, whatever they ask for. An unused one takes 450 bytes of
    # memory.
    LEAST_ENTRIES = 4160
    PLACES_FOR_OTHERS = 64      # beside the kernel's background requests


cdef class UringReceiver(QueueReceiver):
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

    def __repr__(self):
        return f"<UringReceiver of queue {self.queue}: {self.requests} requests, {peek_i64(&self.begun)} in flight>"
