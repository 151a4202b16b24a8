# cython: language_level=3
"""The stream contract: what per-CPU and managed streams have in common, and what whoever manages streams promises.

Its compiled half needs neither the GIL nor an event loop, and is what the block layer calls; `take_stream` and
`give_stream` are the RFC's get_stream and put_stream. The Python half, on the same classes, is for backends of other
packages: `backends/checked_streams` holds them to it, on the event loop's thread.
"""

from zramfs.clock cimport NEVER_NS


cdef class Stream:
    """Compresses one run of pages at a time; per-CPU and managed streams alike.

    `run` holds the compressed pages, valid from completion until the stream is put. `is_complete` says of a stream in
    Python whether every page that was taken is compressed.
    """

    def __init__(self, CompressedRun run not None):
        self.run = run
        self.is_complete = True

    cdef int compress_pages(self, const uint8_t *first_page, int pages) noexcept nogil:
        """Compress up to `pages` pages before returning; how many, 0 if the stream is not to be had after all.

        With 0 it is given back already.
        """
        return 0

    cdef int submit_pages(self, const uint8_t *first_page, int pages, RunEnd end) noexcept nogil:
        """Begin with up to `pages` pages; how many are taken, 0 as above.

        `end` is called once when they are compressed, perhaps before this returns. `first_page` stays until then, and
        until the stream is given back.
        """
        return 0

    def submit(self, source, offset_bytes, pages):
        """Begin with `pages` whole pages of `source`, a buffer; how many are taken, 1 or more. Never waits.

        Raises only if nothing was begun. `run.count` is what is returned once the run is complete.
        """
        raise NotImplementedError

    def submit_polled(self, source, offset_bytes, pages):
        """Like `submit`, after the manager's `can_poll`: complete when it returns, in a few microseconds."""
        return self.submit(source, offset_bytes, pages)

    def when_complete(self, callback):
        """Have `callback` called once the run is complete: now, or from `poll_completions`. It never raises.

        It is called once, on the event loop's thread, with `is_complete` set, within 5 seconds of `submit`.
        """
        callback()


cdef class StreamManager:
    """The managed streams of one device: `stream_count` of them.

    A run of up to `polled_run_pages` pages may be complete at submission; 0 if none is. `is_off` says that no stream is
    given out any more, and `failure` why. `any_thread`: the compiled half may be called on any thread, by several at
    once; otherwise on that of the event loop only.
    """

    cdef void *take_stream(self) noexcept nogil:
        """A stream, borrowed, that takes a page or more now, and is not in use; or NULL. Never waits or allocates."""
        return NULL

    cdef void give_stream(self, void *stream) noexcept nogil:
        """Take back a complete stream; its run is no longer valid."""

    cdef bint may_poll(self, int pages) noexcept nogil:
        """Whether a stream's `compress_pages` may be used now for a run of so many pages."""
        return False

    cdef bint must_wait(self) noexcept nogil:
        """Whether a caller that got no stream should wait for one, with `await_stream`, rather than do without."""
        return False

    cdef bint await_stream(self, Waiter *waiter) noexcept nogil:
        """Have `waiter` called once it is worth asking again, first come, first served; False: it is worth it by now.

        Whoever is called, or told False, asks again, with `take_stream`.
        """
        return False

    cdef int64_t next_event(self) noexcept nogil:
        """When `reap` will have something to do, on the monotonic clock, if that is known in advance."""
        return NEVER_NS

    cdef bint reap(self) noexcept nogil:
        """End the runs that the device has finished with, and return at once; whether there were any."""
        return False

    cdef bint lend_hand(self) noexcept nogil:
        """Do a few microseconds of the device's work on the caller's thread, which is idle; False if there is none."""
        return False

    def get_stream(self):
        """Return a stream that takes a page or more now, and is not in use; or None. Never waits or allocates."""
        raise NotImplementedError

    def put_stream(self, stream):
        """Take back a complete stream; its run is no longer valid."""
        raise NotImplementedError

    def can_poll(self, pages):
        """Whether a stream's `submit_polled` may be used now for a run of so many pages."""
        return False

    def should_wait(self):
        """Whether a caller that got no stream should wait for one, with `when_free`, rather than do without."""
        return False

    def when_free(self, callback):
        """Have `callback` called once it is worth asking for a stream again; of those who wait the first comes first.

        It is called on the event loop's thread, and not before this returns.
        """
        raise NotImplementedError

    def poll_completions(self):
        """Complete the streams whose runs are done, calling back those who asked for it, and return at once."""

    def work_for_device(self):
        """Do a few microseconds of the device's work on the caller's thread, which is idle; False if there is none."""
        return False

    async def serve_completions(self):
        """Poll whenever the device signals, until `close`."""

    def statistics(self):
        """Counters by name, `inflight` and `inflight_max` (pages) among them."""
        return {}

    def reset_statistics(self):
        """Let `statistics` count anew, but for what is so now (`inflight`); False if it cannot."""
        return False

    def failure(self):
        """Why no stream is given out any more, in a line; empty otherwise."""
        return ""

    def abandon(self):
        """Complete what is in flight, and let nobody wait: the daemon ends. An accelerator does so by itself."""

    def close(self):
        """Stop the device behind the streams; none is in use."""
