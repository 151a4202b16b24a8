# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""What a daemon's tasks have in common: they sleep, spin and are woken; and the requests that wait for them.

Those who make requests are its callers: they sleep until one has ended. Large requests wait in a backlog, of which
receiver and crew take shares; those that have to wait for a descriptor are parked.
"""

from libc.stdint cimport int64_t

from zramfs.simulate.cpus cimport REQUEST, WAKE
from zramfs.simulate.engine cimport Engine
from zramfs.simulate.heap cimport NOBODY
from zramfs.simulate.requests cimport Requests
from zramfs.simulate.runs cimport PERCPU, READ_SOFTWARE
from zramfs.simulate.tasks cimport A_RUN, A_SHARE, LOCKS, READ, TAKES, Request, Task

cdef enum:
    NS_PER_US = 1000


cdef class Servers(Engine):
    """One run of a Scenario that has a Daemon, as far as its tasks serve callers: how they wait, and the backlog."""

    def __cinit__(self, flows, devices, *, scenario, **kwargs):
        daemon, costs = scenario.daemon, scenario.machine.costs
        self.crew_count = daemon.crew
        self.share_pages = daemon.share_pages
        self.poll_ns = round(daemon.poll_us * NS_PER_US)
        self.helper_poll_ns = round(daemon.helper_poll_us * NS_PER_US)
        self.loop_ns = round(costs.loop.us * NS_PER_US)
        self.loop = NOBODY
        self.spinning_pays = True
        self.cpus.apart_ns = round(costs.apart.us * NS_PER_US)
        self.cpus.caller_count = self.first_server
        self.arrived = self.backlog = self.parked = RequestQueue(NOBODY, NOBODY)

    # ---- tasks ------------------------------------------------------------------------------------------------------

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

    # ---- the backlog ------------------------------------------------------------------------------------------------

    cdef void _queue_for_work(self, int request) noexcept nogil:
        """Let a request wait in the backlog, and call those of the crew who sleep, if they may help."""
        cdef int task
        append(&self.backlog, self.requests, request)
        if not self.requests[request].is_shared:
            return
        for task in range(self.first_server + 1, self.first_server + 1 + self.crew_count):
            self._wake_server(self.now_ns, task)

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
