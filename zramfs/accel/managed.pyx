# cython: language_level=3
"""Managed streams over the queue of a device: what a driver needs for each request."""

from collections import deque

from libc.stdint cimport int64_t, uint32_t, uint64_t

from zramfs.accel.ring cimport BUS_ERROR, DEVICE_GONE, TIMED_OUT, VERIFY_FAILED
from zramfs.clock cimport NEVER_NS, monotonic_ns

cdef enum:
    # A completion so near is awaited by polling: the event loop takes about as long to wake up.
    SOON_NS = 100000

_NAME_OF_STATUS = {
    TIMED_OUT: "errors_timeout",
    BUS_ERROR: "errors_bus_error",
    VERIFY_FAILED: "errors_corrupt",
    DEVICE_GONE: "errors_offline",
}


cdef class ManagedStream(Stream):
    """A stream whose run takes one descriptor of the device's queue for each page."""

    def __init__(self, ManagedStreams manager not None, uint32_t number, run):
        super().__init__(run)
        self.manager = manager
        self.number = number

    cpdef int submit(self, object source, uint64_t offset_bytes, int pages) except? -1:
        """Take as many pages as there are descriptors; the device's interrupt will tell."""
        self.is_complete = False
        return self.manager.queue.submit(self.number, self.run, source, offset_bytes, pages)

    cpdef int submit_polled(self, object source, uint64_t offset_bytes, int pages) except? -1:
        """Take as many pages as there are descriptors, and poll until they are done."""
        cdef int taken = self.manager.queue.compress_polled(self.number, self.run, source, offset_bytes, pages)
        self.repair()
        return taken

    cpdef when_complete(self, callback):
        """Have `callback` called when the device has finished the run, or now if it has."""
        if self.is_complete:
            callback()
        else:
            self.callback = callback

    cdef int complete(self) except -1:
        """Note that the device is done with the run, well or not, and call back who asked for it."""
        cdef int i
        if self.is_orphan:
            for i in range(self.run.count):
                self.run.pages[i].length = DEVICE_GONE
            self.is_orphan = False
        self.repair()
        self.is_complete = True
        callback, self.callback = self.callback, None
        if callback is not None:
            callback()
        return 0

    cdef void repair(self) noexcept:
        """Compress in software what the device failed on: a broken device costs time, never data."""
        cdef int i
        for i in range(self.run.count):
            if DEVICE_GONE <= self.run.pages[i].length <= TIMED_OUT:
                self.manager.errors[self.manager.queue.ring.repair_page(&self.run.pages[i])] += 1
                self.manager.software_redone += 1

    def __repr__(self):
        return f"<ManagedStream {self.number} {'complete' if self.is_complete else 'in flight'}>"


cdef class ManagedStreams(StreamManager):
    """Preallocated streams over one queue, one for each of `runs`.

    `takes_runs` says whether completions are served, `is_online` whether there is a device; without both no stream is
    given out. `waits_when_full` is whether callers should rather wait for one than do without.
    """

    def __init__(self, ModelledQueue queue not None, runs, int polled_run_pages):
        self.queue = queue
        self.polled_run_pages = polled_run_pages
        self.streams = [ManagedStream(self, number, run) for number, run in enumerate(runs)]
        self.free_streams = list(self.streams)
        self.stream_count = len(self.streams)
        self.waiters = deque()
        self.errors = dict.fromkeys(_NAME_OF_STATUS, 0)
        self.takes_runs = self.is_online = True

    cpdef Stream get_stream(self):
        """Return a free stream; None while every descriptor is taken, or when nobody serves completions."""
        if not (self.takes_runs and self.is_online):
            return None
        if self.queue.ring.free_descriptors and self.free_streams:
            return <Stream>self.free_streams.pop()
        self.queue_full += 1
        return None

    cpdef put_stream(self, Stream stream):
        """Give the stream's descriptors back to the queue."""
        self.queue.ring.retire(stream.run)
        self.free_streams.append(stream)
        if self.waiters:
            self._call_waiters()

    cpdef bint can_poll(self, int pages):
        """Whether a run of so many pages may be polled for: it is short, and its end is near."""
        if pages > self.polled_run_pages or (self.waits_when_full and not self.queue.ring.free_descriptors):
            return False
        return self.queue.can_poll(pages)

    cpdef bint should_wait(self):
        """Whether a caller that got no stream waits for one, with `when_free`."""
        return self.waits_when_full and self.takes_runs and self.is_online

    cpdef when_free(self, callback):
        """Have `callback` called when it is worth asking for a stream again."""
        self.waiters.append(callback)

    def _call_waiters(self):
        """Call those who wait, in their order, while there is something to have. What they do may lead here again."""
        if self.is_calling_waiters:
            return
        self.is_calling_waiters = True
        try:
            while self.waiters and (self.queue.ring.free_descriptors or not self.should_wait()):
                self.waiters.popleft()()
        finally:
            self.is_calling_waiters = False

    def stop_waiting(self):
        """Let those who wait ask again: there may be no reason to wait any more."""
        self._call_waiters()

    def set_online(self, bint online):
        """Let the device go away, with whatever it works on, or come back."""
        cdef ManagedStream stream
        if self.is_online == online:
            return
        self.is_online = online
        if online:
            return
        for stream in self.streams:
            if not stream.is_complete:
                stream.is_orphan = True
                self.queue.abandon(stream.number)
        self.queue.lose_queued()
        self.poll_completions()
        self._call_waiters()

    cpdef poll_completions(self):
        """Complete the runs that the device has finished by now."""
        for number in self.queue.reap():
            (<ManagedStream>self.streams[number]).complete()

    cpdef int64_t next_event_ns(self):
        """When `poll_completions` has something to do, on the monotonic clock; far away if only a signal can tell."""
        return self.queue.next_event_ns()

    cpdef bint help(self) except -1:
        """Complete what is finished, and work off a few pages that wait for an engine."""
        cdef int64_t next_ns = self.queue.next_event_ns()
        cdef int64_t now_ns
        if next_ns == NEVER_NS:
            if self.queue.ring.finished_count:
                self.poll_completions()
            return self.queue.ring.help()
        now_ns = monotonic_ns()
        if next_ns <= now_ns or self.queue.ring.finished_count:
            self.poll_completions()
            next_ns = self.queue.next_event_ns()
        return self.queue.ring.help() or next_ns - now_ns < SOON_NS

    def error_counts(self):
        """Descriptors that failed, by kind of failure."""
        return {name: self.errors[status] for status, name in _NAME_OF_STATUS.items()}
