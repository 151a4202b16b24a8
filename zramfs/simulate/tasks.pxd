from libc.stdint cimport int64_t, uint8_t, uint64_t

from zramfs.simulate.cpus cimport Cpus
from zramfs.simulate.heap cimport EventHeap

cdef enum:
    MOST_WAITING = 65536    # arrivals of an open flow that wait for a task

# Kinds of request: `flows`.
cdef enum RequestKind:
    SYNC_WRITE
    ASYNC_WRITE
    READ
    KINDS

# Where a task goes on when its segment is done, or when it is woken up.
cdef enum State:
    TAKES                   # takes its next request
    MADE                    # it: the caller has filled its pages
    CHOOSES                 # a stream, for the next pages of its request
    LOCKS                   # a stream of its CPU
    HAS_COMPRESSED          # or decompressed; the stream is locked
    HAS_STORED              # likewise, and the pages are in the pool, or loaded
    HAS_SUBMITTED           # a run, and goes on without it
    AWAITS                  # the end of its run
    HAS_POLLED              # and the run is ready
    HAS_COMMANDED           # a device to decompress, and polled until it had
    COMPLETES               # its run: pays for the completion
    REDOES                  # pages of its run in software
    HAS_REDONE
    ENDS_RUN                # its pages are stored: the descriptors are given back
    # Of a daemon and its callers:
    HANDS_OVER              # its request, to the daemon
    SERVES                  # looks for what there is to do, as the receiver
    HAS_RECEIVED            # a request
    HAS_ANSWERED            # a request, or has ended a part of it: with the last its pages were let go
    HELPS                   # likewise, as one of the crew
    ENGINE_LOOKS            # for pages, as an emulated engine
    ENGINE_WORKED           # on some
    LOOPS                   # looks for runs that a device has told of, as the event loop

# What a server has in hand.
cdef enum InHand:
    ONE_GO                  # a request, until it is done with
    A_SHARE                 # some pages of one from the backlog
    A_RUN                   # of the first in the backlog, for a device
    A_COMPLETION            # of a run

cdef struct Arrival:
    int64_t at_ns
    int pages
    int kind

cdef struct Request:
    int64_t arrival_ns
    int task
    int next_request
    int kind
    int pages
    int left                # pages that no stream has yet
    int parts               # runs in flight, and one while its task works on it
    bint is_shared          # by receiver and crew

cdef struct Task:
    int flow                # NOBODY: of a daemon
    int cpu
    int state
    int home                # the state that follows a request
    int in_hand             # an InHand, of a server
    int first_ended, last_ended     # of its requests, of which it has not learnt yet
    int64_t hot_until_ns    # it spins until then, and needs no wake-up
    int request             # that it works on, or NOBODY
    int first_request       # of its own: as many as the flow's depth
    int first_free          # of an open flow's
    int first_due, last_due # of a closed flow's, that may begin
    int batch_ended         # of a batch's requests
    int reads_ended         # since the last batch
    int next_idle
    int next_waiting        # for a lock, or for a descriptor
    int kind_of_stream      # a StreamKind
    int taken               # pages that it has in hand
    int device, run         # that it has in hand
    int64_t since_ns        # when it began to wait for a lock
    bint is_asleep          # or it spins
    bint has_spun           # in vain
    bint is_idle            # in the list of its flow
    bint is_called          # by those who have a descriptor for it
    bint is_told            # of its run

cdef struct Flow:
    int load
    int after               # a load that has to end before, or NOBODY
    int depth
    int pages
    int kind
    int burst
    bint is_open
    bint in_batches
    int reads_first         # before each batch, one by one
    int read_pages
    bint thinks_exponentially
    double think_ns
    double make_ns
    double gap_ns
    uint64_t random
    int first_idle, last_idle
    Arrival *waiting        # circular, MOST_WAITING; of an open flow
    int64_t first_waiting, waiting_count
    const int64_t *trace_ns # or NULL
    const int *trace_pages
    const uint8_t *trace_kinds
    int64_t trace_count, trace_place
    double speed
    int64_t origin_ns       # when it began
    uint64_t limit          # of requests; 0: none
    uint64_t due            # that have become due, of a closed flow
    uint64_t submitted, ended, dropped

cdef class Tasks:
    cdef EventHeap heap
    cdef readonly Cpus cpus
    cdef Flow *flows
    cdef Task *tasks
    cdef Request *requests
    cdef int flow_count, task_count
    cdef int first_server                   # the tasks from there on are a daemon's
    cdef list kept                          # what the pointers of the flows point into
    cdef int64_t warmup_ns, end_ns
    cdef int64_t wake_ns
    cdef bint is_measured

    cdef int _set_trace(self, Flow *flow, trace) except -1
    cdef int _set_up_task(self, int number, int flow, int cpu, int first_request) except -1
    cdef int _first_cpu_of(self, int task) noexcept nogil
    cdef void _be_idle(self, int task) noexcept nogil
    cdef void wake(self, int64_t now_ns, int task) noexcept nogil
    cdef void sleep(self, int task, int state) noexcept nogil
