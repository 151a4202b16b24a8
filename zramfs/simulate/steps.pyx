# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""What a task does with a request, step by step. When its next step comes is the `engine`'s.

A request is cut into runs. For each the stream is chosen by the rule of `zcomp`, and its pages are compressed on the
task's CPU, or given to a device, whose time is that of the emulator's `timeline`. A step of a task ends where it needs
time of its CPU, or sleeps: `State` says where it goes on.

Where software does pages again that a device failed to do, no stream is locked: zramfs has contexts for that.
"""

from libc.stdint cimport int64_t, uint64_t
from libc.stdlib cimport calloc, free

from zramfs.simulate.cpus cimport COMPLETION, COMPRESS, DECOMPRESS, MAKE, PAGE, REDO, REQUEST, SUBMIT
from zramfs.simulate.device cimport Run, SimulatedDevice
from zramfs.simulate.devices cimport Devices
from zramfs.simulate.draws cimport draw_exponential
from zramfs.simulate.heap cimport NOBODY
from zramfs.simulate.requests cimport (
    ASYNC_WRITE,
    AWAITS,
    CHOOSES,
    COMPLETES,
    ENDS_RUN,
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
    Request,
    Task,
)
from zramfs.zcomp cimport rule
from zramfs.zcomp.rule cimport ALL_MANAGED, ALL_PERCPU, AUTO, TO_MANAGED, TO_PERCPU, TO_POLLED, TO_WAIT

from zramfs.contracts import StreamPolicy
from zramfs.simulate.load_kinds import Distribution
from zramfs.simulate.scenario import ManagedKind

cdef enum:
    NS_PER_US = 1000

_NUMBER_OF_POLICY = {StreamPolicy.AUTO: AUTO, StreamPolicy.MANAGED: ALL_MANAGED, StreamPolicy.PERCPU: ALL_PERCPU}
_NAMES = ("percpu", "managed", "polled", "fallback", "redone", "read_software", "read_device")


cdef class Steps(Devices):
    """The tasks of a Scenario at work, on streams and devices, at `now_ns`."""

    def __cinit__(self, flows, devices, *, scenario, **kwargs):
        streams = scenario.streams
        self.compress_ns = <double *>calloc(scenario.machine.cpus, sizeof(double))
        self.decompress_ns = <double *>calloc(scenario.machine.cpus, sizeof(double))
        if not (self.compress_ns and self.decompress_ns):
            raise MemoryError
        self.is_served = scenario.daemon is not None
        self._set_costs(scenario)
        self.policy = _NUMBER_OF_POLICY[streams.policy]
        self.is_blocking = streams.managed is ManagedKind.BLOCKING
        self.device_reads = streams.device_reads
        self.percpu_run_pages, self.fallback_run_pages = streams.percpu_run_pages, streams.fallback_run_pages
        self.run_pages = streams.run_pages
        self.is_exponential = scenario.service is Distribution.EXPONENTIAL
        self.random = scenario.seed

    def _set_costs(self, scenario):
        cdef int cpu = 0
        costs = scenario.machine.costs
        self.request_ns = costs.request.us * NS_PER_US
        self.page_ns = costs.page.us * NS_PER_US
        self.completion_ns = costs.completion.us * NS_PER_US
        if not self.is_served:  # then there is nobody else to do it
            self.request_ns += costs.receive.us * NS_PER_US
            self.page_ns += costs.copy.us * NS_PER_US
        for group in scenario.machine.groups:
            for _ in range(group.count):
                self.compress_ns[cpu] = group.compress[scenario.algorithm].us * NS_PER_US
                self.decompress_ns[cpu] = group.decompress[scenario.algorithm].us * NS_PER_US
                cpu += 1

    def __dealloc__(self):
        free(self.compress_ns)
        free(self.decompress_ns)

    cdef int64_t _service(self, double mean_ns, int pages) noexcept nogil:
        """How long the software takes for so many pages."""
        cdef int64_t ns = 0
        cdef int page
        if not self.is_exponential:
            return <int64_t>(mean_ns * pages + 0.5)
        for page in range(pages):
            ns += draw_exponential(mean_ns, &self.random)
        return ns

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
            if self.is_served or self.flows[own.flow].depth == 1:
                request.arrival_ns = self.now_ns  # of several, the others wait meanwhile as they would after it
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

    cdef int64_t _page_time(self, int pages, bint is_read) noexcept nogil:
        """What it takes to store so many pages, once they are compressed."""
        return 0 if is_read else <int64_t>(self.page_ns * pages + 0.5)

    cdef bint _run(self, int task, int64_t ns, int purpose, int state) noexcept nogil:
        """Have time of the CPU, and then go on in a state; True: no time is needed."""
        self.tasks[task].state = state
        if ns <= 0:
            return True
        self.cpus.run_for(task, ns, purpose)
        return False

    cdef bint _take(self, int task) noexcept nogil:
        cdef int request = self._take_request(self.now_ns, task)
        if request == NOBODY:
            self.sleep(task, TAKES)
            return False
        self.tasks[task].request = request
        if self.flows[self.tasks[task].flow].make_ns > 0:
            return self._run(task, <int64_t>self.flows[self.tasks[task].flow].make_ns, MAKE, MADE)
        return self._begin(task)

    cdef bint _begin(self, int task) noexcept nogil:
        """Make a request, which is then cut into runs, or handed over."""
        return self._run(task, <int64_t>self.request_ns, REQUEST, HANDS_OVER if self.is_served else CHOOSES)

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

    # ---- on a device ------------------------------------------------------------------------------------------------

    cdef bint _submit(self, int task, int device, int pages, bint is_polled) noexcept nogil:
        """Give a device as many of the pages as it takes; the CPU is held for the submission, and while it polls."""
        cdef Task *own = &self.tasks[task]
        cdef Request *request = &self.requests[own.request]
        cdef bint waits = self.is_blocking or is_polled
        cdef int64_t ready_ns = 0
        cdef int number = (<SimulatedDevice>self.device_of[device]).begin(
            self.now_ns, pages, request.kind == READ, is_polled, &ready_ns
        )
        cdef Run *run = self.run_of(device, number)
        run.request = own.request
        run.task = task if waits else NOBODY
        request.left -= run.pages
        own.device, own.run, own.is_told = device, number, False
        if is_polled:
            self.cpus.runners[task].keeps_cpu = True
            self.cpus.poll_until(task, ready_ns)
            own.state = HAS_POLLED
            return False
        if not waits:
            request.parts += 1
        return self._run(
            task,
            (<SimulatedDevice>self.device_of[device]).timeline.costs.submit_ns,
            SUBMIT,
            AWAITS if waits else HAS_SUBMITTED,
        )

    cdef bint _command(self, int task, int device) noexcept nogil:
        """Give the pages of a read to the command set of the task's CPU, and poll until they are decompressed."""
        cdef Task *own = &self.tasks[task]
        cdef Request *request = &self.requests[own.request]
        own.device = device
        own.taken = min(request.left, self.run_pages)
        request.left -= own.taken
        own.state = HAS_COMMANDED
        self.cpus.poll_until(
            task,
            (<SimulatedDevice>self.device_of[device]).command(
                self.now_ns, self.cpus.runners[task].cpu, own.taken
            ),
        )
        return False

    cdef bint _await_run(self, int task) noexcept nogil:
        if not self.tasks[task].is_told:
            self.sleep(task, AWAITS)
            return False
        self.tasks[task].state = COMPLETES
        return True

    cdef bint _redo(self, int task) noexcept nogil:
        cdef Task *own = &self.tasks[task]
        return self._run(task, self._redo_ns(self.run_of(own.device, own.run), own.cpu), REDO, HAS_REDONE)

    cdef bint _store_run(self, int task) noexcept nogil:
        """Store the pages of a run that the task has waited for."""
        cdef Run *run = self.run_of(self.tasks[task].device, self.tasks[task].run)
        return self._run(task, self._page_time(run.pages, run.is_read), PAGE, ENDS_RUN)

    cdef int64_t _redo_ns(self, const Run *run, int cpu) noexcept nogil:
        """How long a CPU takes for those pages of a run that the device did not do."""
        if run.failed == 0:
            return 0
        return self._service(self.decompress_ns[cpu] if run.is_read else self.compress_ns[cpu], run.failed)

    cdef void _release(self, int device, int run) noexcept nogil:
        """Count a run's pages, and give its descriptors to whoever waits for them."""
        cdef Run *done = self.run_of(device, run)
        self._count_pages(READ_DEVICE if done.is_read else MANAGED, done.pages)
        self._count_pages(REDONE, done.failed)
        if done.is_polled and not done.is_read:
            self._count_pages(POLLED, done.pages)
        (<SimulatedDevice>self.device_of[device]).end(self.now_ns, run)
        if self.first_waiting != NOBODY or self.is_served:
            self.call_waiters(self.now_ns)

    # ---- what was done --------------------------------------------------------------------------------------------

    cdef void _count_pages(self, int kind, int pages) noexcept nogil:
        if self.is_measured:
            self.pages[kind] += pages

    def page_counts(self):
        """Pages by kind of stream, as `result.PageCounts` names them."""
        return {name: self.pages[<int>kind] for kind, name in enumerate(_NAMES)}
