# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""The emulated hardware: a queue of descriptors, one page each, and engines that work it off.

The engines are threads that never need the GIL between start and stop, unless the codec is Python. Threads of the
driver queue runs, are told of finished ones through an eventfd (`job_queue`), and may lend a hand.
"""

import threading

from zramfs.accel.contexts cimport Context
from zramfs.accel.work_meter cimport begin_work, end_work, work_ns
from zramfs.atomic cimport peek_int, peek_u32
from zramfs.clock cimport monotonic_ns
from zramfs.codec.run cimport compress
from zramfs.scheduling cimport take_long_slices
from zramfs.threads cimport (
    PR_SET_NAME,
    prctl,
    pthread_cond_broadcast,
    pthread_cond_wait,
    pthread_mutex_lock,
    pthread_mutex_unlock,
    sched_yield,
)

cdef enum:
    # A polled run of up to so many pages is not worth an engine's wake-up, about 10 µs.
    ALONE_DESCRIPTORS = 4
    # How long an engine looks for more work before it sleeps.
    # 128K writes, depth 1: 1.40 GB/s with it, 0.85 without, the kernel's zram 1.37.
    SPIN_NS = 200000


cdef void only_compress(PageCodec codec, const Job *job, int options) noexcept nogil:
    compress(codec, job.page, job.result)


cdef class DescriptorRing(JobQueue):
    """`queue_depth` descriptors worked off by as many engines as there are codecs in `engine_codecs`.

    `contexts` serve the driver's threads, where they do the engines' work. `work` is done on each page; it compresses,
    and nothing else, unless a filter in front puts its own there. Raises OSError or RuntimeError when the system
    refuses the eventfd or a thread. Close it when nothing is in flight.
    """

    def __init__(self, int queue_depth, ContextPool contexts not None, engine_codecs):
        super().__init__()
        self.work = only_compress
        self.contexts = contexts
        self.threads = []
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

    def close(self):
        """Stop the engines once the queue is empty, and wait for their threads to end."""
        pthread_mutex_lock(&self.lock)
        self.closing = True
        pthread_cond_broadcast(&self.doorbell)
        pthread_mutex_unlock(&self.lock)
        for thread in self.threads:
            thread.join()
        self.threads = []
        super().close()

    @property
    def engine_count(self):
        """How many engine threads work; for tests."""
        return len(self.threads)

    # ---- the driver's side: on any thread, with no lock of the ring ---------------------------------------------

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

    cdef void compress_alone(self, CompressedPage *pages, int count, const uint8_t *marks) noexcept nogil:
        """Do the device's work on a run on the caller's thread alone. `marks` as for `queue`."""
        cdef Context *context = self.contexts.get_locked()
        cdef Job job
        cdef int i
        for i in range(count):
            if marks == NULL:
                compress(<PageCodec>context.codec, pages[i].page, &pages[i])
            else:
                job.page, job.result, job.mark = pages[i].page, &pages[i], marks[i]
                self.work(<PageCodec>context.codec, &job, peek_int(&self.work_options))
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

    cdef bint lend_hand(self) noexcept nogil:
        """Work off a few of the queued pages on the caller's thread, which has nothing else to do; whether it did.

        It takes them from the tail of the queue, while the engines take theirs from its head.
        """
        cdef int64_t began_ns
        cdef int pages
        if peek_int(&self.engines_only) or peek_u32(&self.queued) == 0:
            return False
        pthread_mutex_lock(&self.lock)
        began_ns = begin_work(&self.lent)
        pages = self._work_off_some()
        end_work(&self.lent, began_ns, pages)
        pthread_mutex_unlock(&self.lock)
        return pages > 0

    cdef int64_t lent_ns(self) noexcept nogil:
        """CPU time of those who lent a hand, but for runs that they polled for."""
        cdef int64_t taken_ns
        pthread_mutex_lock(&self.lock)
        taken_ns = work_ns(&self.lent)
        pthread_mutex_unlock(&self.lock)
        return taken_ns

    cdef void _await(self, uint32_t run_number) noexcept nogil:
        """Work until a polled run is done."""
        pthread_mutex_lock(&self.lock)
        while self.unfinished[run_number]:
            if not self._work_off_some():
                pthread_mutex_unlock(&self.lock)
                sched_yield()  # an engine is at the last few pages
                pthread_mutex_lock(&self.lock)
        pthread_mutex_unlock(&self.lock)

    # ---- both sides ---------------------------------------------------------------------------------------------

    cdef int _work_off_some(self) noexcept nogil:
        """Work off a few of the queued pages, the lock left meanwhile; how many."""
        cdef Job batch[SHARED_DESCRIPTORS]
        cdef int taken = self.take_last(batch)
        cdef Context *context
        if taken == 0:
            return 0
        pthread_mutex_unlock(&self.lock)
        context = self.contexts.get_locked()
        self._work_on(<PageCodec>context.codec, batch, taken)
        self.contexts.put_unlocked(context)
        pthread_mutex_lock(&self.lock)
        self.finish(batch, taken)
        return taken

    cdef void _work_on(self, PageCodec codec, const Job *batch, int count) noexcept nogil:
        """Work off jobs that were taken. Without the lock."""
        cdef int options = peek_int(&self.work_options)
        cdef int i
        for i in range(count):
            self.work(codec, &batch[i], options)

    # ---- the engines' side ------------------------------------------------------------------------------------

    def _run_engine(self, int number, PageCodec codec not None):
        cdef bytes name = b"zramfs-eng-%d" % number
        prctl(PR_SET_NAME, <const char *>name)
        take_long_slices()
        with nogil:
            self._work_off(codec)

    cdef void _work_off(self, PageCodec codec) noexcept nogil:
        """Work for as long as the device lives."""
        cdef Job batch[BATCH_DESCRIPTORS]
        cdef int taken = 0
        while True:
            pthread_mutex_lock(&self.lock)
            self.finish(batch, taken)
            if self.queued == 0 and taken > 0:
                self._spin()
            while self.queued == 0 and not self.closing:
                self.idle_workers += 1
                pthread_cond_wait(&self.doorbell, &self.lock)
                self.idle_workers -= 1
            taken = self.take_first(batch)
            pthread_mutex_unlock(&self.lock)
            if taken == 0:
                return
            self._work_on(codec, batch, taken)

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
