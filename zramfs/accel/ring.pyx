# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""The emulated hardware: a queue of descriptors, one page each, and engines that work it off.

The engines are threads that never need the GIL between start and stop. The driver (`driver`) submits, is told of
finished runs through an eventfd, and gives the descriptors back; all its calls come from the event loop's thread,
so only the two queues between it and the engines are locked.
"""

import os
import threading

from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcmp, memcpy

from zramfs.clock cimport monotonic_ns
from zramfs.codec.run cimport PAGE_BYTES, SAME_FILLED, SCRATCH_BYTES, CompressedPage, CompressedRun, PageCodec, compress
from zramfs.memory cimport LazyMemory
from zramfs.threads cimport (
    pthread_cond_broadcast,
    pthread_cond_destroy,
    pthread_cond_init,
    pthread_cond_signal,
    pthread_cond_wait,
    pthread_mutex_destroy,
    pthread_mutex_init,
    pthread_mutex_lock,
    pthread_mutex_unlock,
)

cdef extern from "<sys/eventfd.h>" nogil:
    int eventfd(unsigned int initial, int flags)
    int eventfd_read(int fd, uint64_t *value)
    int eventfd_write(int fd, uint64_t value)
    enum:
        EFD_CLOEXEC
        EFD_NONBLOCK

cdef extern from "<sched.h>" nogil:
    int sched_yield()

cdef extern from "<sys/prctl.h>" nogil:
    int prctl(int option, const char *name)
    enum:
        PR_SET_NAME

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
    # Finished runs that are worth an interrupt, which costs the event loop two turns (about 20 µs), while others are still worked on.
    COALESCED_RUNS = 4

cdef class DescriptorRing:
    """`queue_depth` descriptors worked off by as many engines as there are codecs in `engine_codecs`.

    `own_codec` serves the driver's thread, in `compress_polled` and `help`. Raises OSError or RuntimeError when the system refuses
    the eventfd or a thread. Close it when nothing is in flight.
    """

    def __cinit__(self, int queue_depth, *args, **kwargs):
        cdef int i
        self.completion_fd = -1
        self.queue_depth = self.free_descriptors = queue_depth
        self.polled_run = -1
        self.scratch = LazyMemory(<uint64_t>queue_depth * SCRATCH_BYTES)
        self.free_stack = <uint32_t *>calloc(queue_depth, sizeof(uint32_t))
        self.unfinished = <uint32_t *>calloc(queue_depth, sizeof(uint32_t))
        self.jobs = <Job *>calloc(queue_depth, sizeof(Job))
        self.finished = <uint32_t *>calloc(queue_depth, sizeof(uint32_t))
        self.reaped = <uint32_t *>calloc(queue_depth, sizeof(uint32_t))
        self.wanted_ns = <int64_t *>calloc(queue_depth, sizeof(int64_t))
        self.finished_ns = <int64_t *>calloc(queue_depth, sizeof(int64_t))
        pthread_mutex_init(&self.lock, NULL)
        pthread_cond_init(&self.doorbell, NULL)
        if not (self.free_stack and self.unfinished and self.jobs and self.finished and self.reaped):
            raise MemoryError
        if not (self.wanted_ns and self.finished_ns):
            raise MemoryError
        for i in range(queue_depth):
            self.free_stack[i] = queue_depth - 1 - i

    def __init__(self, int queue_depth, PageCodec own_codec not None, list engine_codecs not None):
        self.own_codec = own_codec
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

    def __dealloc__(self):
        pthread_cond_destroy(&self.doorbell)
        pthread_mutex_destroy(&self.lock)
        free(self.free_stack)
        free(self.unfinished)
        free(self.jobs)
        free(self.finished)
        free(self.reaped)
        free(self.wanted_ns)
        free(self.finished_ns)

    def close(self):
        """Stop the engines and wait for their threads to end."""
        pthread_mutex_lock(&self.lock)
        self.closing = True
        pthread_cond_broadcast(&self.doorbell)
        pthread_mutex_unlock(&self.lock)
        for thread in self.threads:
            thread.join()
        self.threads = []
        if self.completion_fd >= 0:
            os.close(self.completion_fd)
            self.completion_fd = -1

    @property
    def inflight(self):
        """Descriptors that a run holds, from its submission until it is retired."""
        return self.queue_depth - self.free_descriptors

    @property
    def engines(self):
        """How many engine threads work."""
        return len(self.threads)

    # ---- the driver's side ------------------------------------------------------------------------------------

    cdef int _take_descriptors(self, CompressedRun run, object source, uint64_t offset_bytes, int pages) except -1:
        cdef int taken = min(pages, self.free_descriptors, run.capacity)
        if taken == 0:
            return 0
        cdef const uint8_t *page = run.begin(source, offset_bytes, taken)
        cdef int i
        for i in range(taken):
            self.free_descriptors -= 1
            run.pages[i].data = self.scratch.start + self.free_stack[self.free_descriptors] * SCRATCH_BYTES
            run.pages[i].page = page + i * PAGE_BYTES
        self.inflight_max = max(self.inflight_max, self.queue_depth - self.free_descriptors)
        self.submitted_pages += taken
        return taken

    cpdef int submit(
        self, uint32_t run_number, CompressedRun run, object source, uint64_t offset_bytes, int pages
    ) except -1:
        """Queue up to `pages` pages of `source` for the engines; how many found a free descriptor.

        `run_number` (below queue_depth, one per run in flight) comes back from `reap` when all of them are done.
        """
        return self.submit_faulty(run_number, run, source, offset_bytes, pages, NULL, 0)

    cdef int submit_faulty(
        self, uint32_t run_number, CompressedRun run, object source, uint64_t offset_bytes, int pages,
        const uint8_t *faults, int64_t wanted_ns
    ) except -1:
        """Like `submit`; `faults` says what happens to each page, and before `wanted_ns` the end is not signalled."""
        cdef int taken = self._take_descriptors(run, source, offset_bytes, pages)
        if taken:
            self.wanted_ns[run_number] = wanted_ns
            self._queue(run_number, run, taken, faults)
        return taken

    cdef int compress_faulty(
        self, CompressedRun run, object source, uint64_t offset_bytes, int pages, const uint8_t *faults
    ) except -1:
        """Take descriptors, and do the device's work, with its faults, on the caller's thread alone."""
        cdef int taken = self._take_descriptors(run, source, offset_bytes, pages)
        cdef Job job
        cdef int i
        for i in range(taken):
            job.page, job.result, job.fault = run.pages[i].page, &run.pages[i], faults[i]
            self._do(self.own_codec, &job)
        return taken

    cdef int repair_page(self, CompressedPage *page) noexcept:
        """Compress a page that the device failed on in software; the status that it had."""
        cdef int status = page.length
        compress(self.own_codec, page.page, page)
        return status

    cpdef int compress_polled(
        self, uint32_t run_number, CompressedRun run, object source, uint64_t offset_bytes, int pages
    ) except -1:
        """Like `submit`, but done when it returns: a device that is polled.

        The caller's thread works off a short run alone; of a longer one the engines take what they can meanwhile.
        """
        cdef int taken = self._take_descriptors(run, source, offset_bytes, pages)
        cdef int i
        self.polled_pages += taken
        if taken <= ALONE_DESCRIPTORS or not self.threads:
            for i in range(taken):
                compress(self.own_codec, run.pages[i].page, &run.pages[i])
        else:
            self.polled_run = run_number
            self._queue(run_number, run, taken, NULL)
            with nogil:
                self._await_polled_run()
        return taken

    cdef void _queue(self, uint32_t run_number, CompressedRun run, int taken, const uint8_t *faults) noexcept:
        """Hand the run's pages to the engines, and wake as many of them as there is work for."""
        cdef uint32_t wanted_engines, i
        self.doorbells += 1
        pthread_mutex_lock(&self.lock)
        self.unfinished[run_number] = taken
        self.run_count += 1
        for i in range(<uint32_t>taken):
            self.jobs[self.tail].page = run.pages[i].page
            self.jobs[self.tail].result = &run.pages[i]
            self.jobs[self.tail].run_number = run_number
            self.jobs[self.tail].fault = faults[i] if faults != NULL else <uint8_t>NO_FAULT
            self.tail = (self.tail + 1) % self.queue_depth
        self.queued += taken
        wanted_engines = min(self.idle_engines, (self.queued + BATCH_DESCRIPTORS - 1) // BATCH_DESCRIPTORS)
        pthread_mutex_unlock(&self.lock)
        for i in range(wanted_engines):
            pthread_cond_signal(&self.doorbell)

    cpdef bint help(self):
        """Work off a few of the queued pages on the caller's thread, which has nothing else to do; whether it did.

        It takes them from the tail of the queue, while the engines take theirs from its head.
        """
        cdef bint helped
        if self.engines_only:
            return False
        with nogil:
            pthread_mutex_lock(&self.lock)
            helped = self._help()
            pthread_mutex_unlock(&self.lock)
        return helped

    cdef void _await_polled_run(self) noexcept nogil:
        """Help until the polled run is done."""
        pthread_mutex_lock(&self.lock)
        while self.polled_run >= 0:
            if not self._help():
                pthread_mutex_unlock(&self.lock)
                sched_yield()  # an engine is at the last few pages
                pthread_mutex_lock(&self.lock)
        pthread_mutex_unlock(&self.lock)

    cdef bint _help(self) noexcept nogil:
        """The lock is held, but for the work itself."""
        cdef Job batch[HELPED_DESCRIPTORS]
        cdef int taken = 0
        cdef int i
        while taken < HELPED_DESCRIPTORS and self.queued > 0:
            self.tail = (self.tail + self.queue_depth - 1) % self.queue_depth
            self.queued -= 1
            batch[taken] = self.jobs[self.tail]
            taken += 1
        pthread_mutex_unlock(&self.lock)
        for i in range(taken):
            self._do(self.own_codec, &batch[i])
        pthread_mutex_lock(&self.lock)
        self._finish(batch, taken)
        return taken > 0

    cpdef void retire(self, CompressedRun run) noexcept:
        """Take the run's descriptors back; its pages are no longer valid."""
        cdef int i
        for i in range(run.count):
            self.free_stack[self.free_descriptors] = <uint32_t>((run.pages[i].data - self.scratch.start) // SCRATCH_BYTES)
            self.free_descriptors += 1
        run.release()

    def reap(self):
        """Acknowledge the interrupt, if there is one; the numbers of the runs that have finished since the last time."""
        cdef uint64_t ignored
        cdef uint32_t count
        cdef uint32_t i
        pthread_mutex_lock(&self.lock)
        if self.is_signalled:
            # Within the lock: an engine that signalled in between would have its signal swallowed.
            eventfd_read(self.completion_fd, &ignored)
            self.is_signalled = False
            self.interrupts += 1
        count = self.finished_count
        memcpy(self.reaped, self.finished, count * sizeof(uint32_t))
        self.run_count -= count
        self.finished_count = self.wanted_count = 0
        pthread_mutex_unlock(&self.lock)
        return [self.reaped[i] for i in range(count)]

    # ---- the engines' side ------------------------------------------------------------------------------------

    def _run_engine(self, int number, PageCodec codec not None):
        cdef bytes name = b"zramfs-eng-%d" % number
        prctl(PR_SET_NAME, name)
        with nogil:
            self._work_off(codec)

    cdef void _work_off(self, PageCodec codec) noexcept nogil:
        cdef Job batch[BATCH_DESCRIPTORS]
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
            for i in range(taken):
                self._do(codec, &batch[i])

    cdef void _spin(self) noexcept nogil:
        """Look for more work for a while before sleeping; the lock is held, but for the looking."""
        cdef int64_t end_ns = monotonic_ns() + SPIN_NS
        while self.queued == 0 and not self.closing and monotonic_ns() < end_ns:
            pthread_mutex_unlock(&self.lock)
            sched_yield()
            pthread_mutex_lock(&self.lock)

    cdef void _finish(self, Job *batch, int count) noexcept nogil:
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
            if number == self.polled_run:
                self.polled_run = -1
                self.run_count -= 1
                continue
            self.finished[self.finished_count] = number
            self.finished_count += 1
            self.finished_ns[number] = now_ns
            if self.wanted_ns[number] == 0:
                self.wanted_count += 1
            elif self.wanted_ns[number] <= now_ns:
                is_overdue = True
        if self.is_signalled or not (is_overdue or self.wanted_count):
            return
        if is_overdue or self.finished_count == self.run_count or self.finished_count >= COALESCED_RUNS:
            self.is_signalled = True
            eventfd_write(self.completion_fd, 1)

    cdef int _fetch(self, Job *batch) noexcept nogil:
        cdef int taken = 0
        cdef int most = BATCH_DESCRIPTORS if self.polled_run < 0 else HELPED_DESCRIPTORS
        while taken < most and self.queued > 0:
            batch[taken] = self.jobs[self.head]
            self.head = (self.head + 1) % self.queue_depth
            self.queued -= 1
            taken += 1
        return taken

    cdef void _do(self, PageCodec codec, Job *job) noexcept nogil:
        """One descriptor's work, and whatever happens to it."""
        compress(codec, job.page, job.result)
        if job.fault == FAULT_TIMEOUT:
            job.result.length = TIMED_OUT
        elif job.fault == FAULT_BUS_ERROR:
            job.result.length = BUS_ERROR
        else:
            if job.fault == FAULT_CORRUPT:
                corrupt(codec, job.result)
            if self.verifies and (self.may_be_corrupt or job.fault == FAULT_CORRUPT) and not is_right(codec, job.result):
                job.result.length = VERIFY_FAILED

    cdef void tell_at_once(self, uint32_t run_number) noexcept:
        """Signal the end of a run however early it comes, or came since the last `reap`."""
        pthread_mutex_lock(&self.lock)
        self.wanted_ns[run_number] = 1
        if self.finished_count and not self.unfinished[run_number] and not self.is_signalled:
            self.is_signalled = True
            eventfd_write(self.completion_fd, 1)
        pthread_mutex_unlock(&self.lock)

    def drop_queued(self):
        """Fail whatever no engine has begun with: the device is gone."""
        cdef Job *job
        pthread_mutex_lock(&self.lock)
        while self.queued > 0:
            job = &self.jobs[self.head]
            self.head = (self.head + 1) % self.queue_depth
            self.queued -= 1
            job.result.length = DEVICE_GONE
            self._finish(job, 1)
        pthread_mutex_unlock(&self.lock)

    def __repr__(self):
        return f"<DescriptorRing {self.inflight} of {self.queue_depth} in flight, {len(self.threads)} engines>"


cdef bint is_right(PageCodec codec, CompressedPage *result) noexcept nogil:
    """verify_compress: whether the output gives the page back. What did not shrink is stored as it came."""
    cdef uint8_t page[PAGE_BYTES]
    if result.length == SAME_FILLED:
        return memcmp(&result.fill, result.page, 8) == 0
    if result.length < 0 or result.length >= PAGE_BYTES:
        return True
    return codec.decompress_page(result.data, result.length, page) == 0 and memcmp(page, result.page, PAGE_BYTES) == 0


cdef void corrupt(PageCodec codec, CompressedPage *result) noexcept nogil:
    """Make the output wrong. Not every changed byte does: a match may be found at another distance."""
    cdef int at = 0
    if result.length == SAME_FILLED:
        result.fill ^= 1
        return
    if result.length >= PAGE_BYTES:
        result.length = PAGE_BYTES // 2  # it says that it has shrunk
    while at < result.length:
        result.data[at] ^= 0xff
        if not is_right(codec, result):
            return
        result.data[at] ^= 0xff
        at += 1
