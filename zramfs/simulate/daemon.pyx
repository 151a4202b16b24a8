# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""A daemon that requests are handed over to, as zramfs is behind /dev/fuse: its tasks, and what the receiver does.

All of its threads are tasks that share the machine's CPUs with its callers. What `receive/dev.pyx` and
`block/layer.pyx` do is done here in the same order: small requests in one go, large ones in a backlog, by shares on
per-CPU streams, and by runs for a device.
"""

from libc.stdint cimport int64_t

from zramfs.clock cimport NEVER_NS
from zramfs.simulate.cpus cimport REQUEST
from zramfs.simulate.emulated cimport EmulatedEngines
from zramfs.simulate.engine cimport Engine
from zramfs.simulate.heap cimport NOBODY
from zramfs.simulate.servers cimport remove
from zramfs.simulate.tasks cimport (
    A_RUN,
    ASYNC_WRITE,
    CHOOSES,
    ENGINE_LOOKS,
    ENGINE_WORKED,
    HANDS_OVER,
    HAS_ANSWERED,
    HAS_RECEIVED,
    HELPS,
    LOOPS,
    ONE_GO,
    READ,
    SERVES,
    Request,
    Task,
)
from zramfs.zcomp cimport rule

cdef enum:
    NS_PER_US = 1000
    MOST_ONE_GO_PAGES = 32      # zcomp: PERCPU_PAGES
    SOON_NS = 100000            # `receive/receiver.pyx`: an event so near is awaited by polling
    AFTER_NS = 1000             # it, and the look at what has ended


def server_count(scenario):
    """How many tasks a scenario's daemon has: receiver, crew, engines of emulated devices, event loop."""
    if scenario.daemon is None:
        return 0
    engines = sum(int(each.profile.number("engines")) for each in scenario.devices if each.is_emulated)
    return 1 + scenario.daemon.crew + engines + _has_loop(scenario)


def _has_loop(scenario):
    return scenario.machine.costs.loop.us > 0 and bool(scenario.devices)


cdef class DaemonEngine(EmulatedEngines):
    """One run of a Scenario that has a Daemon. Its tasks follow those of the flows: receiver, crew, engines."""

    def __cinit__(self, flows, devices, *, scenario, **kwargs):
        daemon, costs = scenario.daemon, scenario.machine.costs
        self.shared_read_pages = daemon.shared_read_pages
        self.slice_ns, self.turn_ns = round(daemon.slice_us * NS_PER_US), round(daemon.turn_us * NS_PER_US)
        self.receive_ns, self.copy_ns = costs.receive.us * NS_PER_US, costs.copy.us * NS_PER_US
        self.one_go_pages = max(
            1, min(MOST_ONE_GO_PAGES, int(daemon.one_go_us * NS_PER_US / max(1.0, self.compress_ns[0] + self.page_ns)))
        )
        self._set_up_servers(scenario, devices)

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
        if _has_loop(scenario):
            self.loop = task
            self.tasks[task].home = self.tasks[task].state = LOOPS
        for task in range(self.first_server, self.task_count):
            self.tasks[task].cpu = (cpus - 1 + task - self.first_server) % cpus
            self.cpus.runners[task].is_bulk = task not in (self.first_server, self.loop)

    # ---- tasks ------------------------------------------------------------------------------------------------------

    cdef bint _do_state(self, int task) noexcept nogil:
        cdef int state = self.tasks[task].state
        if state == SERVES:
            return self._serve(task)
        if state == HANDS_OVER:
            return self._hand_over(task)
        if state == HAS_RECEIVED:
            return self._begin_request(task)
        if state == HAS_ANSWERED:
            return self._end_step(task)
        if state == HELPS:
            return self._help(task)
        if state == ENGINE_LOOKS:
            return self._look_as_engine(task)
        if state == ENGINE_WORKED:
            return self._end_work(task)
        if state == LOOPS:
            return self._loop(task)
        return Engine._do_state(self, task)

    # ---- the receiver -----------------------------------------------------------------------------------------------

    cdef bint _serve(self, int task) noexcept nogil:
        """Look for what is to be done next."""
        cdef Task *own = &self.tasks[task]
        cdef int request = NOBODY
        own.is_asleep = False
        if self.cpus.has_to_yield(task):
            return False
        own.in_hand = ONE_GO
        if self._has_event():
            return self._attend(task)
        if self._is_time_for_backlog():
            request = self._find_work(False)
        if request == NOBODY:
            if self.arrived.first != NOBODY:
                return self._receive(task)
            return self._rest(task, self._spin_time())
        if self.now_ns >= self.slice_ends_ns:
            self.slice_ends_ns = self.now_ns + self.slice_ns
        self.turn_ends_ns = self.now_ns + self.turn_ns  # and anew when this step ends, unless its request is parked
        if self.requests[request].is_shared:
            return self._take_share(task, request)
        own.request, own.in_hand = request, A_RUN
        return Engine._choose(self, task)

    cdef int64_t _spin_time(self) noexcept nogil:
        """How long the receiver looks for requests: until a device's next event, if that is near; else if that pays."""
        cdef int64_t event_ns = self._next_event()
        if event_ns == NEVER_NS:
            return self.poll_ns if self.spinning_pays else 0
        return event_ns - self.now_ns + AFTER_NS if event_ns - self.now_ns < SOON_NS else 0

    cdef bint _is_time_for_backlog(self) noexcept nogil:
        """Whether large requests are worked on: nobody has arrived, or a slice goes on, or has to begin."""
        if self.backlog.first == NOBODY:
            return False
        return self.arrived.first == NOBODY or self.now_ns < self.slice_ends_ns or self.now_ns >= self.turn_ends_ns

    cdef bint _receive(self, int task) noexcept nogil:
        """Take a request in, and keep the CPU meanwhile, as Linux lets a system call that is not to be preempted."""
        cdef int request = self.arrived.first
        cdef double ns = self.receive_ns
        self.arrived.first = self.requests[request].next_request
        self.tasks[task].request = request
        if self.requests[request].kind != READ:
            ns += self.copy_ns * self.requests[request].pages
        self.cpus.runners[task].keeps_cpu = self.are_fair
        return self._run(task, <int64_t>ns, REQUEST, HAS_RECEIVED)

    cdef bint _begin_request(self, int task) noexcept nogil:
        """Do a small request in one go, and let a large one wait for its turn."""
        cdef Task *own = &self.tasks[task]
        cdef Request *request = &self.requests[own.request]
        cdef bint is_read = request.kind == READ
        cdef bint prefers_managed = not is_read and self.device_count and rule.prefers_managed(
            self.policy, request.kind == ASYNC_WRITE
        )
        self.cpus.runners[task].keeps_cpu = False
        request.is_shared = not prefers_managed
        if request.pages < self.shared_read_pages if is_read else request.pages <= self.one_go_pages:
            own.state = CHOOSES
            return True
        own.state = SERVES
        self._queue_for_work(own.request)
        return True

    cdef bint _choose(self, int task) noexcept nogil:
        """Go on with a request in one go; with everything else, see what is to be done next."""
        cdef Task *own = &self.tasks[task]
        cdef Request *request = &self.requests[own.request]
        if own.in_hand == ONE_GO and request.left:
            return Engine._choose(self, task)
        if own.in_hand == A_RUN:
            if request.left:
                return self._look_on(task)
            remove(&self.backlog, self.requests, own.request)
        return self._answer(task)

    cdef bint _answer(self, int task) noexcept nogil:
        """End a part of a request; with the last its pages are let go, in a system call like that of `_receive`."""
        cdef Request *request = &self.requests[self.tasks[task].request]
        cdef double ns = self._pin_time(request, False) if request.parts == 1 else 0
        self.cpus.runners[task].keeps_cpu = self.are_fair and ns > 0
        return self._run(task, <int64_t>ns, REQUEST, HAS_ANSWERED)

    cdef bint _end_step(self, int task) noexcept nogil:
        self.cpus.runners[task].keeps_cpu = False
        self.end_part(self.now_ns, self.tasks[task].request)
        return self._look_on(task)

    cdef bint _look_on(self, int task) noexcept nogil:
        """Look for what is to be done next, after a step."""
        cdef Task *own = &self.tasks[task]
        if task == self.first_server and own.in_hand != ONE_GO:
            self.turn_ends_ns = self.now_ns + self.turn_ns
        own.state = own.home
        return True

    def __repr__(self):
        return f"<DaemonEngine at {self.now_ns / 1e9:.6f} s, {self.events} events>"
