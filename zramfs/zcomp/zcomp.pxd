from libc.stdint cimport int64_t, uint8_t, uint64_t

from zramfs.codec.run cimport PageCodec, RunCompressor
from zramfs.streams cimport RunEnd, Stream, StreamManager, Waiter
from zramfs.threads cimport pthread_mutex_t

# Which kind of stream took pages.
cdef enum Kind:
    PERCPU = 0
    MANAGED = 1
    FALLBACK = 2        # a per-CPU stream, of a write that prefers managed ones

# What `Zcomp.choose` answers.
cdef enum Answer:
    COMPLETE            # the run is compressed: commit it, and `put_stream`
    BEGUN_RUN           # `end` is called when it is, on any thread, or has been; then likewise
    HAS_TO_WAIT         # no page is taken: `await_stream`, and choose again

cdef struct Choice:
    void *stream        # a Stream, borrowed, of a complete run; a begun one's may be anybody's by now
    int taken           # pages of the run
    int kind            # a Kind

cdef class PercpuStream(Stream):
    cdef readonly PageCodec codec
    cdef RunCompressor compressor
    cdef pthread_mutex_t mutex      # of all that follows, and of what the run and the codec hold
    cdef readonly uint64_t pages    # compressed so far; atomic for those who only look
    cdef readonly uint64_t fallback_pages   # of these: likewise
    cdef readonly uint64_t waits    # how often the lock was waited for; atomic
    cdef char apart[64]             # the next stream in memory is another CPU's: no line of the cache has both

    cdef void lock(self) noexcept nogil
    cdef void unlock(self) noexcept nogil

cdef class Zcomp:
    cdef readonly object backend
    cdef readonly object params
    cdef readonly PageCodec codec   # decompresses, on the event loop's thread
    cdef readonly bint any_thread   # otherwise all that follows is for the event loop's thread only
    cdef StreamManager manager
    cdef dict percpu                # PercpuStreams by CPU
    cdef void **stream_of_cpu       # the same by number of the CPU, borrowed, of which there are `cpus`
    cdef int cpus
    cdef int policy_number          # a rule.Policy; atomic
    cdef char apart[64]
    cdef uint64_t managed_pages     # atomic

    cdef int choose(
        self,
        const uint8_t *first_page,
        int pages,
        bint is_async,
        bint may_begin,
        RunEnd end,
        void *owner,
        uint64_t page,
        Choice *choice,
    ) noexcept nogil
    cdef int make_percpu_streams(self, list own_cpus) except -1
    cdef void compress_here(self, const uint8_t *first_page, int pages, Choice *choice) noexcept nogil
    cdef void *stream_here(self) noexcept nogil
    cdef bint may_poll(self, int64_t pages) noexcept nogil
    cdef void *lock_percpu(self) noexcept nogil
    cdef void put_stream(self, void *stream) noexcept nogil
    cdef bint is_nowait(self, int64_t pages, bint is_async) noexcept nogil
    cdef int one_go_pages(self) noexcept nogil
    cdef bint prefers_managed(self, bint is_async) noexcept nogil
    cdef bint may_stall(self) noexcept nogil
    cdef bint await_stream(self, Waiter *waiter) noexcept nogil
    cdef int64_t next_event(self) noexcept nogil
    cdef bint reap(self) noexcept nogil
    cdef bint lend_hand(self) noexcept nogil
