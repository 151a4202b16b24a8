# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""What a task does with a request, step by step. When its next step comes is the `engine`'s.

A request is cut into runs. For each the stream is chosen by the rule of `zcomp`, and its pages are compressed on the
task's CPU, or given to a device (`runs`), whose time is that of the emulator's `timeline`. A step of a task ends where
it needs time of its CPU, or sleeps: `State` says where it goes on.
"""

from libc.stdint cimport int64_t

from zramfs.simulate.cpus cimport COMPLETION, COMPRESS, DECOMPRESS, MAKE, PAGE, REQUEST
from zramfs.simulate.device cimport SimulatedDevice
from zramfs.simulate.heap cimport NOBODY
from zramfs.simulate.runs cimport FALLBACK, PERCPU, READ_DEVICE, READ_SOFTWARE, Runs
from zramfs.simulate.tasks cimport (
    ASYNC_WRITE,
    AWAITS,
    CHOOSES,
    COMPLETES,
    HANDS_OVER,
    HAS_COMMANDED,
    HAS_COMPRESSED,
    HAS_POLLED,
    HAS_REDONE,
    HAS_STORED,
    HAS_SUBMITTED,
    LOCKS,
    MADE,
    READ,
    REDOES,
    TAKES,
    Flow,
    Request,
    Task,
)
from zramfs.zcomp cimport rule
from zramfs.zcomp.rule cimport ALL_MANAGED, ALL_PERCPU, AUTO, TO_MANAGED, TO_PERCPU, TO_POLLED, TO_WAIT

from zramfs.contracts import StreamPolicy

_NUMBER_OF_POLICY = {StreamPolicy.AUTO: AUTO, StreamPolicy.MANAGED: ALL_MANAGED, StreamPolicy.PERCPU: ALL_PERCPU}


cdef class Steps(Runs):
    """The tasks of a Scenario at work."""

    def __cinit__(self, flows, devices, *, scenario, **kwargs):
        streams = scenario.streams
        self.policy = _NUMBER_OF_POLICY[streams.policy]
        self.device_reads = streams.device_reads
        self.percpu_run_pages, self.fallback_run_pages = streams.percpu_run_pages, streams.fallback_run_pages

    # ---- a task -----------------------------------------------------------------------------------------------------

    cdef void _step(self, int task) noexcept nogil:
        """Let a task that has its CPU go on until it needs time, or sleeps."""
        while self._do_state(task) and self.still < STILL_STEPS:
            self.still += 1

    cdef bint _do_state(self, int task) noexcept nogil:
        """Do what comes next; True if the task can go on at once."""
        cdef Task *own = &self.tasks[task]
        cdef Request *request = &self.requests[own.request]
        if own.state == TAKES:
            return self._take(task)
        if own.state == MADE:
            if self.is_served or self.flows[own.flow].depth == 1 or self.flows[own.flow].reads_first:
                request.arrival_ns = self.now_ns  # of several at once, the others wait meanwhile as they would after it
            return self._begin(task)
        if own.state == CHOOSES:
            return self._choose(task)
        if own.state == LOCKS:
            return self.lock(self.now_ns, task) and self._compress(task)
        if own.state == HAS_COMPRESSED:
            return self._run(task, self._page_time(own.taken, request.kind == READ), PAGE, HAS_STORED)
        if own.state == HAS_STORED:
            self.unlock(self.now_ns, task)
            self._count_pages(own.kind_of_stream, own.taken)
            own.state = CHOOSES
            return not self.cpus.has_to_yield(task)
        if own.state == HAS_SUBMITTED:
            own.state = CHOOSES
            return True
        if own.state == AWAITS:
            return self._await_run(task)
        if own.state == HAS_POLLED:
            self.cpus.runners[task].keeps_cpu = False
            own.state = COMPLETES
            return True
        if own.state == HAS_COMMANDED:
            self._count_pages(READ_DEVICE, own.taken)
            own.state = CHOOSES
            return not self.cpus.has_to_yield(task)
        if own.state == COMPLETES:
            return self._run(task, <int64_t>self.completion_ns, COMPLETION, REDOES)
        if own.state == REDOES:
            return self._redo(task)
        if own.state == HAS_REDONE:
            return self._store_run(task)
        self._release(own.device, own.run)
        own.state = CHOOSES
        return True

    cdef bint _take(self, int task) noexcept nogil:
        cdef int request = self._take_request(self.now_ns, task)
        cdef const Flow *flow = &self.flows[self.tasks[task].flow]
        if request == NOBODY:
            self.sleep(task, TAKES)
            return False
        self.tasks[task].request = request
        if flow.make_ns > 0 and (self.requests[request].kind == READ or not flow.reads_first):
            return self._run(task, <int64_t>flow.make_ns, MAKE, MADE)
        return self._begin(task)

    cdef bint _begin(self, int task) noexcept nogil:
        """Make a request, which is then cut into runs, or handed over."""
        cdef double ns = self.request_ns + self._pin_time(&self.requests[self.tasks[task].request], True)
        return self._run(task, <int64_t>ns, REQUEST, HANDS_OVER if self.is_served else CHOOSES)

    cdef bint _choose(self, int task) noexcept nogil:
        """Choose the stream of the next run, and give it what it takes; or end with the request."""
        cdef Task *own = &self.tasks[task]
        cdef Request *request = &self.requests[own.request]
        cdef bint is_read = request.kind == READ
        cdef bint prefers = self.device_count > 0
        cdef bint may_poll = False
        cdef int device = NOBODY
        cdef int pages, way
        if request.left == 0:
            own.state = own.home
            self.end_part(self.now_ns, own.request)
            return True
        prefers = prefers and (
            self.device_reads if is_read else rule.prefers_managed(self.policy, request.kind == ASYNC_WRITE)
        )
        pages = min(request.left, self.run_pages)
        if prefers:
            device = self.choose_device(task, is_read)
        if device != NOBODY and is_read and (<SimulatedDevice>self.device_of[device]).command_sets:
            return self._command(task, device)
        if device != NOBODY:
            may_poll = (<SimulatedDevice>self.device_of[device]).may_poll(self.now_ns, pages)
        way = rule.route(prefers, may_poll, True, False, False)
        if way != TO_PERCPU and device == NOBODY:
            way = rule.route(prefers, may_poll, True, True, self.must_wait(is_read))
        if way == TO_POLLED or way == TO_MANAGED:
            return self._submit(task, device, pages, way == TO_POLLED)
        if way == TO_WAIT:
            self.await_descriptor(task)
            return False
        if is_read:
            return self._use_percpu(task, READ_SOFTWARE)
        return self._use_percpu(task, PERCPU if way == TO_PERCPU else FALLBACK)

    # ---- on a per-CPU stream ----------------------------------------------------------------------------------------

    cdef bint _use_percpu(self, int task, int kind) noexcept nogil:
        cdef Task *own = &self.tasks[task]
        cdef Request *request = &self.requests[own.request]
        own.taken = min(request.left, self.fallback_run_pages if kind == FALLBACK else self.percpu_run_pages)
        own.kind_of_stream = kind
        own.cpu = self.cpus.runners[task].cpu
        own.state = LOCKS
        request.left -= own.taken
        return True

    cdef bint _compress(self, int task) noexcept nogil:
        """The stream is locked."""
        cdef Task *own = &self.tasks[task]
        if own.kind_of_stream == READ_SOFTWARE:
            return self._run(
                task, self._service(self.decompress_ns[own.cpu], own.taken), DECOMPRESS, HAS_COMPRESSED
            )
        return self._run(task, self._service(self.compress_ns[own.cpu], own.taken), COMPRESS, HAS_COMPRESSED)
