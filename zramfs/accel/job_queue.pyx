# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""A device's queue of jobs, one page each, and the interrupt by which it tells of finished runs: an eventfd.

Who works them off is `ring`'s matter. Each method but those at the end takes the lock.
"""

import os

from libc.stdlib cimport calloc, free
from libc.string cimport memcpy

from zramfs.atomic cimport peek_u32, poke_u32
from zramfs.clock cimport monotonic_ns
from zramfs.events cimport EFD_CLOEXEC, EFD_NONBLOCK, eventfd, eventfd_read, eventfd_write
from zramfs.threads cimport (
    pthread_cond_destroy,
    pthread_cond_init,
    pthread_cond_signal,
    pthread_mutex_destroy,
    pthread_mutex_init,
    pthread_mutex_lock,
    pthread_mutex_unlock,
)

cdef enum:
    # Finished runs that are worth an interrupt, which costs the event loop two turns (about 20 µs), while others are
    # still worked on.
    COALESCED_RUNS = 4
    # For `wanted_ns`, beside POLLED.
    AT_ONCE = 0


cdef class JobQueue:
    """`queue_depth` places for jobs. Raises OSError when the system refuses the eventfd."""

    def __cinit__(self, int queue_depth, *args, **kwargs):
        self.completion_fd = -1
        self.queue_depth = queue_depth
        self.unfinished = <uint32_t *>calloc(queue_depth, sizeof(uint32_t))
        self.wanted_ns = <int64_t *>calloc(queue_depth, sizeof(int64_t))
        self.jobs = <Job *>calloc(queue_depth, sizeof(Job))
        self.finished = <Finished *>calloc(queue_depth, sizeof(Finished))
        pthread_mutex_init(&self.lock, NULL)
        pthread_cond_init(&self.doorbell, NULL)
        if not (self.unfinished and self.wanted_ns and self.jobs and self.finished):
            raise MemoryError

    def __init__(self):
        self.completion_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)
        if self.completion_fd < 0:
            raise OSError("no eventfd for the accelerator's completions")

    def __dealloc__(self):
        pthread_cond_destroy(&self.doorbell)
        pthread_mutex_destroy(&self.lock)
        free(self.unfinished)
        free(self.wanted_ns)
        free(self.jobs)
        free(self.finished)

    def close(self):
        """Interrupt no more."""
        cdef int fd
        pthread_mutex_lock(&self.lock)
        fd = self.completion_fd
        self.completion_fd = -1
        pthread_mutex_unlock(&self.lock)
        if fd >= 0:
            os.close(fd)

    @property
    def fd(self):
        """Readable when the device interrupts; -1 once it is closed. For the event loop's thread, which closes it."""
        return self.completion_fd

    def counters(self):
        """Doorbells and interrupts by now."""
        pthread_mutex_lock(&self.lock)
        cdef uint64_t doorbells = self.doorbells
        cdef uint64_t interrupts = self.interrupts
        pthread_mutex_unlock(&self.lock)
        return {"doorbells": doorbells, "interrupts": interrupts}

    cdef uint32_t queue(
        self, uint32_t run_number, CompressedPage *pages, int count, const uint8_t *marks, int64_t wanted_ns
    ) noexcept nogil:
        """Queue a run's pages; how many engines to wake with `ring_doorbell`, while no lock is held.

        `run_number` (below queue_depth, one per run in flight) comes back from `reap` when all of them are done, and
        before `wanted_ns` that is not signalled. `marks` has a word for whoever works on each page, or is NULL.
        """
        cdef uint32_t wanted_workers, i
        pthread_mutex_lock(&self.lock)
        self.doorbells += 1
        self.wanted_ns[run_number] = wanted_ns
        self.unfinished[run_number] = count
        self.run_count += 1
        self.polled_runs += wanted_ns == POLLED
        for i in range(<uint32_t>count):
            self.jobs[self.tail].page = pages[i].page
            self.jobs[self.tail].result = &pages[i]
            self.jobs[self.tail].run_number = run_number
            self.jobs[self.tail].mark = marks[i] if marks != NULL else <uint8_t>0
            self.tail = (self.tail + 1) % self.queue_depth
        poke_u32(&self.queued, self.queued + count)
        wanted_workers = min(self.idle_workers, (self.queued + BATCH_DESCRIPTORS - 1) // BATCH_DESCRIPTORS)
        pthread_mutex_unlock(&self.lock)
        return wanted_workers

    cdef void ring_doorbell(self, uint32_t engines) noexcept nogil:
        cdef uint32_t i
        for i in range(engines):
            pthread_cond_signal(&self.doorbell)

    cdef bint has_finished(self) noexcept nogil:
        """Whether `reap` has something to take."""
        return peek_u32(&self.finished_count) > 0

    cdef uint32_t reap(self, Finished *finished) noexcept nogil:
        """Acknowledge the interrupt, if there is one; how many runs have finished since the last time.

        They are written to `finished`, which has room for `queue_depth`.
        """
        cdef uint64_t ignored
        cdef uint32_t count
        pthread_mutex_lock(&self.lock)
        if self.is_signalled:
            # Within the lock: an engine that signalled in between would have its signal swallowed.
            eventfd_read(self.completion_fd, &ignored)
            self.is_signalled = False
            self.interrupts += 1
        count = self.finished_count
        memcpy(finished, self.finished, count * sizeof(Finished))
        self.run_count -= count
        poke_u32(&self.finished_count, 0)
        self.wanted_count = 0
        pthread_mutex_unlock(&self.lock)
        return count

    cdef void tell_at_once(self, uint32_t run_number) noexcept nogil:
        """Signal the end of a run however early it comes, or came since the last `reap`."""
        pthread_mutex_lock(&self.lock)
        self.wanted_ns[run_number] = 1
        if self.finished_count and not self.unfinished[run_number] and not self.is_signalled:
            self.signal()
        pthread_mutex_unlock(&self.lock)

    cdef void drop_queued(self, int status) noexcept nogil:
        """Fail whatever nobody has begun with, with this status: the device is gone."""
        cdef Job job
        pthread_mutex_lock(&self.lock)
        while self.queued > 0:
            job = self.jobs[self.head]
            self.head = (self.head + 1) % self.queue_depth
            poke_u32(&self.queued, self.queued - 1)
            job.result.length = status
            self.finish(&job, 1)
        pthread_mutex_unlock(&self.lock)

    # ---- with the lock ---------------------------------------------------------------------------------------------

    cdef int take_first(self, Job *batch) noexcept nogil:
        """Take jobs from the head; how many. Few at a time while somebody polls for a run, so that all end together."""
        cdef int taken = 0
        cdef int most = BATCH_DESCRIPTORS if self.polled_runs == 0 else SHARED_DESCRIPTORS
        while taken < most and self.queued > 0:
            batch[taken] = self.jobs[self.head]
            self.head = (self.head + 1) % self.queue_depth
            poke_u32(&self.queued, self.queued - 1)
            taken += 1
        return taken

    cdef int take_last(self, Job *batch) noexcept nogil:
        """Take a few jobs from the tail; how many."""
        cdef int taken = 0
        while taken < SHARED_DESCRIPTORS and self.queued > 0:
            self.tail = (self.tail + self.queue_depth - 1) % self.queue_depth
            poke_u32(&self.queued, self.queued - 1)
            batch[taken] = self.jobs[self.tail]
            taken += 1
        return taken

    cdef void finish(self, const Job *batch, int count) noexcept nogil:
        """Count the jobs of a batch as done, and signal when enough runs are: the last one, or several."""
        cdef uint32_t number
        cdef int i
        cdef int64_t now_ns = monotonic_ns() if count else 0
        cdef bint is_overdue = False
        for i in range(count):
            number = batch[i].run_number
            self.unfinished[number] -= 1
            if self.unfinished[number]:
                continue
            if self.wanted_ns[number] == POLLED:
                self.polled_runs -= 1
                self.run_count -= 1
                continue
            self.finished[self.finished_count] = Finished(at_ns=now_ns, number=number)
            poke_u32(&self.finished_count, self.finished_count + 1)
            if self.wanted_ns[number] == AT_ONCE:
                self.wanted_count += 1
            elif self.wanted_ns[number] <= now_ns:
                is_overdue = True
        if self.is_signalled or not (is_overdue or self.wanted_count):
            return
        if is_overdue or self.finished_count == self.run_count or self.finished_count >= COALESCED_RUNS:
            self.signal()

    cdef void signal(self) noexcept nogil:
        self.is_signalled = True
        eventfd_write(self.completion_fd, 1)

    def __repr__(self):
        return f"<JobQueue of {self.queue_depth}, {self.queued} queued>"
