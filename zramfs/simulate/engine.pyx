# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""The simulation: events in the order of virtual time, and what a task does with a request.

A request is cut into runs. For each the stream is chosen by the rule of `zcomp`, and its pages are compressed on the
task's CPU, or given to a device, whose time is that of the emulator's `timeline`. A step of a task ends where it needs
time of its CPU, or sleeps: `State` says where it goes on. What a device has done for a request whose task did not wait
is stored by an interrupt of the CPU of that task.

Where software does pages again that a device failed to do, no stream is locked: zramfs has contexts for that.
"""

from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free

from zramfs.simulate.cpus cimport (
    COMPLETION,
    COMPRESS,
    DECOMPRESS,
    MAKE,
    PAGE,
    REDO,
    REQUEST,
    SEGMENT_DONE,
    SUBMIT,
    WORK_DONE,
    Cpus,
)
from zramfs.simulate.device cimport Run, SimulatedDevice
from zramfs.simulate.devices cimport Devices
from zramfs.simulate.draws cimport draw_exponential
from zramfs.simulate.heap cimport (
    ARRIVAL,
    CPU_EVENT,
    INTERRUPT,
    NOBODY,
    OFFLINE,
    RUN_TIMEOUT,
    THOUGHT,
    Event,
    schedule,
    take_earliest,
)
from zramfs.simulate.requests cimport (
    ASYNC_WRITE,
    AWAITS,
    CHOOSES,
    COMPLETES,
    ENDS_RUN,
    HANDS_OVER,
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
from zramfs.simulate.scenario import Distribution, ManagedKind

cdef enum:
    NS_PER_US = 1000
    STILL_STEPS = 10000000      # at one time: nothing in the scenario takes any

# What `advance` answers.
cdef enum Progress:
    GOES_ON
    IS_OVER
    IS_SHORT_OF_MEMORY
    STANDS_STILL

_NUMBER_OF_POLICY = {StreamPolicy.AUTO: AUTO, StreamPolicy.MANAGED: ALL_MANAGED, StreamPolicy.PERCPU: ALL_PERCPU}
_NAMES = ("percpu", "managed", "polled", "fallback", "redone", "read_software", "read_device")


cdef class Engine(Devices):
    """One run of a Scenario, cut into `flows`."""

    def __cinit__(self, flows, devices, *, scenario, **kwargs):
        cdef int number = 0, works = 0
        machine, streams, scheduler = scenario.machine, scenario.streams, scenario.scheduler
        self.work_base = <int *>calloc(len(devices) + 1, sizeof(int))
        self.compress_ns = <double *>calloc(machine.cpus, sizeof(double))
        self.decompress_ns = <double *>calloc(machine.cpus, sizeof(double))
        if not (self.work_base and self.compress_ns and self.decompress_ns):
            raise MemoryError
        for device in devices:
            self.work_base[number] = works
            works += device.profile.queue_depth
            number += 1
        self.work_base[number] = works
        self.cpus = Cpus(
            machine.cpus,
            self.task_count,
            works,
            quantum_ns=round(scheduler.quantum_us * NS_PER_US),
            wakeup_preempts=scheduler.wakeup_preempts,
            migrates=scheduler.migrates,
            halt_ns=round(machine.costs.halt.us * NS_PER_US),
        )
        self.cpus.heap = &self.heap
        self.is_served = scenario.daemon is not None
        self.cpus.from_ns, self.cpus.until_ns = self.warmup_ns, self.end_ns
        self._set_costs(scenario)
        self.policy = _NUMBER_OF_POLICY[streams.policy]
        self.is_blocking = streams.managed is ManagedKind.BLOCKING
        self.device_reads = streams.device_reads
        self.percpu_run_pages, self.fallback_run_pages = streams.percpu_run_pages, streams.fallback_run_pages
        self.run_pages = streams.run_pages
        self.is_exponential = scenario.service is Distribution.EXPONENTIAL
        self.random = scenario.seed
        for number, device in enumerate(devices):
            for begin_us, end_us in device.offline_us:
                schedule(&self.heap, round(begin_us * NS_PER_US), OFFLINE, number, 0)
                schedule(&self.heap, round(end_us * NS_PER_US), OFFLINE, number, 1)
        self._set_measured()

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
        free(self.work_base)
        free(self.compress_ns)
        free(self.decompress_ns)

    # ---- time -------------------------------------------------------------------------------------------------------

    def go_on(self, uint64_t most_events):
        """Let so many events happen; False: it is over.

        MemoryError; RuntimeError if time stands still, as nothing that is done takes any.
        """
        cdef int progress
        with nogil:
            progress = self.advance(most_events)
        if progress == IS_SHORT_OF_MEMORY:
            raise MemoryError
        if progress == STANDS_STILL:
            raise RuntimeError(f"time stands still at {self.now_ns / 1e9:.6f} s: requests take none")
        return progress == GOES_ON

    cdef int advance(self, uint64_t most_events) noexcept nogil:
        cdef uint64_t until = self.events + most_events
        cdef Event event
        while self.events < until:
            if self.heap.is_short:
                return IS_SHORT_OF_MEMORY
            if self.heap.count == 0:
                return IS_OVER
            event = take_earliest(&self.heap)
            if event.at_ns > self.now_ns:
                self.now_ns = event.at_ns
                self.still = 0
                self._set_measured()
            self.events += 1
            self._handle(&event)
            self.still += 1
            if self.still >= STILL_STEPS:
                return STANDS_STILL
        return GOES_ON

    cdef void _set_measured(self) noexcept nogil:
        cdef int number
        cdef bint is_measured = self.warmup_ns <= self.now_ns < self.end_ns
        if is_measured == self.is_measured:
            return
        self.is_measured = is_measured
        for number in range(self.device_count):
            (<SimulatedDevice>self.device_of[number]).is_measured = is_measured

    cdef void _handle(self, const Event *event) noexcept nogil:
        if event.kind == CPU_EVENT:
            self._on_cpu(event.subject, event.value)
        elif event.kind == THOUGHT:
            self.on_thought(self.now_ns, event.subject)
        elif event.kind == ARRIVAL:
            self.on_arrival(self.now_ns, event.subject)
        else:
            self._on_device(event)

    cdef void _on_device(self, const Event *event) noexcept nogil:
        cdef int device = event.subject
        if event.kind == INTERRUPT:
            self._tell(device, (<SimulatedDevice>self.device_of[device]).take_interrupt(self.now_ns, event.value))
        elif event.kind == RUN_TIMEOUT:
            if (<SimulatedDevice>self.device_of[device]).give_up(event.value):
                self._tell_of(device, <uint32_t>event.value)
        else:
            if event.value:
                (<SimulatedDevice>self.device_of[device]).is_online = True
            else:
                self._tell(device, (<SimulatedDevice>self.device_of[device]).go_offline())
            self.call_waiters(self.now_ns)

    cdef void _on_cpu(self, int cpu, int64_t generation) noexcept nogil:
        cdef int subject = NOBODY
        cdef int happened = self.cpus.on_event(self.now_ns, cpu, generation, &subject)
        if happened == SEGMENT_DONE:
            self._step(subject)
        elif happened == WORK_DONE:
            self._on_work_done(subject)
        else:
            return
        self.cpus.resume(self.now_ns, cpu)

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

    # ---- a device tells ---------------------------------------------------------------------------------------------

    cdef void _tell(self, int device, int count) noexcept nogil:
        """The driver learns of the runs in the device's `told`."""
        cdef int place
        for place in range(count):
            self._tell_of(device, (<SimulatedDevice>self.device_of[device]).told[place])

    cdef void _tell_of(self, int device, int run) noexcept nogil:
        """Wake the task that waits for a run; or interrupt the CPU of the one that does not, to finish it."""
        cdef Run *told = self.run_of(device, run)
        cdef int cpu
        if told.task != NOBODY:
            self.tasks[told.task].is_told = True
            if self.tasks[told.task].is_asleep:
                self.wake(self.now_ns, told.task)
            return
        cpu = self.tasks[self.requests[told.request].task].cpu
        self.cpus.add_work(
            self.now_ns,
            cpu,
            self.work_base[device] + run,
            <int64_t>self.completion_ns + self._redo_ns(told, cpu) + self._page_time(told.pages, told.is_read),
        )

    cdef void _on_work_done(self, int work) noexcept nogil:
        """A run is finished: its pages are stored."""
        cdef int64_t began_ns = self.now_ns - self.cpus.works[work].ns
        cdef int64_t completed_ns = began_ns + <int64_t>self.completion_ns
        cdef int64_t redone_ns
        cdef int device = 0
        cdef Run run
        while self.work_base[device + 1] <= work:
            device += 1
        run = self.run_of(device, work - self.work_base[device])[0]
        redone_ns = self.now_ns - self._page_time(run.pages, run.is_read)
        self.cpus.charge(COMPLETION, began_ns, completed_ns)
        self.cpus.charge(REDO, completed_ns, redone_ns)
        self.cpus.charge(PAGE, redone_ns, self.now_ns)
        self._release(device, work - self.work_base[device])
        self.end_part(self.now_ns, run.request)

    cdef void _count_pages(self, int kind, int pages) noexcept nogil:
        if self.is_measured:
            self.pages[kind] += pages

    def page_counts(self):
        """Pages by kind of stream, as `result.PageCounts` names them."""
        return {name: self.pages[<int>kind] for kind, name in enumerate(_NAMES)}

    def __repr__(self):
        return f"<Engine at {self.now_ns / 1e9:.6f} s, {self.events} events>"
