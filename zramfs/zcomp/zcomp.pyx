# cython: language_level=3
"""Chooses the stream for each run, and counts what it chose. Below are the backends, above is the device."""

import os

from libc.stdint cimport int64_t

from zramfs.clock cimport NEVER_NS
from zramfs.codec.run cimport sched_getcpu

from zramfs.backends.checked import checked
from zramfs.contracts import AlgorithmParams, StreamPolicy
from zramfs.zcomp.statistics import StreamStatistics

cdef enum:
    # The longest run of a per-CPU stream, in pages and in time (65 to 320 µs of LZ4 are one or several): others may have
    # a turn on the event loop then.
    PERCPU_PAGES = 32
    PERCPU_NS = 100000
    # What a bio may take of the event loop before others have a turn: all of 32 pages of LZ4, 4 of deflate.
    ONE_GO_NS = 500000
    # What a per-CPU stream takes at a time of a run that wanted a managed stream: the accelerator may be free again.
    FALLBACK_PAGES = 8

PERCPU_RUN_PAGES = PERCPU_PAGES
FALLBACK_RUN_PAGES = FALLBACK_PAGES

_DEFAULTS = AlgorithmParams()


cdef class PercpuStream(Stream):
    """Compresses at once, on the caller's CPU. Its run is committed before others have a turn: nobody waits for it."""

    def __init__(self, PageCodec codec not None):
        self.codec = codec
        self.compressor = RunCompressor(codec, PERCPU_PAGES)
        super().__init__(self.compressor.run)

    cpdef int submit(self, object source, uint64_t offset_bytes, int pages) except? -1:
        """Compress the first 32 pages at the most, fewer with a slow codec; how many it was."""
        return self.compressor.compress(source, offset_bytes, min(pages, <int>PERCPU_PAGES), PERCPU_NS)

    def __repr__(self):
        return f"<PercpuStream {self.codec!r}>"


cdef class Zcomp:
    """The streams of one device: the per-CPU ones, always, and those that the backend manages, if it can.

    `codec` is the context that decompresses: software, on the caller's CPU.
    """

    def __init__(self, backend, *, algorithm_params=_DEFAULTS, accelerator=None, policy=StreamPolicy.AUTO):
        self.backend = backend = checked(backend)
        self.params = backend.setup_params(algorithm_params, accelerator=accelerator)
        self.manager = self.params.manager
        try:
            cpus = len(os.sched_getaffinity(0))
            self.percpu = [PercpuStream(backend.create_context(self.params)) for _ in range(cpus)]
        except BaseException:
            self.close()
            raise
        self.codec = (<PercpuStream>self.percpu[0]).codec
        self.policy = policy

    @property
    def policy(self):
        """Which writes prefer a managed stream; may be changed at any time."""
        return self.stream_policy

    @policy.setter
    def policy(self, policy):
        cdef bint able = self.manager is not None and not self.manager.is_off
        self.stream_policy = policy
        self.prefers_managed_async = able and policy is not StreamPolicy.PERCPU
        self.prefers_managed_sync = able and policy is StreamPolicy.MANAGED

    cdef bint is_nowait(self, Py_ssize_t pages, bint is_async) except -1:
        """Whether a run of so many pages can be complete as soon as it is submitted."""
        if self.prefers_managed_async if is_async else self.prefers_managed_sync:
            return pages <= self.manager.polled_run_pages and self.manager.can_poll(<int>pages)
        return pages == 1 or pages <= self.one_go_pages()

    cpdef int one_go_pages(self) except -1:
        """How many pages a bio may have to be compressed in one go, on this CPU, as fast as it went lately."""
        cdef int64_t page_ns = self.percpu_stream().compressor.page_ns
        return <int>min(max(ONE_GO_NS // page_ns, 1), PERCPU_PAGES) if page_ns else PERCPU_PAGES

    cdef Stream choose(self, object source, uint64_t offset_bytes, int pages, bint is_async, bint may_wait):
        """Choose the stream for a run, and hand it as many of the run's pages as it takes now: `taken`.

        A write that prefers managed streams gets one while the backend has one free. What managed streams cannot
        take, now, goes to the per-CPU streams, as does every other write; or, if the manager says so, its caller waits:
        then there is no stream, and `when_free` tells when to ask again. One that may not wait always gets a stream, and
        a complete one. The caller commits `stream.run` when the stream is complete, puts the stream, and calls again for
        the pages that are left.
        """
        cdef Stream stream = None
        cdef bint prefers_managed = self.prefers_managed_async if is_async else self.prefers_managed_sync
        cdef bint is_polled = False
        if prefers_managed:
            is_polled = pages <= self.manager.polled_run_pages and self.manager.can_poll(pages)
            if is_polled or may_wait:
                stream = self.manager.get_stream()
        if stream is not None:
            if is_polled:
                self.taken = stream.submit_polled(source, offset_bytes, pages)
            else:
                self.taken = stream.submit(source, offset_bytes, pages)
            if self.taken:  # or it is of another package, and broke its contract
                self.managed_pages += self.taken
                return stream
        elif prefers_managed and may_wait and self.manager.should_wait():
            return None
        if prefers_managed:
            if self.manager.is_off:
                self.policy = self.stream_policy
            pages = min(pages, <int>FALLBACK_PAGES)
        return self.submit_here(source, offset_bytes, pages, prefers_managed)

    cdef PercpuStream submit_here(self, object source, uint64_t offset_bytes, int pages, bint is_fallback):
        """Compress some pages of a run on the per-CPU path, whatever the policy: `taken`.

        `is_fallback`: they would rather have had a managed stream.
        """
        cdef PercpuStream stream = self.percpu_stream()
        self.taken = stream.submit(source, offset_bytes, pages)
        if is_fallback:
            self.fallback_pages += self.taken
        else:
            self.percpu_pages += self.taken
        return stream

    def submit(self, source, uint64_t offset_bytes, int pages, *, bint is_async):
        """Choose the stream for a run (`choose`); the stream or None, and how many pages of the run it took."""
        stream = self.choose(source, offset_bytes, pages, is_async, True)
        return stream, self.taken if stream is not None else 0

    cdef bint may_stall(self) except -1:
        """Whether an asynchronous write may have to wait for a managed stream, however long."""
        return self.prefers_managed_async and self.manager.should_wait()

    cpdef when_free(self, callback):
        """Have `callback` called when it is worth asking for a managed stream again."""
        self.manager.when_free(callback)

    cpdef int64_t next_event_ns(self):
        """When `poll_completions` will have something to do, on the monotonic clock, if it is known in advance."""
        return self.manager.next_event_ns() if self.manager is not None else NEVER_NS

    def submit_patched_page(self, page):
        """Compress one page on the per-CPU path, whatever the policy: its caller must not wait."""
        return self.submit_here(page, 0, 1, False)

    cdef PercpuStream percpu_stream(self):
        """That of this CPU."""
        cdef int cpu = sched_getcpu()
        return <PercpuStream>self.percpu[max(cpu, 0) % len(self.percpu)]

    cpdef put_stream(self, Stream stream):
        """Take back a stream that `submit` gave, complete and committed."""
        if type(stream) is PercpuStream:
            stream.run.release()
        else:
            self.manager.put_stream(stream)

    cpdef poll_completions(self):
        """Complete the managed streams whose runs are done, so that their descriptors are free again."""
        if self.manager is not None:
            self.manager.poll_completions()

    def help(self):
        """Do a little of the accelerator's work, if there is any: the caller's CPU is idle."""
        return self.manager is not None and self.manager.help()

    async def serve_completions(self):
        """Complete managed streams whenever their device signals, until `close`."""
        if self.manager is not None:
            await self.manager.serve_completions()

    def abandon(self):
        """Let nobody wait for the backend's streams any more."""
        if self.manager is not None:
            self.manager.abandon()

    cpdef dict page_counts(self):
        """Pages taken so far, by kind of stream."""
        return {"percpu": self.percpu_pages, "managed": self.managed_pages, "fallback": self.fallback_pages}

    def statistics(self):
        """What was chosen so far, and what there is to choose from."""
        device = self.accelerator_statistics()
        return StreamStatistics(
            percpu_pages=self.percpu_pages,
            managed_pages=self.managed_pages,
            fallback_pages=self.fallback_pages,
            managed_streams=self.manager.stream_count if self.manager is not None else 0,
            percpu_streams=len(self.percpu),
            inflight=device.get("inflight", 0),
            inflight_max=device.get("inflight_max", 0),
        )

    @property
    def manager_error(self):
        """Why there are no managed streams though they were wanted; empty otherwise."""
        return self.params.manager_error or (self.manager.failure() if self.manager is not None else "")

    def accelerator_statistics(self):
        """What the device behind the managed streams says of itself; empty without one."""
        return self.manager.statistics() if self.manager is not None else {}

    def close(self):
        """Release the backend's parameters, with the accelerator behind them."""
        self.backend.release_params(self.params)

    def __repr__(self):
        return f"<Zcomp {self.backend.name} policy={self.stream_policy.value} {self.statistics()}>"
