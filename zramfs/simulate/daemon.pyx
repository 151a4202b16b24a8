# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""A daemon that requests are handed over to, as zramfs is behind /dev/fuse: receiver, crew, and engines that are threads.

Those who make requests are its callers: they sleep until one has ended. All of its threads are tasks that share the
machine's CPUs with them. What `receive/dev.pyx`, `block/layer.pyx` and `accel/ring.pyx` do is done here in the same order:
small requests in one go, large ones in a backlog, by shares on per-CPU streams, and by runs for a device.
"""

from libc.stdint cimport int64_t
from libc.stdlib cimport calloc, free

from zramfs.clock cimport NEVER_NS
from zramfs.simulate.cpus cimport EMULATE, REQUEST, WAKE
from zramfs.simulate.device cimport Run, SimulatedDevice
from zramfs.simulate.engine cimport Engine
from zramfs.simulate.heap cimport NOBODY
from zramfs.simulate.requests cimport (
    A_COMPLETION,
    A_RUN,
    A_SHARE,
    ASYNC_WRITE,
    CHOOSES,
    COMPLETES,
    ENGINE_LOOKS,
    ENGINE_WORKED,
    HANDS_OVER,
    HAS_RECEIVED,
    HELPS,
    LOCKS,
    LOOPS,
    ONE_GO,
    READ,
    SERVES,
    TAKES,
    Request,
    Requests,
    Task,
)
from zramfs.simulate.steps cimport PERCPU, READ_SOFTWARE
from zramfs.zcomp cimport rule

cdef enum:
    NS_PER_US = 1000
    MOST_ONE_GO_PAGES = 32      # zcomp: PERCPU_PAGES
    INLINE_PAGES = 2            # `accel/modelled.pyx`: the submitter does an engine's work
    BATCH_PAGES = 8             # `accel/ring.pyx`: that an engine takes in one go
    SOON_NS = 100000            # `receive/receiver.pyx`: an event so near is awaited by polling
    AFTER_NS = 1000             # it, and the look at what has ended


def server_count(scenario):
    """How many tasks a scenario's daemon has: the receiver, the crew, the engines of emulated devices, the event loop."""
    if scenario.daemon is None:
        return 0
    engines = sum(int(each.profile.number("engines")) for each in scenario.devices if each.is_emulated)
    return 1 + scenario.daemon.crew + engines + _has_loop(scenario)


def _has_loop(scenario):
    return scenario.machine.costs.loop.us > 0 and bool(scenario.devices)


cdef class DaemonEngine(Engine):
    """One run of a Scenario that has a Daemon. Its tasks follow those of the flows: receiver, crew, engines."""

    def __cinit__(self, flows, devices, *, scenario, **kwargs):
        daemon, costs = scenario.daemon, scenario.machine.costs
        self.crew_count = daemon.crew
        self.share_pages, self.shared_read_pages = daemon.share_pages, daemon.shared_read_pages
        self.slice_ns, self.turn_ns = round(daemon.slice_us * NS_PER_US), round(daemon.turn_us * NS_PER_US)
        self.poll_ns = round(daemon.poll_us * NS_PER_US)
        self.helper_poll_ns = round(daemon.helper_poll_us * NS_PER_US)
        self.loop_ns = round(costs.loop.us * NS_PER_US)
        self.spinning_pays = True
        self.cpus.apart_ns = round(costs.apart.us * NS_PER_US)
        self.cpus.caller_count = self.first_server
        self.receive_ns, self.copy_ns = costs.receive.us * NS_PER_US, costs.copy.us * NS_PER_US
        self.one_go_pages = max(
            1, min(MOST_ONE_GO_PAGES, int(daemon.one_go_us * NS_PER_US / max(1.0, self.compress_ns[0] + self.page_ns)))
        )
        self.arrived = self.backlog = self.parked = RequestQueue(NOBODY, NOBODY)
        self.told_capacity = 1 + sum(device.profile.queue_depth for device in devices)
        self.told = <Told *>calloc(self.told_capacity, sizeof(Told))
        if self.told == NULL:
            raise MemoryError
        self._set_up_servers(scenario, devices)

    def __dealloc__(self):
        free(self.told)

    cdef int _set_up_servers(self, scenario, devices) except -1:
        cdef int cpus = scenario.machine.cpus
        cdef int task = self.first_server
        cdef int number
        self.tasks[task].home = self.tasks[task].state = SERVES
        for task in range(self.first_server + 1, self.first_server + 1 + self.crew_count):
            self.tasks[task].home = self.tasks[task].state = HELPS
        task = self.first_server + 1 + self.crew_count
        for number, device in enumerate(devices):
            for _ in range(int(device.profile.number("engines")) if device.is_emulated else 0):
                self.tasks[task].home = self.tasks[task].state = ENGINE_LOOKS
                self.tasks[task].device = number
                task += 1
        self.loop = NOBODY
        if _has_loop(scenario):
            self.loop = task
            self.tasks[task].home = self.tasks[task].state = LOOPS
        for task in range(self.first_server, self.task_count):
            self.tasks[task].cpu = (cpus - 1 + task - self.first_server) % cpus
            self.cpus.runners[task].is_bulk = task not in (self.first_server, self.loop)
            self.cpus.runners[task].group = scenario.scheduler.autogroup

    # ---- tasks ------------------------------------------------------------------------------------------------------

    cdef bint _do_state(self, int task) noexcept nogil:
        cdef int state = self.tasks[task].state
        if state == SERVES:
            return self._serve(task)
        if state == HANDS_OVER:
            return self._hand_over(task)
        if state == HAS_RECEIVED:
            return self._begin_request(task)
        if state == HELPS:
            return self._help(task)
        if state == ENGINE_LOOKS:
            return self._look_as_engine(task)
        if state == ENGINE_WORKED:
            return self._end_work(task)
        if state == LOOPS:
            return self._loop(task)
        return Engine._do_state(self, task)

    cdef void wake(self, int64_t now_ns, int task) noexcept nogil:
        """Whoever spins needs no wake-up."""
        cdef int64_t ns = 0 if now_ns < self.tasks[task].hot_until_ns else self.wake_ns
        self.tasks[task].is_asleep = self.tasks[task].has_spun = False
        if self.cpus.rouse(now_ns, task):
            return
        if task == self.first_server:
            self.spinning_pays = now_ns - self.slept_ns < self.poll_ns
        if task == self.loop:
            ns += self.loop_ns
        self.cpus.run_for(task, ns, WAKE)
        self.cpus.wake(now_ns, task)

    cdef void _wake_server(self, int64_t now_ns, int task) noexcept nogil:
        if self.tasks[task].is_asleep:
            self.wake(now_ns, task)

    cdef bint _rest(self, int task, int64_t spin_ns) noexcept nogil:
        """Look for something to do for some time, without needing a wake-up; then sleep."""
        cdef Task *own = &self.tasks[task]
        if spin_ns > 0 and not own.has_spun:
            if self.cpus.spin(task, self.now_ns + spin_ns):
                own.has_spun = own.is_asleep = True
                return False
            own.hot_until_ns = self.now_ns + spin_ns
        own.has_spun = False
        if task == self.first_server:
            self.slept_ns = max(self.now_ns, own.hot_until_ns)
        self.sleep(task, own.home)
        return False

    # ---- a caller ---------------------------------------------------------------------------------------------------

    cdef bint _take(self, int task) noexcept nogil:
        """Learn which of its requests have ended, and make the next."""
        cdef Task *own = &self.tasks[task]
        cdef int request
        while own.first_ended != NOBODY:
            request = own.first_ended
            own.first_ended = self.requests[request].next_request
            Requests._end_request(self, self.now_ns, request)
        return Engine._take(self, task)

    cdef bint _hand_over(self, int task) noexcept nogil:
        append(&self.arrived, self.requests, self.tasks[task].request)
        self.tasks[task].state = TAKES
        self._wake_server(self.now_ns, self.first_server)
        return not self.cpus.has_to_yield(task)

    cdef void _end_request(self, int64_t now_ns, int request) noexcept nogil:
        """Answer a request: it has ended once its caller has the answer."""
        cdef Request *own = &self.requests[request]
        cdef Task *caller = &self.tasks[own.task]
        own.next_request = NOBODY
        if caller.first_ended == NOBODY:
            caller.first_ended = request
        else:
            self.requests[caller.last_ended].next_request = request
        caller.last_ended = request
        if caller.is_asleep and caller.state == TAKES:
            self.wake(now_ns, own.task)

    # ---- the receiver -----------------------------------------------------------------------------------------------

    cdef bint _serve(self, int task) noexcept nogil:
        """Look for what is to be done next."""
        cdef Task *own = &self.tasks[task]
        cdef int request = NOBODY
        own.is_asleep = False
        if self.cpus.has_to_yield(task):
            return False
        own.in_hand = ONE_GO
        if self.told_count:
            return self._complete(task)
        if self._is_time_for_backlog():
            request = self._find_work(False)
        if request == NOBODY:
            if self.arrived.first != NOBODY:
                return self._receive(task)
            return self._rest(task, self._spin_time())
        if self.now_ns >= self.slice_ends_ns:
            self.slice_ends_ns = self.now_ns + self.slice_ns
        self.turn_ends_ns = self.now_ns + self.turn_ns
        if self.requests[request].is_shared:
            return self._take_share(task, request)
        own.request, own.in_hand = request, A_RUN
        return Engine._choose(self, task)

    cdef int64_t _spin_time(self) noexcept nogil:
        """How long the receiver looks for requests: until a device's next event, if that is near; else if that pays."""
        cdef int64_t event_ns = NEVER_NS
        cdef int number
        for number in range(self.device_count):
            event_ns = min(event_ns, (<SimulatedDevice>self.device_of[number]).interrupt_ns)
        if event_ns == NEVER_NS:
            return self.poll_ns if self.spinning_pays else 0
        return event_ns - self.now_ns + AFTER_NS if event_ns - self.now_ns < SOON_NS else 0

    cdef bint _is_time_for_backlog(self) noexcept nogil:
        """Whether large requests are worked on: nobody has arrived, or a slice goes on, or has to begin."""
        if self.backlog.first == NOBODY:
            return False
        return self.arrived.first == NOBODY or self.now_ns < self.slice_ends_ns or self.now_ns >= self.turn_ends_ns

    cdef bint _receive(self, int task) noexcept nogil:
        cdef int request = self.arrived.first
        cdef double ns = self.receive_ns
        self.arrived.first = self.requests[request].next_request
        self.tasks[task].request = request
        if self.requests[request].kind != READ:
            ns += self.copy_ns * self.requests[request].pages
        return self._run(task, <int64_t>ns, REQUEST, HAS_RECEIVED)

    cdef bint _begin_request(self, int task) noexcept nogil:
        """Do a small request in one go, and let a large one wait for its turn."""
        cdef Task *own = &self.tasks[task]
        cdef Request *request = &self.requests[own.request]
        cdef bint is_read = request.kind == READ
        cdef bint prefers_managed = not is_read and self.device_count and rule.prefers_managed(
            self.policy, request.kind == ASYNC_WRITE
        )
        request.is_shared = not prefers_managed
        if request.pages < self.shared_read_pages if is_read else request.pages <= self.one_go_pages:
            own.state = CHOOSES
            return True
        own.state = SERVES
        self._queue_for_work(own.request)
        return True

    cdef void _queue_for_work(self, int request) noexcept nogil:
        """Let a request wait in the backlog, and call those of the crew who sleep, if they may help."""
        cdef int task
        append(&self.backlog, self.requests, request)
        if not self.requests[request].is_shared:
            return
        for task in range(self.first_server + 1, self.first_server + 1 + self.crew_count):
            self._wake_server(self.now_ns, task)

    cdef bint _choose(self, int task) noexcept nogil:
        """Go on with a request in one go; with everything else, see what is to be done next."""
        cdef Task *own = &self.tasks[task]
        if own.in_hand == ONE_GO:
            return Engine._choose(self, task)
        if own.in_hand == A_RUN:
            if self.requests[own.request].left == 0:
                remove(&self.backlog, self.requests, own.request)
                self.end_part(self.now_ns, own.request)
        else:
            self.end_part(self.now_ns, own.request)
        own.state = own.home
        return True

    cdef bint _complete(self, int task) noexcept nogil:
        """See to the end of a run that a device has told of."""
        cdef Task *own = &self.tasks[task]
        cdef Told told = self.told[self.first_told]
        self.first_told = (self.first_told + 1) % self.told_capacity
        self.told_count -= 1
        own.device, own.run = told.device, told.run
        own.request = self.run_of(told.device, told.run).request
        own.in_hand = A_COMPLETION
        own.state = COMPLETES
        return True

    # ---- the backlog ------------------------------------------------------------------------------------------------

    cdef int _find_work(self, bint only_shares) noexcept nogil:
        """The first request that one may work on."""
        cdef int request = self.backlog.first
        while request != NOBODY and only_shares and not self.requests[request].is_shared:
            request = self.requests[request].next_request
        return request

    cdef bint _take_share(self, int task, int request) noexcept nogil:
        """Take some pages of a request; whoever takes the last takes it from the backlog, with the part that it has."""
        cdef Task *own = &self.tasks[task]
        cdef Request *shared = &self.requests[request]
        own.request, own.in_hand = request, A_SHARE
        own.taken = min(shared.left, self.share_pages)
        own.kind_of_stream = READ_SOFTWARE if shared.kind == READ else PERCPU
        own.cpu = self.cpus.runners[task].cpu
        own.state = LOCKS
        shared.left -= own.taken
        if shared.left:
            shared.parts += 1
        else:
            remove(&self.backlog, self.requests, request)
        return True

    cdef bint _help(self, int task) noexcept nogil:
        """Take a share, as one of the crew."""
        cdef int request = self._find_work(True)
        self.tasks[task].is_asleep = False
        if self.cpus.has_to_yield(task):
            return False
        if request == NOBODY:
            return self._rest(task, self.helper_poll_ns)
        return self._take_share(task, request)

    cdef void await_descriptor(self, int task) noexcept nogil:
        """Park a request that has to wait for a descriptor; the receiver goes on without it."""
        cdef Task *own = &self.tasks[task]
        if own.in_hand == A_RUN:
            remove(&self.backlog, self.requests, own.request)
        append(&self.parked, self.requests, own.request)
        own.state = own.home
        self.cpus.run_for(task, 0, REQUEST)

    cdef void call_waiters(self, int64_t now_ns) noexcept nogil:
        """Let requests that are parked go on before all others."""
        if self.parked.first == NOBODY or (self._free() == 0 and self.must_wait(False)):
            return
        self.requests[self.parked.last].next_request = self.backlog.first
        if self.backlog.first == NOBODY:
            self.backlog.last = self.parked.last
        self.backlog.first = self.parked.first
        self.parked.first = NOBODY
        self._wake_server(now_ns, self.first_server)

    # ---- devices ----------------------------------------------------------------------------------------------------

    cdef bint _submit(self, int task, int device, int pages, bint is_polled) noexcept nogil:
        """Likewise; a run of an emulated device is an engine's work, or if it is short that of whoever submits it."""
        cdef bint goes_on = Engine._submit(self, task, device, pages, is_polled)
        cdef int run = self.tasks[task].run
        cdef int64_t submit_ns
        cdef int64_t work_ns = <int64_t>(self.compress_ns[self.tasks[task].cpu] * self.run_of(device, run).pages)
        if not (<SimulatedDevice>self.device_of[device]).is_emulated:
            return goes_on
        if is_polled:
            self.cpus.poll_until(task, max(self.cpus.runners[task].poll_until_ns, self.now_ns + work_ns))
        elif self.run_of(device, run).pages <= INLINE_PAGES:
            submit_ns = (<SimulatedDevice>self.device_of[device]).timeline.costs.submit_ns
            self.cpus.run_for(task, max(work_ns, submit_ns), EMULATE)
        else:
            self._give_to_engines(device, run)
            return goes_on
        return False

    cdef void _give_to_engines(self, int device, int run) noexcept nogil:
        cdef int task
        (<SimulatedDevice>self.device_of[device]).queue_work(run)
        for task in range(self.first_server + 1 + self.crew_count, self.task_count):
            if self.tasks[task].device == device and task != self.loop:
                self._wake_server(self.now_ns, task)

    cdef bint _look_as_engine(self, int task) noexcept nogil:
        """Compress pages of the run that waits for longest."""
        cdef Task *own = &self.tasks[task]
        own.is_asleep = False
        if self.cpus.has_to_yield(task):
            return False
        own.taken = (<SimulatedDevice>self.device_of[own.device]).take_work(BATCH_PAGES, &own.run)
        if own.taken == 0:
            return self._rest(task, self.helper_poll_ns)
        return self._run(task, self._service(self.compress_ns[own.cpu], own.taken), EMULATE, ENGINE_WORKED)

    cdef bint _end_work(self, int task) noexcept nogil:
        cdef Task *own = &self.tasks[task]
        cdef Run *run = self.run_of(own.device, own.run)
        run.unworked -= own.taken
        if run.unworked == 0 and run.is_due:
            self._tell_receiver(own.device, own.run)
        own.state = own.home
        return not self.cpus.has_to_yield(task)

    # ---- the event loop ---------------------------------------------------------------------------------------------

    cdef bint _loop(self, int task) noexcept nogil:
        """See to the end of what devices have told of, unless the receiver has."""
        if self.told_count:
            return self._complete(task)
        self.sleep(task, LOOPS)
        return False

    cdef void _tell_of(self, int device, int run) noexcept nogil:
        """The run's time has come; it has ended if no engine works on it any more. The loop's timer does not know."""
        self.run_of(device, run).is_due = True
        if self.run_of(device, run).unworked == 0:
            self._tell_receiver(device, run)
        elif self.loop != NOBODY:
            self._wake_server(self.now_ns, self.loop)

    cdef void _tell_receiver(self, int device, int run) noexcept nogil:
        """Whoever looks first learns of the end: the receiver, if it does not sleep, or the loop, which is woken up."""
        self.told[(self.first_told + self.told_count) % self.told_capacity] = Told(device, run)
        self.told_count += 1
        if self.loop == NOBODY:
            self._wake_server(self.now_ns, self.first_server)
            return
        if self.tasks[self.first_server].has_spun:
            self._wake_server(self.now_ns, self.first_server)
        self._wake_server(self.now_ns, self.loop)

    def __repr__(self):
        return f"<DaemonEngine at {self.now_ns / 1e9:.6f} s, {self.events} events>"


cdef void append(RequestQueue *queue, Request *requests, int request) noexcept nogil:
    requests[request].next_request = NOBODY
    if queue.first == NOBODY:
        queue.first = request
    else:
        requests[queue.last].next_request = request
    queue.last = request


cdef void remove(RequestQueue *queue, Request *requests, int request) noexcept nogil:
    """Take a request out that is in the queue."""
    cdef int before = NOBODY
    cdef int each = queue.first
    while each != request:
        before = each
        each = requests[each].next_request
    if before == NOBODY:
        queue.first = requests[request].next_request
    else:
        requests[before].next_request = requests[request].next_request
    if queue.last == request:
        queue.last = before
