# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""The tasks of a scenario's flows, and the memory of their requests; how a task sleeps, and is woken up.

What requests it takes, and when they are due, is told by `requests`.
"""

from libc.stdint cimport int64_t, uint64_t
from libc.stdlib cimport calloc, free

from zramfs.simulate.cpus cimport WAKE
from zramfs.simulate.draws cimport draw_bits
from zramfs.simulate.heap cimport NOBODY


cdef class Tasks:
    """The tasks of `flows` (flows.Flow), with their requests; `seed` is of what is random about them."""

    def __cinit__(
        self, flows, *args, uint64_t seed, int64_t warmup_ns, int64_t end_ns, int64_t wake_ns, int servers=0, **kwargs
    ):
        cdef int tasks = sum(len(flow.cpus) for flow in flows) + servers
        cdef int number
        cdef int requests = sum(len(flow.cpus) * flow.depth for flow in flows)
        self.kept = []
        self.flow_count, self.task_count = len(flows), tasks
        self.warmup_ns, self.end_ns, self.wake_ns = warmup_ns, end_ns, wake_ns
        self.flows = <Flow *>calloc(max(self.flow_count, 1), sizeof(Flow))
        self.tasks = <Task *>calloc(max(tasks, 1), sizeof(Task))
        self.requests = <Request *>calloc(max(requests, 1), sizeof(Request))
        if not (self.flows and self.tasks and self.requests):
            raise MemoryError
        self.first_server = tasks - servers
        self._set_up(flows, seed)
        for number in range(self.first_server, tasks):
            self.tasks[number].flow = self.tasks[number].request = NOBODY
            self.tasks[number].is_asleep = True

    def __dealloc__(self):
        cdef int number
        if self.flows:
            for number in range(self.flow_count):
                free(self.flows[number].waiting)
        free(self.flows)
        free(self.tasks)
        free(self.requests)
        free(self.heap.events)

    def _set_up(self, flows, uint64_t seed):
        cdef int number, task = 0, request = 0
        cdef Flow *own
        for number, flow in enumerate(flows):
            own = &self.flows[number]
            own.load, own.depth, own.burst = flow.load, flow.depth, flow.burst
            own.pages, own.kind = flow.pages, flow.kind
            own.is_open, own.in_batches = flow.is_open, flow.in_batches
            own.think_ns, own.thinks_exponentially = flow.think_ns, flow.thinks_exponentially
            own.gap_ns, own.speed, own.make_ns = flow.gap_ns, flow.speed, flow.make_ns
            own.limit, own.after = flow.requests, flow.after
            own.reads_first, own.read_pages = flow.reads_first, flow.read_pages
            own.random = draw_bits(&seed)
            own.first_idle = NOBODY
            if own.is_open:
                own.waiting = <Arrival *>calloc(MOST_WAITING, sizeof(Arrival))
                if own.waiting == NULL:
                    raise MemoryError
            if flow.trace is not None:
                self._set_trace(own, flow.trace)
            for cpu in flow.cpus:
                self._set_up_task(task, number, cpu, request)
                task += 1
                request += own.depth

    cdef int _set_trace(self, Flow *flow, trace) except -1:
        cdef const int64_t[::1] arrivals = trace.arrivals_ns
        cdef const int[::1] pages = trace.pages
        cdef const unsigned char[::1] kinds = trace.kinds
        self.kept.append(trace)
        flow.trace_count = len(trace)
        if flow.trace_count:
            flow.trace_ns, flow.trace_pages, flow.trace_kinds = &arrivals[0], &pages[0], &kinds[0]
        return 0

    cdef int _set_up_task(self, int number, int flow, int cpu, int first_request) except -1:
        cdef Task *task = &self.tasks[number]
        cdef int depth = self.flows[flow].depth
        cdef int request
        task.flow, task.cpu, task.first_request = flow, cpu, first_request
        task.request = task.first_due = task.last_due = task.first_free = NOBODY
        task.state = task.home = TAKES
        task.first_ended = NOBODY
        task.is_asleep = True
        for request in range(first_request + depth - 1, first_request - 1, -1):
            self.requests[request].task = number
            self.requests[request].next_request = task.first_free
            task.first_free = request
        if not self.flows[flow].is_open:
            task.first_free = NOBODY
        return 0

    cdef int _first_cpu_of(self, int task) noexcept nogil:
        return self.tasks[task].cpu

    # ---- they sleep and wake up -----------------------------------------------------------------------------------

    cdef void wake(self, int64_t now_ns, int task) noexcept nogil:
        """Let a task go on in its state, once it has a CPU and has paid for the switch."""
        self.tasks[task].is_asleep = False
        self.cpus.run_for(task, self.wake_ns, WAKE)
        self.cpus.wake(now_ns, task)

    cdef void sleep(self, int task, int state) noexcept nogil:
        """Give up the CPU until somebody wakes the task; then it goes on in this state."""
        self.tasks[task].state = state
        self.tasks[task].is_asleep = True
        if state == TAKES:
            self._be_idle(task)
        self.cpus.sleep(task)

    cdef void _be_idle(self, int task) noexcept nogil:
        """Join those whom arrivals wake, if there is a request to spare. Once is enough, also if it was woken since."""
        cdef Task *own = &self.tasks[task]
        cdef Flow *flow = &self.flows[own.flow]
        if not flow.is_open or own.first_free == NOBODY or own.is_idle:
            return
        own.is_idle = True
        own.next_idle = NOBODY
        if flow.first_idle == NOBODY:
            flow.first_idle = task
        else:
            self.tasks[flow.last_idle].next_idle = task
        flow.last_idle = task

    def counts(self):
        """(load, submitted, ended, dropped) of each flow."""
        return [
            (self.flows[i].load, self.flows[i].submitted, self.flows[i].ended, self.flows[i].dropped)
            for i in range(self.flow_count)
        ]
