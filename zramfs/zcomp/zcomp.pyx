# cython: language_level=3
"""Chooses the stream for each run, and counts what it chose. Below are the backends, above is the block layer.

What is called for each run needs no GIL, and is for any thread if `any_thread`. A per-CPU stream is got locked and put
unlocked: a thread may be moved to another CPU while it has one.
"""

import os

from cpython.object cimport PyObject, PyTypeObject
from libc.stdint cimport int64_t, uint8_t, uint64_t
from libc.stdlib cimport calloc, free

from zramfs.atomic cimport count_u64, peek_i64, peek_int, peek_u64, poke_int, poke_u64
from zramfs.clock cimport NEVER_NS
from zramfs.codec.run cimport sched_getcpu
from zramfs.threads cimport (
    pthread_mutex_destroy,
    pthread_mutex_init,
    pthread_mutex_lock,
    pthread_mutex_trylock,
    pthread_mutex_unlock,
)
from zramfs.zcomp cimport rule
from zramfs.zcomp.rule cimport ALL_MANAGED, ALL_PERCPU, AUTO, TO_MANAGED, TO_PERCPU, TO_POLLED, TO_WAIT

from zramfs.backends.checked import checked
from zramfs.contracts import AlgorithmParams, StreamPolicy
from zramfs.zcomp.statistics import StreamStatistics

cdef enum:
    # The longest run of a per-CPU stream, in pages and in time (65 to 320 µs of LZ4 are one or several): others wait
    # for the thread, or for the stream.
    PERCPU_PAGES = 32
    PERCPU_NS = 100000
    # What a bio may take of its thread before others have a turn: all of 32 pages of LZ4, 4 of deflate.
    ONE_GO_NS = 500000
    # What a per-CPU stream takes at a time of a run that prefers a managed stream: the accelerator may be free again.
    FALLBACK_PAGES = 8

PERCPU_RUN_PAGES = PERCPU_PAGES
FALLBACK_RUN_PAGES = FALLBACK_PAGES

_DEFAULTS = AlgorithmParams()
_POLICIES = {AUTO: StreamPolicy.AUTO, ALL_MANAGED: StreamPolicy.MANAGED, ALL_PERCPU: StreamPolicy.PERCPU}


cdef class PercpuStream(Stream):
    """Compresses at once, on the caller's CPU, for whoever has locked it."""

    def __cinit__(self, PageCodec codec not None):
        if pthread_mutex_init(&self.mutex, NULL):
            raise MemoryError

    def __init__(self, PageCodec codec not None):
        self.codec = codec
        self.compressor = RunCompressor(codec, PERCPU_PAGES)
        super().__init__(self.compressor.run)

    def __dealloc__(self):
        pthread_mutex_destroy(&self.mutex)

    cdef void lock(self) noexcept nogil:
        """Have the stream for oneself, until `unlock`."""
        if pthread_mutex_trylock(&self.mutex):
            pthread_mutex_lock(&self.mutex)
            poke_u64(&self.waits, self.waits + 1)

    cdef void unlock(self) noexcept nogil:
        """Give the stream back: its run is no longer valid."""
        pthread_mutex_unlock(&self.mutex)

    cdef int compress_pages(self, const uint8_t *first_page, int pages) noexcept nogil:
        """Compress the first 32 pages at the most, fewer with a slow codec; how many it was."""
        cdef int taken = self.compressor.compress_pages(first_page, min(pages, <int>PERCPU_PAGES), PERCPU_NS)
        poke_u64(&self.pages, self.pages + taken)
        return taken

    def __repr__(self):
        return f"<PercpuStream {self.codec!r}>"


cdef class Zcomp:
    """The streams of one device: the per-CPU ones, always, and those that the backend manages, if it can."""

    def __init__(self, backend, *, algorithm_params=_DEFAULTS, accelerator=None, policy=StreamPolicy.AUTO):
        self.backend = backend = checked(backend)
        self.params = backend.setup_params(algorithm_params, accelerator=accelerator)
        self.manager = self.params.manager
        try:
            self.make_percpu_streams(sorted(os.sched_getaffinity(0)))
            self.codec = backend.create_context(self.params)
        except BaseException:
            self.close()
            raise
        needs_gil = any(codec.needs_gil for codec in (self.codec, *(each.codec for each in self.percpu.values())))
        self.any_thread = not needs_gil and (self.manager is None or self.manager.any_thread)
        self.policy = policy

    cdef int make_percpu_streams(self, list own_cpus) except -1:
        """Make one for each CPU that the process may use. Threads that are bound to another CPU share them."""
        cdef int cpu
        self.percpu = {each: PercpuStream(self.backend.create_context(self.params)) for each in own_cpus}
        self.cpus = max(own_cpus[-1] + 1, os.sysconf("SC_NPROCESSORS_CONF"))
        self.stream_of_cpu = <void **>calloc(self.cpus, sizeof(void *))
        if self.stream_of_cpu == NULL:
            raise MemoryError
        for cpu in range(self.cpus):
            stream = self.percpu.get(cpu) or self.percpu[own_cpus[cpu % len(own_cpus)]]
            self.stream_of_cpu[cpu] = <void *>stream
        return 0

    def __dealloc__(self):
        free(self.stream_of_cpu)

    @property
    def policy(self):
        """Which writes prefer a managed stream; may be changed at any time."""
        return _POLICIES[peek_int(&self.policy_number)]

    @policy.setter
    def policy(self, policy):
        poke_int(&self.policy_number, next(number for number, each in _POLICIES.items() if each is policy))

    # ---- the choice -------------------------------------------------------------------------------------------------

    cdef int choose(
        self,
        const uint8_t *first_page,
        int pages,
        bint is_async,
        bint may_begin,
        RunEnd end,
        void *owner,
        uint64_t page,
        Choice *choice,
    ) noexcept nogil:
        """Choose the stream for a run (`rule`), and hand it as many of the run's pages as it takes now; an Answer.

        What managed streams cannot take goes to the per-CPU streams, as does every write that prefers those; or, if the
        manager says so, its caller waits. One that does not let a run begin never waits, and its run is complete. The
        caller calls again for the pages that are left. `end` finds `owner` and `page` in the stream of a run that has
        begun; the memory of the pages stays until then, and until the stream is put.
        """
        cdef bint prefers_managed = self.prefers_managed(is_async)
        cdef bint may_poll = prefers_managed and self.may_poll(pages)
        cdef int way = rule.route(prefers_managed, may_poll, may_begin, False, False)
        if way == TO_POLLED or way == TO_MANAGED:
            choice.stream = self.manager.take_stream()
            if choice.stream != NULL:
                (<Stream>choice.stream).owner = owner
                (<Stream>choice.stream).page = page
                if way == TO_POLLED:
                    choice.taken = (<Stream>choice.stream).compress_pages(first_page, pages)
                else:
                    choice.taken = (<Stream>choice.stream).submit_pages(first_page, pages, end)
                if choice.taken > 0:
                    choice.kind = MANAGED
                    count_u64(&self.managed_pages, choice.taken)
                    return COMPLETE if way == TO_POLLED else BEGUN_RUN
            way = rule.route(True, may_poll, may_begin, True, self.manager.must_wait())
        if way == TO_WAIT:
            return HAS_TO_WAIT
        choice.kind = PERCPU if way == TO_PERCPU else FALLBACK
        self.compress_here(first_page, pages, choice)
        return COMPLETE

    cdef void compress_here(self, const uint8_t *first_page, int pages, Choice *choice) noexcept nogil:
        """Compress some pages of a run on the stream of this CPU."""
        choice.stream = self.lock_percpu()
        if choice.kind == PERCPU:
            choice.taken = (<Stream>choice.stream).compress_pages(first_page, pages)
            return
        choice.taken = (<Stream>choice.stream).compress_pages(first_page, min(pages, <int>FALLBACK_PAGES))
        poke_u64(
            &(<PercpuStream>choice.stream).fallback_pages,
            (<PercpuStream>choice.stream).fallback_pages + choice.taken,
        )

    cdef void *lock_percpu(self) noexcept nogil:
        """The stream of this CPU, a PercpuStream, locked until it is put."""
        cdef void *stream = self.stream_here()
        (<PercpuStream>stream).lock()
        return stream

    cdef void *stream_here(self) noexcept nogil:
        """The stream of this CPU, borrowed."""
        cdef int cpu = sched_getcpu()
        return self.stream_of_cpu[cpu if 0 <= cpu < self.cpus else 0]

    cdef void put_stream(self, void *stream) noexcept nogil:
        """Take back a stream whose run is committed, or of no use."""
        if (<PyObject *>stream).ob_type == <PyTypeObject *>PercpuStream:
            (<PercpuStream>stream).unlock()
        else:
            self.manager.give_stream(stream)

    # ---- what can be known beforehand -------------------------------------------------------------------------------

    cdef bint prefers_managed(self, bint is_async) noexcept nogil:
        """Whether such a write would rather have a managed stream, and there are any."""
        if self.manager is None or peek_int(<int *>&self.manager.is_off):
            return False
        return rule.prefers_managed(peek_int(&self.policy_number), is_async)

    cdef bint may_poll(self, int64_t pages) noexcept nogil:
        """Whether a managed stream would be done at once with a run of so many pages."""
        return pages <= peek_int(&self.manager.polled_run_pages) and self.manager.may_poll(<int>pages)

    cdef bint is_nowait(self, int64_t pages, bint is_async) noexcept nogil:
        """Whether a bio of so many pages is so short that it is done in one go, on this thread."""
        if self.prefers_managed(is_async):
            return self.may_poll(pages)
        return pages == 1 or pages <= self.one_go_pages()

    cdef int one_go_pages(self) noexcept nogil:
        """How many pages a bio may have to be compressed in one go, on this CPU, as fast as it went lately."""
        cdef int64_t page_ns = peek_i64(&(<PercpuStream>self.stream_here()).compressor.page_ns)
        return <int>min(max(ONE_GO_NS // page_ns, 1), PERCPU_PAGES) if page_ns else PERCPU_PAGES

    cdef bint may_stall(self) noexcept nogil:
        """Whether an asynchronous write may have to wait for a managed stream, however long."""
        return self.prefers_managed(True) and self.manager.must_wait()

    # ---- the manager's, or nothing ----------------------------------------------------------------------------------

    cdef bint await_stream(self, Waiter *waiter) noexcept nogil:
        """Have `waiter` called when it is worth choosing again; False: it is by now."""
        return self.manager is not None and self.manager.await_stream(waiter)

    cdef int64_t next_event(self) noexcept nogil:
        """When `reap` will have something to do, on the monotonic clock, if it is known in advance."""
        return self.manager.next_event() if self.manager is not None else NEVER_NS

    cdef bint reap(self) noexcept nogil:
        """End the runs that the accelerator has finished with; whether there were any."""
        return self.manager is not None and self.manager.reap()

    cdef bint lend_hand(self) noexcept nogil:
        """Do a little of the accelerator's work, if there is any: the caller's CPU is idle."""
        return self.manager is not None and self.manager.lend_hand()

    async def serve_completions(self):
        """Complete managed streams whenever their device signals, until `close`."""
        if self.manager is not None:
            await self.manager.serve_completions()

    def abandon(self):
        """Let nobody wait for the backend's streams any more."""
        if self.manager is not None:
            self.manager.abandon()

    @property
    def manager_error(self):
        """Why there are no managed streams though they were wanted; empty otherwise."""
        return self.params.manager_error or (self.manager.failure() if self.manager is not None else "")

    def accelerator_statistics(self):
        """What the device behind the managed streams says of itself; empty without one."""
        return self.manager.statistics() if self.manager is not None else {}

    def reset_accelerator_statistics(self):
        """Let the device behind the managed streams, if there is one, count anew; False if it cannot."""
        return self.manager is None or self.manager.reset_statistics()

    # ---- what was chosen --------------------------------------------------------------------------------------------

    def lock_waits(self):
        """How often a writer waited for the stream of its CPU."""
        return sum(peek_u64(&(<PercpuStream>stream).waits) for stream in self.percpu.values())

    def statistics(self):
        """What was chosen so far, and what there is to choose from."""
        device = self.accelerator_statistics()
        fallback = {cpu: peek_u64(&(<PercpuStream>stream).fallback_pages) for cpu, stream in self.percpu.items()}
        pages = {cpu: peek_u64(&(<PercpuStream>stream).pages) - fallback[cpu] for cpu, stream in self.percpu.items()}
        return StreamStatistics(
            percpu_pages=sum(pages.values()),
            managed_pages=peek_u64(&self.managed_pages),
            fallback_pages=sum(fallback.values()),
            managed_streams=self.manager.stream_count if self.manager is not None else 0,
            percpu_streams=len(self.percpu),
            inflight=device.get("inflight", 0),
            inflight_max=device.get("inflight_max", 0),
            percpu_waits=self.lock_waits(),
            percpu_pages_by_cpu=pages,
        )

    def close(self):
        """Release the backend's parameters, with the accelerator behind them."""
        self.backend.release_params(self.params)

    def __repr__(self):
        return f"<Zcomp {self.backend.name} policy={self.policy.value} {self.statistics()}>"
