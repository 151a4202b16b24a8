# cython: language_level=3
"""The stream contract: what per-CPU and managed streams have in common, and what whoever manages streams promises.

Compiled, like all that a 4K write passes through: as Python it took 5.4 µs of such a write's 15, more than LZ4.
Subclasses may be Python; a backend of another package usually is.
"""

from zramfs.clock cimport NEVER_NS


cdef class Stream:
    """Compresses one run of pages at a time; per-CPU and managed streams alike.

    `run` holds the compressed pages, valid from completion until the stream is put. `is_complete` says whether every
    page that was taken is compressed: true right after `submit` on a per-CPU stream.
    """

    def __init__(self, CompressedRun run not None):
        self.run = run
        self.is_complete = True

    cpdef int submit(self, object source, uint64_t offset_bytes, int pages) except? -1:
        """Begin with `pages` whole pages of `source`, a buffer; how many are taken, 1 or more. Never waits.

        Raises only if nothing was begun. `run.count` is what is returned once the run is complete.
        """
        raise NotImplementedError

    cpdef int submit_polled(self, object source, uint64_t offset_bytes, int pages) except? -1:
        """Like `submit`, and complete when it returns, which takes a few microseconds; after the manager's `can_poll`."""
        return self.submit(source, offset_bytes, pages)

    cpdef when_complete(self, callback):
        """Have `callback` called once the run is complete: now, or from `poll_completions`. It never raises.

        It is called once, on the event loop's thread, with `is_complete` set, within 5 seconds of `submit`.
        """
        callback()


cdef class StreamManager:
    """The managed streams of one device: `stream_count` of them.

    A run of up to `polled_run_pages` pages may be complete at submission; 0 if none is. `is_off` says that no stream is
    given out any more, and `failure` why. One of another package is held to all of this (`backends/checked_streams`).
    """

    cpdef Stream get_stream(self):
        """Return a stream that takes at least one page now, and is not in use; or None. Never waits, never allocates."""
        raise NotImplementedError

    cpdef put_stream(self, Stream stream):
        """Take back a complete stream; its run is no longer valid."""
        raise NotImplementedError

    cpdef bint can_poll(self, int pages):
        """Whether a stream's `submit_polled` may be used now for a run of so many pages."""
        return False

    cpdef bint should_wait(self):
        """Whether a caller that got no stream should wait for one, with `when_free`, rather than do without."""
        return False

    cpdef when_free(self, callback):
        """Have `callback` called once it is worth asking for a stream again; of those who wait the first comes first.

        It is called on the event loop's thread, and not before this returns.
        """
        raise NotImplementedError

    cpdef int64_t next_event_ns(self):
        """When `poll_completions` will have something to do, on the monotonic clock, if it is known in advance."""
        return NEVER_NS

    cpdef poll_completions(self):
        """Complete the streams whose runs are done, calling back those who asked for it, and return at once."""

    cpdef bint help(self) except -1:
        """Do a few microseconds of the device's work on the caller's thread, which is idle; False if there is none."""
        return False

    async def serve_completions(self):
        """Poll whenever the device signals, until `close`."""

    def statistics(self):
        """Counters by name, `inflight` and `inflight_max` (pages) among them."""
        return {}

    def failure(self):
        """Why no stream is given out any more, in a line; empty otherwise."""
        return ""

    def abandon(self):
        """Complete what is in flight, and let nobody wait, because the daemon ends; an accelerator does so of itself."""

    def close(self):
        """Stop the device behind the streams; none is in use."""
