# The receivers of FUSE over io_uring.

from libc.stdint cimport int64_t, uint8_t, uint64_t

from zramfs.block.bio cimport Bio
from zramfs.block.layer cimport BlockLayer
from zramfs.receive.handles cimport Handles
from zramfs.receive.handover cimport Handover, Origin
from zramfs.receive.placement cimport Placement
from zramfs.receive.protocol cimport iovec
from zramfs.receive.request cimport Request
from zramfs.receive.uring_protocol cimport EntryHeader, io_ring, io_ring_sqe, io_ring_time
from zramfs.request_memory cimport RequestMemory

# `origin` comes first: a reply finds its entry by it.
cdef struct EntryOrigin:
    Origin origin
    Entry *entry

# Room for one request, which the kernel or the receiver has. `request` comes first: a Bio's address is its entry's.
cdef struct Entry:
    Request request
    EntryOrigin way_back        # of what is handed over
    void *receiver
    Entry *next                 # among those that have ended
    EntryHeader *header
    uint8_t *payload
    iovec room[2]               # header and payload, as the kernel is told
    uint64_t touched_bytes      # of the payload, at the most: what may be resident
    uint64_t held_bytes         # as counted by the request memory, for a write that ends later
    bint is_ours                # not the kernel's
    bint is_handed_over         # its reply is written already
    bint is_kept                # a write that ends later

cdef class KeptWrites:
    cdef int64_t writes         # atomic

cdef class UringReceiver:
    cdef Handles handles
    cdef Handover handover
    cdef BlockLayer layer
    cdef RequestMemory memory
    cdef Placement placement
    cdef KeptWrites kept
    cdef readonly int queue
    cdef readonly int channel
    cdef readonly int entry_count
    cdef readonly int failure       # errno of what could not be set up; 0: nothing
    cdef int dev_fd
    cdef int wake_fd
    cdef io_ring ring
    cdef Entry *entries
    cdef EntryHeader *headers
    cdef uint8_t *payloads
    cdef uint64_t touched_bytes     # of all payloads
    cdef int64_t busy_poll_ns
    cdef readonly object is_set_up  # an Event
    cdef int empty_looks            # since the last request: for how long none was there
    cdef bint is_ticking            # the end of a second will show whether requests came in it
    cdef int64_t spin_ends_ns       # 0: a request has just been answered
    cdef int64_t turn_ends_ns
    cdef int64_t slept_ns
    cdef int64_t asleep_since_ns    # 0: not asleep
    cdef io_ring_time tick          # as the kernel reads it
    cdef uint64_t requests_at_tick
    cdef int64_t answers_end_ns     # 0: not stopping
    cdef int handed_over_now        # requests that pyfuse3 has yet to answer
    cdef bint is_io_flusher
    cdef char apart[64]
    cdef Entry *ended               # those that other threads are done with: atomic, and so is all that follows
    cdef int is_asleep
    cdef int has_begun
    cdef int is_stopping
    cdef int wants_io_flusher
    cdef int lost                   # entries that the kernel does not want any more
    cdef uint64_t requests_now
    cdef int64_t begun              # bios that end later

    cdef int open(self) noexcept nogil
    cdef void close(self) noexcept nogil
    cdef void begin(self) noexcept nogil
    cdef void receive(self) noexcept nogil
    cdef bint await_begin(self) noexcept nogil
    cdef void wake_up(self) noexcept nogil
    cdef void command(self, Entry *entry, int operation, uint64_t commit_id) noexcept nogil
    cdef void note(self, Entry *entry, int64_t now_ns) noexcept nogil
    cdef io_ring_sqe *submission(self) noexcept nogil
    cdef void register_entries(self) noexcept nogil
    cdef void watch_wake_fd(self) noexcept nogil
    cdef bint is_done(self) noexcept nogil
    cdef bint reap(self) noexcept nogil
    cdef void take(self, Entry *entry) noexcept nogil
    cdef void hand_over(self, Entry *entry) noexcept nogil
    cdef void submit(self, Entry *entry) noexcept nogil
    cdef bint may_be_kept(self, Entry *entry) noexcept nogil
    cdef void keep(self, Entry *entry) noexcept nogil
    cdef void lose(self, int error) noexcept nogil
    cdef void push_ended(self, Entry *entry) noexcept nogil
    cdef bint take_ended(self) noexcept nogil
    cdef void finish(self, Entry *entry) noexcept nogil
    cdef void answer(self, Entry *entry) noexcept nogil
    cdef void commit(self, Entry *entry) noexcept nogil
    cdef void touch(self, Entry *entry, uint64_t size_bytes) noexcept nogil
    cdef void forget(self, Entry *entry, uint64_t size_bytes) noexcept nogil
    cdef void trim(self) noexcept nogil
    cdef void enter(self, bint waits, int64_t timeout_ns) noexcept nogil
    cdef void pass_time(self) noexcept nogil
    cdef bint has_work(self) noexcept nogil
    cdef void have_turn(self, int64_t now_ns) noexcept nogil
    cdef int64_t spin_end(self, int64_t now_ns) noexcept nogil
    cdef void sleep(self, int64_t now_ns) noexcept nogil
    cdef void note_awake(self, int64_t now_ns) noexcept nogil
    cdef void begin_second(self) noexcept nogil
    cdef void end_second(self) noexcept nogil
    cdef void await_near_event(self) noexcept nogil
    cdef void take_seat(self, int64_t now_ns) noexcept nogil
    cdef void go_to_seat(self) noexcept nogil
    cdef void follow_io_flusher(self) noexcept nogil

cdef class UringReceivers:
    cdef readonly list receivers
