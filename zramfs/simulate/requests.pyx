# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""The loads: requests begin, wait for their tasks, and end. How a task does its work is the `engine`'s.

A closed flow's task has as many requests as its depth, each of which is due again when its user has thought. An open
flow's arrivals wait in one queue for tasks that have a request to spare; the one that is idle for longest is woken.
"""

from libc.stdint cimport int64_t, uint64_t
from libc.stdlib cimport calloc, free

from zramfs.simulate.cpus cimport WAKE
from zramfs.simulate.draws cimport draw_bits, draw_exponential
from zramfs.simulate.heap cimport ARRIVAL, NOBODY, THOUGHT, schedule
from zramfs.simulate.histogram cimport BATCHES, LatencyHistogram


cdef class Requests:
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
        self.latencies = [LatencyHistogram() for _ in range(3)]
        self.sync_writes, self.async_writes, self.reads = self.latencies
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

    def begin(self):
        """Let the flows begin that are after no other."""
        cdef int number
        for number in range(self.task_count):
            self.cpus.runners[number].cpu = self._first_cpu_of(number)
            if number < self.first_server:
                self._be_idle(number)
        for number in range(self.flow_count):
            if self.flows[number].after == NOBODY:
                self._begin_flow(0, number)

    cdef int _first_cpu_of(self, int task) noexcept nogil:
        return self.tasks[task].cpu

    cdef void _begin_flow(self, int64_t now_ns, int flow) noexcept nogil:
        """Let every request of a closed flow be due, or the first of an open one arrive."""
        cdef Flow *own = &self.flows[flow]
        cdef int task, request
        own.origin_ns = now_ns
        if own.is_open:
            self._plan_arrival(now_ns, flow)
            return
        for task in range(self.task_count):
            if self.tasks[task].flow == flow:
                for request in range(self.tasks[task].first_request, self.tasks[task].first_request + own.depth):
                    self._think(now_ns, request)

    cdef void _end_flow(self, int64_t now_ns, int flow) noexcept nogil:
        """Every request of a flow has ended: those begin that are after its load, of which this is the only one."""
        cdef int other
        for other in range(self.flow_count):
            if self.flows[other].after == self.flows[flow].load:
                self._begin_flow(now_ns, other)

    # ---- a task takes a request -------------------------------------------------------------------------------------

    cdef int _take_request(self, int64_t now_ns, int task) noexcept nogil:
        """The request that a task does next; NOBODY if there is none now."""
        cdef Task *own = &self.tasks[task]
        cdef Flow *flow = &self.flows[own.flow]
        cdef int request
        if flow.is_open:
            return self._take_arrival(now_ns, task)
        request = own.first_due
        if request == NOBODY:
            return NOBODY
        own.first_due = self.requests[request].next_request
        self.requests[request].kind = flow.kind
        self.requests[request].pages = self.requests[request].left = flow.pages
        self.requests[request].parts = 1
        flow.submitted += 1
        return request

    cdef int _take_arrival(self, int64_t now_ns, int task) noexcept nogil:
        cdef Task *own = &self.tasks[task]
        cdef Flow *flow = &self.flows[own.flow]
        cdef int request = own.first_free
        cdef Arrival *arrival
        if flow.waiting_count == 0 or request == NOBODY:
            return NOBODY
        arrival = &flow.waiting[flow.first_waiting]
        flow.first_waiting = (flow.first_waiting + 1) % MOST_WAITING
        flow.waiting_count -= 1
        own.first_free = self.requests[request].next_request
        self.requests[request].arrival_ns = arrival.at_ns
        self.requests[request].kind = arrival.kind
        self.requests[request].pages = self.requests[request].left = arrival.pages
        self.requests[request].parts = 1
        return request

    # ---- and ends it ------------------------------------------------------------------------------------------------

    cdef void end_part(self, int64_t now_ns, int request) noexcept nogil:
        """One of a request's runs has ended, or its task is done with it: the last ends the request."""
        self.requests[request].parts -= 1
        if self.requests[request].parts == 0:
            self._end_request(now_ns, request)

    cdef void _end_request(self, int64_t now_ns, int request) noexcept nogil:
        cdef Request *own = &self.requests[request]
        cdef Task *task = &self.tasks[own.task]
        cdef Flow *flow = &self.flows[task.flow]
        cdef int each
        flow.ended += 1
        if self.is_measured:
            self._count_latency(now_ns, own)
        if flow.is_open:
            own.next_request = task.first_free
            task.first_free = request
            if task.is_asleep and task.state == TAKES:
                if flow.waiting_count:
                    self.wake(now_ns, own.task)
                else:
                    self._be_idle(own.task)
        elif not flow.in_batches:
            self._think(now_ns, request)
        else:
            task.batch_ended += 1
            if task.batch_ended == flow.depth:
                task.batch_ended = 0
                for each in range(task.first_request, task.first_request + flow.depth):
                    self._think(now_ns, each)
        if flow.limit and flow.ended + flow.dropped == flow.limit:
            self._end_flow(now_ns, task.flow)

    cdef void _count_latency(self, int64_t now_ns, const Request *request) noexcept nogil:
        cdef int batch = <int>((now_ns - self.warmup_ns) * <double>BATCHES / (self.end_ns - self.warmup_ns))
        batch = max(0, min(batch, BATCHES - 1))
        if request.kind == SYNC_WRITE:
            self.sync_writes.add(now_ns - request.arrival_ns, batch)
        elif request.kind == ASYNC_WRITE:
            self.async_writes.add(now_ns - request.arrival_ns, batch)
        else:
            self.reads.add(now_ns - request.arrival_ns, batch)

    # ---- requests become due, or arrive -----------------------------------------------------------------------------

    cdef void _think(self, int64_t now_ns, int request) noexcept nogil:
        """Let a closed request be due again, after its user has thought. A batch is thought about once."""
        cdef Task *task = &self.tasks[self.requests[request].task]
        cdef Flow *flow = &self.flows[task.flow]
        cdef int64_t ns
        if flow.think_ns <= 0:
            self._be_due(now_ns, request)
        elif not flow.in_batches or request == task.first_request:
            ns = draw_exponential(flow.think_ns, &flow.random) if flow.thinks_exponentially else <int64_t>flow.think_ns
            schedule(&self.heap, now_ns + ns, THOUGHT, request, 0)

    cdef void on_thought(self, int64_t now_ns, int request) noexcept nogil:
        """A request, or a batch, is due."""
        cdef Flow *flow = &self.flows[self.tasks[self.requests[request].task].flow]
        cdef int each
        for each in range(request, request + (flow.depth if flow.in_batches else 1)):
            self._be_due(now_ns, each)

    cdef void _be_due(self, int64_t now_ns, int request) noexcept nogil:
        cdef Task *task = &self.tasks[self.requests[request].task]
        cdef Flow *flow = &self.flows[task.flow]
        if now_ns >= self.end_ns or (flow.limit and flow.due == flow.limit):
            return
        flow.due += 1
        self.requests[request].arrival_ns = now_ns
        self.requests[request].next_request = NOBODY
        if task.first_due == NOBODY:
            task.first_due = request
        else:
            self.requests[task.last_due].next_request = request
        task.last_due = request
        if task.is_asleep and task.state == TAKES:
            self.wake(now_ns, self.requests[request].task)

    cdef void on_arrival(self, int64_t now_ns, int flow) noexcept nogil:
        """Let a burst arrive, or the next request of a trace."""
        cdef Flow *own = &self.flows[flow]
        cdef int each
        if own.trace_ns != NULL:
            self._arrive(now_ns, flow, own.trace_pages[own.trace_place], own.trace_kinds[own.trace_place])
            own.trace_place += 1
        else:
            for each in range(own.burst):
                if own.limit and own.submitted == own.limit:
                    break
                self._arrive(now_ns, flow, own.pages, own.kind)
        self._plan_arrival(now_ns, flow)

    cdef void _plan_arrival(self, int64_t now_ns, int flow) noexcept nogil:
        cdef Flow *own = &self.flows[flow]
        cdef int64_t next_ns
        if own.gap_ns > 0:
            if own.limit and own.submitted >= own.limit:
                return
            next_ns = now_ns + draw_exponential(own.gap_ns, &own.random)
        elif own.trace_place < own.trace_count:
            next_ns = max(now_ns, own.origin_ns + <int64_t>(own.trace_ns[own.trace_place] / own.speed))
        else:
            return
        if next_ns < self.end_ns:
            schedule(&self.heap, next_ns, ARRIVAL, flow, 0)

    cdef void _arrive(self, int64_t now_ns, int flow, int pages, int kind) noexcept nogil:
        cdef Flow *own = &self.flows[flow]
        cdef int task
        own.submitted += 1
        if own.waiting_count == MOST_WAITING:
            own.dropped += 1
            return
        own.waiting[(own.first_waiting + own.waiting_count) % MOST_WAITING] = Arrival(now_ns, pages, kind)
        own.waiting_count += 1
        while own.first_idle != NOBODY:
            task = own.first_idle
            own.first_idle = self.tasks[task].next_idle
            self.tasks[task].is_idle = False
            if self.tasks[task].is_asleep and self.tasks[task].state == TAKES:
                self.wake(now_ns, task)
                return

    # ---- tasks sleep and wake up ------------------------------------------------------------------------------------

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
