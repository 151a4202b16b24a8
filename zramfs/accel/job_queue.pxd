from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

from zramfs.codec.run cimport CompressedPage
from zramfs.threads cimport pthread_cond_t, pthread_mutex_t

cdef enum:
    # Jobs that an engine takes in one go: enough that the lock and the wake-up disappear beside 8 x 6 µs of
    # compression, few enough that two engines share a run of 16 pages.
    BATCH_DESCRIPTORS = 8
    # What is taken in one go where a thread that polls works on its run as well: both sides should end at about the
    # same time.
    SHARED_DESCRIPTORS = 2
    POLLED = -1                         # for `wanted_ns`: whoever submits the run waits for its end

# One page's work. `mark` is a word of whoever queued it to whoever works on it.
cdef struct Job:
    const uint8_t *page
    CompressedPage *result
    uint32_t run_number
    uint8_t mark

# A run whose last page is done.
cdef struct Finished:
    int64_t at_ns
    uint32_t number

cdef class JobQueue:
    cdef readonly int queue_depth
    cdef int completion_fd
    cdef uint32_t *unfinished           # by run number: jobs still to do
    cdef int64_t *wanted_ns             # by run number: before when its end is nobody's business; or AT_ONCE, or POLLED
    cdef Job *jobs                      # circular, from head to tail
    cdef uint32_t head, tail, queued, idle_workers
    cdef Finished *finished
    cdef uint32_t finished_count
    cdef uint32_t wanted_count          # those of them that are to be told at once
    cdef uint32_t run_count             # runs submitted and not yet reaped
    cdef uint32_t polled_runs           # those of them whose submitters wait for their ends themselves
    cdef bint is_signalled              # an interrupt is on its way
    cdef uint64_t doorbells, interrupts
    cdef pthread_mutex_t lock
    cdef pthread_cond_t doorbell

    cdef uint32_t queue(
        self, uint32_t run_number, CompressedPage *pages, int count, const uint8_t *marks, int64_t wanted_ns
    ) noexcept nogil
    cdef void ring_doorbell(self, uint32_t engines) noexcept nogil
    cdef bint has_finished(self) noexcept nogil
    cdef uint32_t reap(self, Finished *finished) noexcept nogil
    cdef void tell_at_once(self, uint32_t run_number) noexcept nogil
    cdef void drop_queued(self, int status) noexcept nogil
    cdef int take_first(self, Job *batch) noexcept nogil
    cdef int take_last(self, Job *batch) noexcept nogil
    cdef void finish(self, const Job *batch, int count) noexcept nogil
    cdef void signal(self) noexcept nogil
