# cython: language_level=3
"""Managed streams over a descriptor ring: what a driver needs for each request."""

from libc.stdint cimport uint64_t


cdef class ManagedStream(Stream):
    """A stream whose run takes one descriptor of the device's queue for each page."""

    def __init__(self, ManagedStreams manager not None, int number, run):
        super().__init__(run)
        self.manager = manager
        self.number = number

    cpdef int submit(self, object source, uint64_t offset_bytes, int pages) except -1:
        """Take as many pages as there are descriptors; a run that is short enough is complete at once."""
        cdef DescriptorRing ring = self.manager.ring
        if pages <= self.manager.polled_run_pages:
            return ring.compress_polled(self.number, self.run, source, offset_bytes, pages)
        self.is_complete = False
        return ring.submit(self.number, self.run, source, offset_bytes, pages)

    cpdef when_complete(self, callback):
        """Have `callback` called when the device has finished the run, or now if it has."""
        if self.is_complete:
            callback()
        else:
            self.callback = callback

    def complete(self):
        """Note that the device has finished the run, and call back who asked for it."""
        self.is_complete = True
        callback, self.callback = self.callback, None
        if callback is not None:
            callback()

    def __repr__(self):
        return f"<ManagedStream {self.number} {'complete' if self.is_complete else 'in flight'}>"


cdef class ManagedStreams(StreamManager):
    """Preallocated streams over one ring, one for each of `runs`.

    `takes_runs` says whether completions are served; without that no stream is given out.
    """

    def __init__(self, DescriptorRing ring not None, runs, int polled_run_pages):
        self.ring = ring
        self.polled_run_pages = polled_run_pages
        self.streams = [ManagedStream(self, number, run) for number, run in enumerate(runs)]
        self.free_streams = list(self.streams)
        self.stream_count = len(self.streams)
        self.takes_runs = True

    cpdef Stream get_stream(self):
        """Return a free stream; None while every descriptor is taken, or when nobody serves completions."""
        if self.ring.free_descriptors and self.free_streams and self.takes_runs:
            return <Stream>self.free_streams.pop()
        self.queue_full += 1
        return None

    cpdef put_stream(self, Stream stream):
        """Give the stream's descriptors back to the queue."""
        self.ring.retire(stream.run)
        self.free_streams.append(stream)

    cpdef poll_completions(self):
        """Complete the runs that the device has finished by now."""
        for number in self.ring.reap():
            (<ManagedStream>self.streams[number]).complete()

    cpdef bint help(self) except -1:
        """Complete what is finished, and work off a few pages that wait for an engine."""
        if self.ring.finished_count:
            self.poll_completions()
        return self.ring.help()
