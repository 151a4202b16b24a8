# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""The transport `uring`: the kernel has a queue for each CPU, and a thread with a ring of its own takes what comes by it.

A request belongs to the queue of its caller's CPU, and is answered by the thread that has the queue's ring, whoever ended
its bio. Where that thread runs is `placement`'s choice.
"""

import logging
import os
import threading

from libc.errno cimport ECONNABORTED, EINVAL, EIO, ENOMEM, ENOTCONN, EOPNOTSUPP
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy

from zramfs.atomic cimport (
    add_i64,
    compare_exchange_u64,
    exchange_int,
    exchange_u64,
    fence,
    load_i64,
    load_int,
    load_u64,
    peek_i64,
    peek_int,
    peek_u64,
    poke_i64,
    poke_int,
    poke_u64,
    store_int,
)
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
from zramfs.threads cimport PR_SET_IO_FLUSHER, PR_SET_NAME, prctl, pthread_sigmask, SIG_BLOCK, sigfillset, sigset_t
from zramfs.memory cimport MADV_DONTNEED, madvise, map_memory, munmap
from zramfs.receive.protocol cimport fuse_in_header, fuse_out_header
from zramfs.receive.request cimport ANSWER, SUBMIT, Reply, Verdict, make_reply, read_request, submit_request
from zramfs.receive.uring_protocol cimport (
    COMMIT_AND_FETCH,
    FUSE_OVER_IO_URING,
    IO_RING_MORE,
    IO_RING_POLL_ADD,
    IO_RING_POLL_MULTISHOT,
    IO_RING_TIMEOUT,
    IO_RING_URING_CMD,
    REGISTER,
    EntryCommand,
    io_ring_close,
    io_ring_cqe,
    io_ring_end_with_thread,
    io_ring_enter,
    io_ring_next,
    io_ring_open,
    io_ring_peek,
    io_ring_seen,
    io_ring_sqe,
)
from zramfs.scheduling cimport run_on, thread_ns


cdef enum:
    MADV_DONTNEED_LOCKED = 24   # since Linux 5.18: a daemon that swaps has its memory locked
    DATA_BYTES = 1 << 20        # the longest request's, as INIT's answer says
    PAGE_BYTES = 4096
    # From one payload to the next. Payloads 1 MiB apart share the same sets of a cache: 4K writes at depth 32 had 77 to 89k
    # IOPS, and 92 to 105k with a page more.
    STRIDE_BYTES = DATA_BYTES + PAGE_BYTES
    WAKE = 0xFFFFFFFF           # user_data of what wakes the thread; others are entries' numbers,
    ANCHOR = 0xFFFFFFFE         # but for what never completes: it ties the ring to the thread,
    TICK = 0xFFFFFFFD           # and for the end of a second
    BATCH = 4                   # replies that leave together, while there are more requests
    SLICE_NS = 50000            # of work on large bios, before the next request is looked for
    TURN_NS = 500000            # how long requests may follow each other until large bios have a slice in any case
    SOON_NS = 100000            # an event so near is awaited by polling: sleeping takes about as long
    LOOK_NS = 2000              # one so near is awaited before the next request is looked for
    NO_MEMORY_US = 1000         # until memory is looked for again
    IDLE_S = 1                  # without a request, until memory is given back
    ANSWERS_NS = 1000000000     # after `stop`, for the answers that pyfuse3 owes
    STOPPING_NS = 10000000      # between two looks whether they have come
    PLACES_FOR_READS = 16       # of the background requests, which writes that wait for a stream must not all be
    # Entries of a queue, at the least. A request keeps one until it is answered, however long that takes; where all are
    # kept, later requests of that CPU wait in the kernel, whatever they ask for. An unused one takes 450 bytes of memory.
    LEAST_ENTRIES = 4160
    PLACES_FOR_OTHERS = 64      # beside the kernel's background requests
    MOST_SUBMISSIONS = 256      # at a time
    # What the payloads of a queue may hold of memory: touching 1 MiB anew costs 0.1 ms, as much as copying it.
    MOST_TOUCHED_BYTES = 32 << 20
    FORGOTTEN_BYTES = 64 << 10  # payloads that touched less are not worth a system call

assert sizeof(EntryHeader) == 288

_log = logging.getLogger(__name__)


cdef class KeptWrites:
    """How many writes all queues of a mount have that end later. The kernel's limit of background requests is the mount's."""


cdef class UringReceiver:
    """Receives what comes by the kernel's queue `queue`, as `channel` of `layer`, in the thread that calls `run`.

    `dev_fd` is the session's /dev/fuse, and belongs to the caller. `memory` limits what is kept of writes that end later.
    """

    def __cinit__(self, *args, **kwargs):
        self.ring.fd = -1
        self.wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)
        if self.wake_fd < 0:
            raise OSError("no eventfd to wake a receiver by")

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
        int busy_poll_us,
    ):
        self.handles, self.handover, self.layer, self.memory = handles, handover, layer, memory
        self.placement, self.kept = placement, kept
        self.queue, self.channel, self.dev_fd = queue, channel, dev_fd
        self.busy_poll_ns = busy_poll_us * 1000
        self.entry_count = max(handover.background + PLACES_FOR_OTHERS, <int>LEAST_ENTRIES)
        self.is_set_up = threading.Event()

    def __dealloc__(self):
        self.close()
        free(self.entries)
        if self.headers != NULL:
            munmap(self.headers, self.entry_count * sizeof(EntryHeader))
        if self.payloads != NULL:
            munmap(self.payloads, self.entry_count * <uint64_t>STRIDE_BYTES)
        if self.wake_fd >= 0:
            os.close(self.wake_fd)

    def run(self):
        """Set up what can be before the session is; then receive requests until `stop`."""
        cdef bytes name = b"zramfs-ring-%d" % self.queue
        prctl(PR_SET_NAME, <const char *>name)
        with nogil:
            self.failure = self.open()
        self.is_set_up.set()
        try:
            if self.failure == 0:
                with nogil:
                    self.receive()
        finally:
            self.close()

    def stop(self):
        """Let `run` return when what has begun is answered. From any thread."""
        store_int(&self.is_stopping, True)
        eventfd_write(self.wake_fd, 1)

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

    @property
    def payload_memory_bytes(self):
        """What payloads may hold of memory."""
        return peek_u64(&self.touched_bytes)

    # ---- beginning and end ----------------------------------------------------------------------------------------

    cdef int open(self) noexcept nogil:
        """Make the ring, which belongs to the thread from then on, and the room for requests. 0, or an errno."""
        cdef int number, failure
        cdef Entry *entry
        self.go_to_seat()
        failure = io_ring_open(&self.ring, MOST_SUBMISSIONS, 2 * self.entry_count)
        if failure == 0:
            failure = io_ring_end_with_thread(&self.ring, ANCHOR)  # or a daemon that is killed would leave its mount behind
        if failure:
            return -failure
        self.entries = <Entry *>calloc(self.entry_count, sizeof(Entry))
        self.headers = <EntryHeader *>map_memory(NULL, self.entry_count * sizeof(EntryHeader), 0)
        self.payloads = map_memory(NULL, self.entry_count * <uint64_t>STRIDE_BYTES, 0)
        if self.entries == NULL or self.headers == NULL or self.payloads == NULL:
            return ENOMEM
        for number in range(self.entry_count):
            entry = &self.entries[number]
            entry.receiver = <void *>self
            entry.header = &self.headers[number]
            entry.payload = self.payloads + number * <uint64_t>STRIDE_BYTES
            entry.way_back.entry = entry
            entry.way_back.origin.reply = reply_to_handed_over
            entry.room[0].iov_base, entry.room[0].iov_len = entry.header, sizeof(EntryHeader)
            entry.room[1].iov_base, entry.room[1].iov_len = entry.payload, DATA_BYTES
        return 0

    cdef void close(self) noexcept nogil:
        """Give the ring up: the kernel takes its entries back."""
        io_ring_close(&self.ring)

    cdef void begin(self) noexcept nogil:
        """INIT is answered: the kernel takes entries. From any thread."""
        store_int(&self.has_begun, True)
        eventfd_write(self.wake_fd, 1)

    cdef void receive(self) noexcept nogil:
        cdef sigset_t every_signal
        sigfillset(&every_signal)
        pthread_sigmask(SIG_BLOCK, &every_signal, NULL)  # they are the main thread's
        if not self.await_begin():
            return
        self.watch_wake_fd()
        self.register_entries()
        self.enter(False, 0)
        while not self.is_done():
            if peek_i64(&self.layer.runs_in_flight):
                self.await_near_event()
            if not self.take_ended() and not self.reap():
                self.pass_time()

    cdef bint await_begin(self) noexcept nogil:
        """Wait until the kernel takes entries; False if it does not come to that."""
        cdef pollfd watched
        watched.fd, watched.events = self.wake_fd, POLLIN
        while not load_int(&self.has_begun) and not load_int(&self.is_stopping):
            poll(&watched, 1, -1)
            self.wake_up()
        return not load_int(&self.is_stopping)

    cdef bint is_done(self) noexcept nogil:
        """Whether nothing more is to be answered; pyfuse3 has a second for what it owes."""
        if not load_int(&self.is_stopping):
            return False
        if self.answers_end_ns == 0:
            self.answers_end_ns = monotonic_ns() + ANSWERS_NS
        if self.begun or self.ring.unsubmitted:
            return False
        return self.handed_over_now == 0 or monotonic_ns() > self.answers_end_ns

    cdef void register_entries(self) noexcept nogil:
        """Give the kernel all entries: the connection changes over when every queue has one."""
        cdef int number
        for number in range(self.entry_count):
            self.command(&self.entries[number], REGISTER, 0)

    cdef void command(self, Entry *entry, int operation, uint64_t commit_id) noexcept nogil:
        cdef io_ring_sqe *sqe = self.submission()
        cdef EntryCommand *arguments = <EntryCommand *>sqe.arguments
        sqe.opcode = IO_RING_URING_CMD
        sqe.fd = self.dev_fd
        sqe.command = operation
        sqe.user_data = entry - self.entries
        if operation == REGISTER:
            sqe.address = <uint64_t>&entry.room
            sqe.length = 2
        arguments.commit_id = commit_id
        arguments.queue = self.queue

    cdef io_ring_sqe *submission(self) noexcept nogil:
        """Return the next entry to fill in, zeroed."""
        while self.ring.unsubmitted == MOST_SUBMISSIONS:
            self.enter(False, 0)
        return io_ring_next(&self.ring)

    cdef void watch_wake_fd(self) noexcept nogil:
        cdef io_ring_sqe *sqe = self.submission()
        sqe.opcode = IO_RING_POLL_ADD
        sqe.fd = self.wake_fd
        sqe.events = POLLIN
        sqe.length = IO_RING_POLL_MULTISHOT
        sqe.user_data = WAKE

    cdef void wake_up(self) noexcept nogil:
        cdef uint64_t ignored
        eventfd_read(self.wake_fd, &ignored)

    # ---- requests -------------------------------------------------------------------------------------------------

    cdef bint reap(self) noexcept nogil:
        """Take the requests that are there; False if there was none."""
        cdef const io_ring_cqe *cqe = io_ring_peek(&self.ring)
        cdef int64_t now_ns = 0
        cdef uint64_t number
        cdef uint32_t flags
        cdef int result
        if cqe == NULL:
            return False
        while cqe != NULL:
            now_ns = monotonic_ns()
            self.note_awake(now_ns)
            number, result, flags = cqe.user_data, cqe.result, cqe.flags
            io_ring_seen(&self.ring)
            if number == WAKE:
                self.wake_up()
                self.follow_io_flusher()
                if not flags & IO_RING_MORE:
                    self.watch_wake_fd()
            elif number == TICK:
                self.end_second()
            elif result:
                self.lose(-result)
            elif not load_int(&self.is_stopping):  # nobody answers it then: the session ends
                self.note(&self.entries[number], now_ns)
                self.take(&self.entries[number])
            cqe = io_ring_peek(&self.ring)
            if self.ring.unsubmitted >= BATCH and cqe != NULL:
                self.enter(False, 0)
        self.take_seat(now_ns)
        if now_ns > self.turn_ends_ns:
            self.have_turn(now_ns)
        return True

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

    cdef void take(self, Entry *entry) noexcept nogil:
        """Deal with the request in an entry."""
        cdef Verdict verdict
        self.touch(entry, entry.header.entry.payload_bytes)
        entry.is_ours = True
        entry.is_handed_over = entry.is_kept = False
        verdict = read_request(
            &entry.request, <fuse_in_header *>entry.header.in_out, entry.header.arguments, entry.payload, self.handles
        )
        if verdict == SUBMIT:
            self.submit(entry)
        elif verdict == ANSWER:
            self.answer(entry)
        else:
            self.hand_over(entry)

    cdef void hand_over(self, Entry *entry) noexcept nogil:
        """Leave a request to pyfuse3, as soon as there is memory for that. Its first argument is not in the payload."""
        cdef fuse_in_header *header = <fuse_in_header *>entry.header.in_out
        cdef uint64_t payload_bytes = entry.header.entry.payload_bytes
        entry.request.unique = header.unique
        entry.is_handed_over = True
        self.handed_over_now += 1
        while not self.handover.hand_over(
            &entry.way_back.origin,
            header,
            entry.header.arguments,
            header.len - sizeof(fuse_in_header) - payload_bytes,
            entry.payload,
            payload_bytes,
        ):
            usleep(NO_MEMORY_US)
            if load_int(&self.is_stopping):
                return

    cdef void submit(self, Entry *entry) noexcept nogil:
        """Submit the bio; its entry waits until it ends."""
        cdef Bio *bio = &entry.request.bio
        bio.end = end_bio
        bio.owner = <void *>self
        bio.channel = self.channel
        if bio.operation == READ:
            if bio.size_bytes > DATA_BYTES:
                bio.error = EINVAL  # more than INIT's answer allows
                self.answer(entry)
                return
            bio.data = entry.payload
            self.touch(entry, bio.size_bytes)
        elif bio.operation == WRITE:
            bio.is_urgent = not self.may_be_kept(entry)
        poke_i64(&self.begun, self.begun + 1)
        if submit_request(&entry.request) != ENDED:
            self.keep(entry)

    cdef bint may_be_kept(self, Entry *entry) noexcept nogil:
        """Whether a write may end later: there is memory for its data, and room for reads beside it."""
        if not self.memory.has_room(entry.touched_bytes):
            self.forget(entry, entry.request.bio.size_bytes)
            if not self.memory.has_room(entry.touched_bytes):
                return False
        if peek_i64(&self.kept.writes) < self.handover.background - PLACES_FOR_READS:  # synchronous ones have entries as well
            return True
        return not may_stall(entry.request.disk)

    cdef void keep(self, Entry *entry) noexcept nogil:
        """Count the memory of a write that ends later."""
        if entry.request.bio.operation == WRITE:
            entry.is_kept = True
            entry.held_bytes = entry.touched_bytes
            self.memory.hold(entry.held_bytes)
            add_i64(&self.kept.writes, 1)

    cdef void lose(self, int error) noexcept nogil:
        """The kernel does not want an entry any more: the session has ended, or it never took it.

        A queue without entries, of a connection that uses io_uring, would let everybody wait for ever: the session ends.
        """
        poke_int(&self.lost, self.lost + 1)
        if error == ENOTCONN or error == ECONNABORTED:
            return
        if self.lost == 1:
            with gil:
                _log.warning("queue %d of io_uring is not used as it should be: %s", self.queue, os.strerror(error))
        if self.lost == self.entry_count and error != EOPNOTSUPP:  # which means that all comes by /dev/fuse
            self.handover.end(error)

    # ---- replies --------------------------------------------------------------------------------------------------

    cdef void push_ended(self, Entry *entry) noexcept nogil:
        """Give an entry to the thread that answers it. On any thread."""
        cdef uint64_t first = load_u64(<uint64_t *>&self.ended)
        entry.next = <Entry *>first
        while not compare_exchange_u64(<uint64_t *>&self.ended, &first, <uint64_t>entry):
            entry.next = <Entry *>first
        fence()
        if peek_int(&self.is_asleep) and exchange_int(&self.is_asleep, False):
            eventfd_write(self.wake_fd, 1)

    cdef bint take_ended(self) noexcept nogil:
        """Answer what has ended; False if there is nothing."""
        cdef Entry *entry
        cdef Entry *next_one
        if peek_u64(<uint64_t *>&self.ended) == 0:
            return False
        entry = <Entry *>exchange_u64(<uint64_t *>&self.ended, 0)
        while entry != NULL:
            next_one = entry.next
            self.finish(entry)
            entry = next_one
        return True

    cdef void finish(self, Entry *entry) noexcept nogil:
        if entry.is_handed_over:
            self.handed_over_now -= 1
            self.touch(entry, entry.header.entry.payload_bytes)
            self.commit(entry)
            return
        if entry.is_kept:
            self.memory.let_go(entry.held_bytes)
            add_i64(&self.kept.writes, -1)
        self.answer(entry)
        poke_i64(&self.begun, self.begun - 1)

    cdef void answer(self, Entry *entry) noexcept nogil:
        """Write the reply into the entry, and let it leave with the next `enter`."""
        cdef Reply reply
        make_reply(&entry.request, &reply)
        memcpy(entry.header.in_out, &reply.header, sizeof(reply.header))
        memcpy(entry.payload, &reply.argument, reply.argument_bytes)
        entry.header.entry.payload_bytes = <uint32_t>(reply.argument_bytes + reply.data_bytes)
        self.commit(entry)

    cdef void commit(self, Entry *entry) noexcept nogil:
        if self.touched_bytes > MOST_TOUCHED_BYTES:
            self.forget(entry, max(<uint64_t>FORGOTTEN_BYTES, entry.header.entry.payload_bytes))
        entry.is_ours = False
        self.command(entry, COMMIT_AND_FETCH, entry.request.unique)

    # ---- memory ---------------------------------------------------------------------------------------------------

    cdef void touch(self, Entry *entry, uint64_t size_bytes) noexcept nogil:
        if size_bytes > entry.touched_bytes:
            poke_u64(&self.touched_bytes, self.touched_bytes + size_bytes - entry.touched_bytes)
            entry.touched_bytes = size_bytes

    cdef void forget(self, Entry *entry, uint64_t size_bytes) noexcept nogil:
        """Give back the memory of a payload behind so many bytes."""
        cdef uint64_t kept_bytes = (size_bytes + PAGE_BYTES - 1) & ~<uint64_t>(PAGE_BYTES - 1)
        cdef uint8_t *rest = entry.payload + kept_bytes
        if entry.touched_bytes <= kept_bytes:
            return
        if madvise(rest, entry.touched_bytes - kept_bytes, MADV_DONTNEED) and (
            madvise(rest, entry.touched_bytes - kept_bytes, MADV_DONTNEED_LOCKED)
        ):
            return
        poke_u64(&self.touched_bytes, self.touched_bytes - (entry.touched_bytes - kept_bytes))
        entry.touched_bytes = kept_bytes

    cdef void trim(self) noexcept nogil:
        """Give back what an idle mount does not need. The kernel writes into its entries only when we enter the ring."""
        cdef int number
        for number in range(self.entry_count):
            if not self.entries[number].is_ours:
                self.forget(&self.entries[number], 0)

    # ---- no request -----------------------------------------------------------------------------------------------

    cdef void enter(self, bint waits, int64_t timeout_ns) noexcept nogil:
        """Let replies leave, and requests come. What it fails for (a signal, the end of the time) is no failure."""
        io_ring_enter(&self.ring, waits, timeout_ns)

    cdef void pass_time(self) noexcept nogil:
        """Go on with what is begun; or poll for the next request for a while; or sleep. Replies leave first."""
        cdef int64_t now_ns = monotonic_ns()
        if self.has_work():
            self.enter(False, 0)
            if io_ring_peek(&self.ring) != NULL:
                return
            if self.layer.work(self.channel, now_ns + SLICE_NS):
                self.spin_ends_ns = 0
                self.turn_ends_ns = monotonic_ns() + TURN_NS
                return
        if self.spin_ends_ns == 0:
            self.spin_ends_ns = self.spin_end(now_ns)
        self.empty_looks += 1
        if now_ns < self.spin_ends_ns:
            self.enter(False, 0)
        else:
            self.sleep(now_ns)
            self.spin_ends_ns = 0

    cdef bint has_work(self) noexcept nogil:
        """Whether there are large bios or runs to go on with, of this queue's callers.

        Those of others would take the CPU from ours, who wait for nothing large: beside a flood on the other CPU a
        synchronous writer of 4K had a 99th percentile of 1.6 ms that way.
        """
        return self.begun > 0 and (peek_u64(&self.layer.queued) or peek_i64(&self.layer.runs_in_flight))

    cdef void have_turn(self, int64_t now_ns) noexcept nogil:
        """Give large bios and accelerators a slice, however many requests there are."""
        if self.has_work():
            self.enter(False, 0)
            self.layer.work(self.channel, now_ns + SLICE_NS)
        self.turn_ends_ns = monotonic_ns() + TURN_NS

    cdef int64_t spin_end(self, int64_t now_ns) noexcept nogil:
        """How long to poll for the next request: not at home, where its caller needs the CPU to send it."""
        cdef int64_t event_ns = self.layer.next_event_ns()
        if event_ns != NEVER_NS:
            return event_ns if event_ns - now_ns < SOON_NS else now_ns
        return now_ns + self.busy_poll_ns if self.placement.is_away(self.queue) else now_ns

    cdef void sleep(self, int64_t now_ns) noexcept nogil:
        """Wait for a request, or for somebody who wakes us.

        There is no end of time in this wait, but where the session ends: it would cost each request a timer.
        """
        store_int(&self.is_asleep, True)
        fence()
        if peek_u64(<uint64_t *>&self.ended):
            store_int(&self.is_asleep, False)
            return
        if self.asleep_since_ns == 0:
            self.asleep_since_ns = now_ns
        self.enter(True, STOPPING_NS if load_int(&self.is_stopping) else -1)
        store_int(&self.is_asleep, False)
        self.empty_looks = 2

    cdef void note_awake(self, int64_t now_ns) noexcept nogil:
        if self.asleep_since_ns:
            self.slept_ns += now_ns - self.asleep_since_ns
            self.asleep_since_ns = 0

    cdef void begin_second(self) noexcept nogil:
        """Have the ring tell when a second is over."""
        cdef io_ring_sqe *sqe = self.submission()
        self.is_ticking = True
        self.requests_at_tick = self.requests_now
        self.tick.seconds, self.tick.nanoseconds = IDLE_S, 0
        sqe.opcode = IO_RING_TIMEOUT
        sqe.fd = -1
        sqe.address = <uint64_t>&self.tick
        sqe.length = 1
        sqe.user_data = TICK

    cdef void end_second(self) noexcept nogil:
        """Give memory back if no request came in it."""
        self.is_ticking = False
        if self.requests_now != self.requests_at_tick:
            self.begin_second()
        else:
            self.trim()

    cdef void await_near_event(self) noexcept nogil:
        """Wait for what an accelerator is about to finish, if that is so near that a look for a request would be late."""
        cdef int64_t event_ns = self.layer.next_event_ns()
        if event_ns - monotonic_ns() >= LOOK_NS:
            return
        while monotonic_ns() < event_ns:
            pass
        self.layer.attend()

    cdef void take_seat(self, int64_t now_ns) noexcept nogil:
        """Move to another CPU, or home, where that is due."""
        if self.placement.is_due(self.queue, now_ns) and self.placement.review(
            self.queue, now_ns, thread_ns() + self.slept_ns
        ):
            self.go_to_seat()

    cdef void go_to_seat(self) noexcept nogil:
        cdef int cpu = self.placement.seats[self.queue].cpu
        if cpu >= 0:
            run_on(cpu)

    cdef void follow_io_flusher(self) noexcept nogil:
        cdef bint is_wanted = peek_int(&self.wants_io_flusher)
        if is_wanted != self.is_io_flusher:
            self.is_io_flusher = is_wanted
            prctl(PR_SET_IO_FLUSHER, <unsigned long>is_wanted, <unsigned long>0, <unsigned long>0, <unsigned long>0)

    def __repr__(self):
        return f"<UringReceiver of queue {self.queue}: {self.requests} requests, {peek_i64(&self.begun)} in flight>"


cdef class UringReceivers:
    """The receivers of a session, which begin together, when the kernel takes their entries."""

    def __init__(self, receivers):
        self.receivers = list(receivers)

    def begin_with(self, Handover handover not None):
        """Let them begin when INIT is answered, and ask for io_uring there."""
        handover.init_flags = handover.init_flags | FUSE_OVER_IO_URING
        handover.initialised = begin_all
        handover.initialised_owner = <void *>self


cdef void begin_all(void *owner) noexcept nogil:
    with gil:
        for receiver in (<UringReceivers>owner).receivers:
            (<UringReceiver>receiver).begin()


cdef void end_bio(Bio *bio) noexcept nogil:
    (<UringReceiver>bio.owner).push_ended(<Entry *>bio)


cdef bint may_stall(void *disk) noexcept nogil:
    """Whether an asynchronous write may have to wait for a stream. The disk is open: its streams stay, if it has a size."""
    return load_u64(&(<Disk>disk).size_now) and (<Disk>disk).zcomp.may_stall()


cdef ssize_t reply_to_handed_over(Origin *origin, uint64_t unique, const iovec *iov, int count) noexcept nogil:
    """Write pyfuse3's reply into the entry of its request, and let the queue's thread send it."""
    cdef Entry *entry = (<EntryOrigin *>origin).entry
    cdef fuse_out_header *header = <fuse_out_header *>entry.header.in_out
    cdef uint64_t payload_bytes = 0
    cdef ssize_t length
    cdef int i
    memcpy(header, iov[0].iov_base, sizeof(fuse_out_header))
    for i in range(1, count):
        if payload_bytes + iov[i].iov_len > DATA_BYTES:
            header.error = -EIO
            payload_bytes = 0
            break
        memcpy(entry.payload + payload_bytes, iov[i].iov_base, iov[i].iov_len)
        payload_bytes += iov[i].iov_len
    entry.header.entry.payload_bytes = <uint32_t>payload_bytes
    length = sizeof(fuse_out_header) + payload_bytes
    header.len = <uint32_t>length
    (<UringReceiver>entry.receiver).push_ended(entry)  # the entry is its thread's from here on
    return length
