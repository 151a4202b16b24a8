# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""Managed streams over the queue of a device: what a driver needs for each request. For any thread, without the GIL."""

from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free

from zramfs.accel.descriptor cimport DEVICE_GONE
from zramfs.accel.modelled cimport ModelledQueue
from zramfs.accel.repair cimport SoftwareRepair
from zramfs.accel.waiters cimport StreamWaiters, count_asked, may_take
from zramfs.accel.watch cimport NO_RUN, Run
from zramfs.accel.work_meter cimport begin_work, end_work
from zramfs.atomic cimport add_int, load_int, peek_int, poke_int
from zramfs.clock cimport NEVER_NS, monotonic_ns
from zramfs.streams cimport RunEnd, Stream, StreamManager, Waiter
from zramfs.threads cimport pthread_mutex_lock, pthread_mutex_unlock

cdef enum:
    # A completion so near is awaited by polling: the event loop takes about as long to wake up.
    SOON_NS = 100000


cdef class ManagedStream(Stream):
    """A stream whose run takes one descriptor of the device's queue for each page."""

    def __init__(self, ManagedStreams manager not None, uint32_t number, run):
        super().__init__(run)
        self.manager = manager
        self.number = number

    cdef int compress_pages(self, const uint8_t *first_page, int pages) noexcept nogil:
        """Take as many pages as there are descriptors, and poll until they are done."""
        cdef Run *run = &self.manager.queue.watch.runs[self.number]
        cdef int64_t began_ns
        self.is_polled = True
        if pages == 1 and not peek_int(&self.manager.queue.modelled):  # the way of a 4K write
            began_ns = begin_work(&run.work)
            self.manager.queue.ring.compress_page(first_page, self.run.pages)
            end_work(&run.work, began_ns, 1)
            self.run.count = 1
            return 1
        self.run.count = self.manager.queue.compress_polled(self.number, first_page, pages)
        if self.run.count == 0:
            self.manager.give_stream(<void *>self)
            return 0
        self.manager.repairs.repair(self.run)
        return self.run.count

    cdef int submit_pages(self, const uint8_t *first_page, int pages, RunEnd end) noexcept nogil:
        """Take as many pages as there are descriptors; the device's interrupt will tell."""
        self.end = end
        add_int(&self.manager.unended, 1)
        pages = self.manager.queue.submit(self.number, first_page, pages)
        if pages == 0:
            add_int(&self.manager.unended, -1)
            self.manager.give_stream(<void *>self)
        return pages

    cdef void complete(self) noexcept nogil:
        """The device is done with the run, well or not: the submitter is called."""
        cdef const Run *run = &self.manager.queue.watch.runs[self.number]
        cdef int i
        self.run.count = run.count
        if run.is_orphan:
            for i in range(run.count):
                run.pages[i].length = DEVICE_GONE
        self.manager.repairs.repair(self.run)
        self.end(<void *>self)
        add_int(&self.manager.unended, -1)

    def __repr__(self):
        return f"<ManagedStream {self.number}>"


cdef class ManagedStreams(StreamManager):
    """Preallocated streams over one queue, one for each of `runs`.

    No stream is given out unless completions are served and the device `is_online`. `waits_when_full` is whether
    callers should rather wait for a stream than do without.
    """

    def __cinit__(self, queue, runs, *args):
        self.stream_of = <void **>calloc(len(runs), sizeof(void *))
        self.free_streams = <uint32_t *>calloc(len(runs), sizeof(uint32_t))
        if not (self.stream_of and self.free_streams):
            raise MemoryError

    def __init__(self, ModelledQueue queue not None, runs, int polled_run_pages):
        cdef ManagedStream stream
        self.queue = queue
        self.any_thread = not queue.ring.contexts.needs_gil
        self.polled_run_pages = polled_run_pages
        self.streams = [ManagedStream(self, number, run) for number, run in enumerate(runs)]
        self.stream_count = self.free_count = <int>len(self.streams)
        for stream in self.streams:
            self.stream_of[stream.number] = <void *>stream
            self.free_streams[self.free_count - 1 - stream.number] = stream.number
        self.waiters = StreamWaiters(queue)
        self.repairs = SoftwareRepair(queue.ring)
        self.serves = self.online = self.queue.is_open = True

    def __dealloc__(self):
        free(self.stream_of)
        free(self.free_streams)

    # ---- streams ------------------------------------------------------------------------------------------------

    cdef void *take_stream(self) noexcept nogil:
        """A free stream and its first descriptor; NULL while all are taken, or nobody serves completions.

        While others wait, only as many get one as were told to ask.
        """
        cdef uint32_t number = NO_RUN
        pthread_mutex_lock(&self.queue.lock)
        if self.queue.is_open:
            if self.queue.descriptors.free_count and may_take(&self.waiters.waiting):
                self.free_count -= 1
                number = self.free_streams[self.free_count]
                self.queue.reserve(number)
                count_asked(&self.waiters.waiting)
            else:
                self.queue_full += 1
        pthread_mutex_unlock(&self.queue.lock)
        return NULL if number == NO_RUN else self.stream_of[number]

    cdef void give_stream(self, void *given) noexcept nogil:
        """Give the stream's descriptors back to the queue."""
        cdef uint32_t number = (<ManagedStream>given).number
        cdef bint is_awaited
        pthread_mutex_lock(&self.queue.lock)
        if (<ManagedStream>given).is_polled:
            self.queue.counts.polled_pages += (<ManagedStream>given).run.count
            self.queue.counts.submitted_pages += (<ManagedStream>given).run.count
            (<ManagedStream>given).is_polled = False
        self.queue.retire(number)
        (<ManagedStream>given).run.count = 0
        self.free_streams[self.free_count] = number
        self.free_count += 1
        is_awaited = self.waiters.waiting.first != NULL
        pthread_mutex_unlock(&self.queue.lock)
        if is_awaited:
            self.waiters.call()

    cdef bint may_poll(self, int pages) noexcept nogil:
        """Whether a run of so many pages may be polled for: it is short, and its end is near."""
        if pages > peek_int(&self.polled_run_pages):
            return False
        if peek_int(&self.waiters.waits) and not peek_int(&self.queue.descriptors.free_count):
            return False
        return self.queue.can_poll(pages)

    # ---- waiting ------------------------------------------------------------------------------------------------

    cdef bint must_wait(self) noexcept nogil:
        """Whether a caller that got no stream waits for one."""
        return self.waiters.must_wait()

    cdef bint await_stream(self, Waiter *waiter) noexcept nogil:
        """Have `waiter` called when it is worth asking for a stream again; False: it is worth it by now."""
        return self.waiters.add(waiter)

    # ---- completion ---------------------------------------------------------------------------------------------

    cdef bint reap(self) noexcept nogil:
        """Complete the runs that the device has finished by now; whether there were any."""
        cdef uint32_t number, following
        if not self.queue.watch.needs_attention():
            return False
        number = self.queue.reap()
        if number == NO_RUN:
            return False
        while number != NO_RUN:
            following = self.queue.watch.runs[number].next_told
            (<ManagedStream>self.stream_of[number]).complete()
            number = following
        return True

    cdef int64_t next_event(self) noexcept nogil:
        """When `reap` has something to do, on the monotonic clock; far away if only a signal can tell."""
        return self.queue.watch.next_event_ns()

    cdef bint lend_hand(self) noexcept nogil:
        """Complete what is finished, and work off a few pages that wait for an engine."""
        cdef int64_t next_ns
        self.reap()
        if self.queue.ring.lend_hand():
            return True
        next_ns = self.queue.watch.next_event_ns()
        return next_ns != NEVER_NS and next_ns - monotonic_ns() < SOON_NS

    def poll_completions(self):
        """Complete the runs that the device has finished by now."""
        with nogil:
            self.reap()

    @property
    def is_idle(self):
        """Whether every run that was submitted has ended."""
        return load_int(&self.unended) == 0

    # ---- life: on the event loop's thread -----------------------------------------------------------------------

    @property
    def waits_when_full(self):
        """Whether a caller waits for a descriptor instead of falling back to a per-CPU stream."""
        return bool(peek_int(&self.waiters.waits))

    @waits_when_full.setter
    def waits_when_full(self, bint waits):
        with nogil:
            poke_int(&self.waiters.waits, waits)
            self.waiters.call()

    def set_polled_run_pages(self, int pages):
        """Let runs of up to so many pages be polled for from now on."""
        poke_int(&self.polled_run_pages, pages)

    @property
    def is_online(self):
        """Whether there is a device."""
        return bool(peek_int(&self.online))

    def set_online(self, bint online):
        """Let the device go away, with whatever it works on, or come back."""
        with nogil:
            self.set_online_now(online)

    cdef void set_online_now(self, bint online) noexcept nogil:
        if online == peek_int(&self.online):
            return
        pthread_mutex_lock(&self.queue.lock)
        poke_int(&self.online, online)
        poke_int(&self.queue.is_open, online and self.serves)
        if not online:
            self.queue.watch.lose_everything()
        pthread_mutex_unlock(&self.queue.lock)
        self.reap()
        self.waiters.call()

    def stop_serving(self):
        """Give out no more streams: nobody serves completions any more."""
        with nogil:
            pthread_mutex_lock(&self.queue.lock)
            poke_int(&self.serves, False)
            poke_int(&self.queue.is_open, False)
            pthread_mutex_unlock(&self.queue.lock)
            self.waiters.call()

    def queue_full_count(self):
        """How often there was no stream for somebody who asked."""
        pthread_mutex_lock(&self.queue.lock)
        cdef uint64_t count = self.queue_full
        pthread_mutex_unlock(&self.queue.lock)
        return count

    def error_counts(self):
        """Descriptors that failed, in all and by kind of failure, and those that were redone in software."""
        return self.repairs.counts()
