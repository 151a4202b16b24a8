# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""The emulated hardware: a queue of descriptors, one page each, and engines that work it off.

The engines are threads that never need the GIL between start and stop, unless the codec is Python. Threads of the
driver (`modelled`) queue runs, are told of finished ones through an eventfd, and may help.
"""

import os
import threading

from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy

from zramfs.accel.contexts cimport Context, ContextPool
from zramfs.accel.descriptor cimport DEVICE_GONE, NO_FAULT, Job, work_off
from zramfs.accel.work_meter cimport begin_work, end_work, work_ns
from zramfs.atomic cimport peek_int, peek_u32, poke_u32
from zramfs.clock cimport monotonic_ns
from zramfs.codec.run cimport CompressedPage, PageCodec, compress
from zramfs.events cimport EFD_CLOEXEC, EFD_NONBLOCK, eventfd, eventfd_read, eventfd_write
from zramfs.scheduling cimport take_long_slices
from zramfs.threads cimport (
    PR_SET_NAME,
    prctl,
    pthread_cond_broadcast,
    pthread_cond_destroy,
    pthread_cond_init,
    pthread_cond_signal,
    pthread_cond_wait,
    pthread_mutex_destroy,
    pthread_mutex_init,
    pthread_mutex_lock,
    pthread_mutex_unlock,
    sched_yield,
)

cdef enum:
    # Descriptors that an engine takes in one go: enough that the lock and the wake-up disappear beside 8 x 6 µs of
    # compression, few enough that two engines share a run of 16 pages.
    BATCH_DESCRIPTORS = 8
    # A polled run of up to so many pages is not worth an engine's wake-up, about 10 µs.
    ALONE_DESCRIPTORS = 4
    # What is taken in one go of a longer one: both sides should end at about the same time.
    HELPED_DESCRIPTORS = 2
    # How long an engine looks for more work before it sleeps.
    # 128K writes, depth 1: 1.40 GB/s with it, 0.85 without, the kernel's zram 1.37.
    SPIN_NS = 200000
    # Finished runs that are worth an interrupt, which costs the event loop two turns (about 20 µs), while others are
    # still worked on.
    COALESCED_RUNS = 4
    # For `wanted_ns`.
    AT_ONCE = 0
    POLLED = -1


cdef class DescriptorRing:
    """`queue_depth` descriptors worked off by as many engines as there are codecs in `engine_codecs`.

    `contexts` serve the driver's threads, where they do the engines' work. Raises OSError or RuntimeError when the
    system refuses the eventfd or a thread. Close it when nothing is in flight.
    """

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

    def __init__(self, int queue_depth, ContextPool contexts not None, engine_codecs):
        self.contexts = contexts
        self.threads = []
        self.completion_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)
        if self.completion_fd < 0:
            raise OSError("no eventfd for the accelerator's completions")
        try:
            for number, codec in enumerate(engine_codecs):
                thread = threading.Thread(
                    target=self._run_engine, args=(number, codec), name=f"engine-{number}", daemon=True
                )
                thread.start()
                self.threads.append(thread)
        except BaseException:
            self.close()
            raise
        self.engines = len(self.threads)

    def __dealloc__(self):
        pthread_cond_destroy(&self.doorbell)
        pthread_mutex_destroy(&self.lock)
        free(self.unfinished)
        free(self.wanted_ns)
        free(self.jobs)
        free(self.finished)

    def close(self):
        """Stop the engines once the queue is empty, and wait for their threads to end."""
        cdef int fd
        pthread_mutex_lock(&self.lock)
        self.closing = True
        pthread_cond_broadcast(&self.doorbell)
        pthread_mutex_unlock(&self.lock)
        for thread in self.threads:
            thread.join()
        self.threads = []
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

    @property
    def engine_count(self):
        """How many engine threads work."""
        return len(self.threads)

    def counters(self):
        """Doorbells and interrupts by now."""
        pthread_mutex_lock(&self.lock)
        cdef uint64_t doorbells = self.doorbells
        cdef uint64_t interrupts = self.interrupts
        pthread_mutex_unlock(&self.lock)
        return {"doorbells": doorbells, "interrupts": interrupts}

    # ---- the driver's side: on any thread, with no lock of the ring ---------------------------------------------

    cdef uint32_t queue(
        self, uint32_t run_number, CompressedPage *pages, int count, const uint8_t *faults, int64_t wanted_ns
    ) noexcept nogil:
        """Hand a run's pages to the engines; how many of them to wake with `ring_doorbell`, while no lock is held.

        `run_number` (below queue_depth, one per run in flight) comes back from `reap` when all of them are done, and
        before `wanted_ns` that is not signalled. `faults` says what happens to each page, or is NULL.
        """
        cdef uint32_t wanted_engines, i
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
            self.jobs[self.tail].fault = faults[i] if faults != NULL else <uint8_t>NO_FAULT
            self.tail = (self.tail + 1) % self.queue_depth
        poke_u32(&self.queued, self.queued + count)
        wanted_engines = min(self.idle_engines, (self.queued + BATCH_DESCRIPTORS - 1) // BATCH_DESCRIPTORS)
        pthread_mutex_unlock(&self.lock)
        return wanted_engines

    cdef void ring_doorbell(self, uint32_t engines) noexcept nogil:
        cdef uint32_t i
        for i in range(engines):
            pthread_cond_signal(&self.doorbell)

    cdef void compress_polled(self, uint32_t run_number, CompressedPage *pages, int count) noexcept nogil:
        """Compress a run before returning: a device that is polled.

        The caller's thread works off a short run alone; of a longer one the engines take what they can meanwhile,
        unless they would only wait for the GIL.
        """
        if count <= ALONE_DESCRIPTORS or self.engines == 0 or self.contexts.needs_gil:
            self.compress_alone(pages, count, NULL)
            return
        self.ring_doorbell(self.queue(run_number, pages, count, NULL, POLLED))
        self._await(run_number)

    cdef void compress_alone(self, CompressedPage *pages, int count, const uint8_t *faults) noexcept nogil:
        """Do the device's work on a run, with its faults, on the caller's thread alone."""
        cdef Context *context = self.contexts.get_locked()
        cdef int checks = peek_int(&self.checks)
        cdef Job job
        cdef int i
        for i in range(count):
            if faults == NULL:
                compress(<PageCodec>context.codec, pages[i].page, &pages[i])
            else:
                job.page, job.result, job.fault = pages[i].page, &pages[i], faults[i]
                work_off(<PageCodec>context.codec, &job, checks)
        self.contexts.put_unlocked(context)

    cdef void compress_page(self, const uint8_t *page, CompressedPage *result) noexcept nogil:
        """Compress one page on the caller's thread."""
        cdef Context *context = self.contexts.get_locked()
        compress(<PageCodec>context.codec, page, result)
        self.contexts.put_unlocked(context)

    cdef int repair_page(self, CompressedPage *page) noexcept nogil:
        """Compress a page that the device failed on in software; the status that it had."""
        cdef int status = page.length
        self.compress_page(page.page, page)
        return status

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
            self._signal()
        pthread_mutex_unlock(&self.lock)

    cdef void drop_queued(self) noexcept nogil:
        """Fail whatever no engine has begun with: the device is gone."""
        cdef Job job
        pthread_mutex_lock(&self.lock)
        while self.queued > 0:
            job = self.jobs[self.head]
            self.head = (self.head + 1) % self.queue_depth
            poke_u32(&self.queued, self.queued - 1)
            job.result.length = DEVICE_GONE
            self._finish(&job, 1)
        pthread_mutex_unlock(&self.lock)

    cdef bint help(self) noexcept nogil:
        """Work off a few of the queued pages on the caller's thread, which has nothing else to do; whether it did.

        It takes them from the tail of the queue, while the engines take theirs from its head.
        """
        cdef int64_t began_ns
        cdef int pages
        if peek_int(&self.engines_only) or peek_u32(&self.queued) == 0:
            return False
        pthread_mutex_lock(&self.lock)
        began_ns = begin_work(&self.helped)
        pages = self._help()
        end_work(&self.helped, began_ns, pages)
        pthread_mutex_unlock(&self.lock)
        return pages > 0

    cdef int64_t help_ns(self) noexcept nogil:
        """CPU time of those who helped, but for runs that they polled for."""
        cdef int64_t taken_ns
        pthread_mutex_lock(&self.lock)
        taken_ns = work_ns(&self.helped)
        pthread_mutex_unlock(&self.lock)
        return taken_ns

    cdef void _await(self, uint32_t run_number) noexcept nogil:
        """Help until a polled run is done."""
        pthread_mutex_lock(&self.lock)
        while self.unfinished[run_number]:
            if not self._help():
                pthread_mutex_unlock(&self.lock)
                sched_yield()  # an engine is at the last few pages
                pthread_mutex_lock(&self.lock)
        pthread_mutex_unlock(&self.lock)

    # ---- both sides: the lock is held, but for the work itself --------------------------------------------------

    cdef int _help(self) noexcept nogil:
        """Work off a few of the queued pages; how many."""
        cdef Job batch[HELPED_DESCRIPTORS]
        cdef int checks = peek_int(&self.checks)
        cdef int taken = self._fetch_last(batch)
        cdef Context *context
        cdef int i
        if taken == 0:
            return 0
        pthread_mutex_unlock(&self.lock)
        context = self.contexts.get_locked()
        for i in range(taken):
            work_off(<PageCodec>context.codec, &batch[i], checks)
        self.contexts.put_unlocked(context)
        pthread_mutex_lock(&self.lock)
        self._finish(batch, taken)
        return taken

    cdef void _finish(self, const Job *batch, int count) noexcept nogil:
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
            self._signal()

    cdef void _signal(self) noexcept nogil:
        self.is_signalled = True
        eventfd_write(self.completion_fd, 1)

    cdef int _fetch(self, Job *batch) noexcept nogil:
        cdef int taken = 0
        cdef int most = BATCH_DESCRIPTORS if self.polled_runs == 0 else HELPED_DESCRIPTORS
        while taken < most and self.queued > 0:
            batch[taken] = self.jobs[self.head]
            self.head = (self.head + 1) % self.queue_depth
            poke_u32(&self.queued, self.queued - 1)
            taken += 1
        return taken

    cdef int _fetch_last(self, Job *batch) noexcept nogil:
        cdef int taken = 0
        while taken < HELPED_DESCRIPTORS and self.queued > 0:
            self.tail = (self.tail + self.queue_depth - 1) % self.queue_depth
            poke_u32(&self.queued, self.queued - 1)
            batch[taken] = self.jobs[self.tail]
            taken += 1
        return taken

    # ---- the engines' side ------------------------------------------------------------------------------------

    def _run_engine(self, int number, PageCodec codec not None):
        cdef bytes name = b"zramfs-eng-%d" % number
        prctl(PR_SET_NAME, <const char *>name)
        take_long_slices()
        with nogil:
            self._work_off(codec)

    cdef void _work_off(self, PageCodec codec) noexcept nogil:
        cdef Job batch[BATCH_DESCRIPTORS]
        cdef int checks
        cdef int taken = 0
        cdef int i
        while True:
            pthread_mutex_lock(&self.lock)
            self._finish(batch, taken)
            if self.queued == 0 and taken > 0:
                self._spin()
            while self.queued == 0 and not self.closing:
                self.idle_engines += 1
                pthread_cond_wait(&self.doorbell, &self.lock)
                self.idle_engines -= 1
            taken = self._fetch(batch)
            pthread_mutex_unlock(&self.lock)
            if taken == 0:
                return
            checks = peek_int(&self.checks)
            for i in range(taken):
                work_off(codec, &batch[i], checks)

    cdef void _spin(self) noexcept nogil:
        """Look for more work for a while before sleeping, without the lock, which others need meanwhile."""
        cdef int64_t end_ns = monotonic_ns() + SPIN_NS
        if self.closing:
            return
        pthread_mutex_unlock(&self.lock)
        while peek_u32(&self.queued) == 0 and monotonic_ns() < end_ns:
            sched_yield()
        pthread_mutex_lock(&self.lock)

    def __repr__(self):
        return f"<DescriptorRing of {self.queue_depth}, {self.queued} queued, {len(self.threads)} engines>"
