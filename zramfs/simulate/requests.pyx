# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""The loads: requests begin, wait for their tasks, and end. How a task does its work is the `engine`'s.

A closed flow's task has as many requests as its depth, each of which is due again when its user has thought. An open
flow's arrivals wait in one queue for tasks that have a request to spare; the one that is idle for longest is woken.
"""

from libc.stdint cimport int64_t

from zramfs.simulate.draws cimport draw_exponential
from zramfs.simulate.heap cimport ARRIVAL, NOBODY, THOUGHT, schedule
from zramfs.simulate.histogram cimport BATCHES, LatencyHistogram
from zramfs.simulate.tasks cimport (
    ASYNC_WRITE,
    MOST_WAITING,
    READ,
    SYNC_WRITE,
    TAKES,
    Arrival,
    Flow,
    Request,
    Task,
    Tasks,
)


cdef class Requests(Tasks):
    """The flows' requests, from when each is due or arrives to its end."""

    def __cinit__(self, *args, **kwargs):
        self.latencies = [LatencyHistogram() for _ in range(3)]
        self.sync_writes, self.async_writes, self.reads = self.latencies

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

    cdef void _begin_flow(self, int64_t now_ns, int flow) noexcept nogil:
        """Let every request of a closed flow be due, or the first of an open one arrive."""
        cdef Flow *own = &self.flows[flow]
        cdef int task, request
        own.origin_ns = now_ns
        if own.is_open:
            self._plan_arrival(now_ns, flow)
            return
        for task in range(self.task_count):
            if self.tasks[task].flow == flow and own.reads_first:
                self._be_due(now_ns, self.tasks[task].first_request)
            elif self.tasks[task].flow == flow:
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
        cdef bint is_read
        if flow.is_open:
            return self._take_arrival(now_ns, task)
        request = own.first_due
        if request == NOBODY:
            return NOBODY
        own.first_due = self.requests[request].next_request
        is_read = own.reads_ended < flow.reads_first
        self.requests[request].kind = READ if is_read else flow.kind
        self.requests[request].pages = self.requests[request].left = flow.read_pages if is_read else flow.pages
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
        elif task.reads_ended < flow.reads_first:
            self._end_read(now_ns, task, flow)
        else:
            self._end_of_batch(now_ns, task, flow)
        if flow.limit and flow.ended + flow.dropped == flow.limit:
            self._end_flow(now_ns, task.flow)

    cdef void _end_read(self, int64_t now_ns, Task *task, const Flow *flow) noexcept nogil:
        """The next read is due, or a batch for the room that they have taken."""
        cdef int each
        task.reads_ended += 1
        for each in range(flow.depth if task.reads_ended == flow.reads_first else 1):
            self._be_due(now_ns, task.first_request + each)

    cdef void _end_of_batch(self, int64_t now_ns, Task *task, const Flow *flow) noexcept nogil:
        """Once all of a batch have ended, the next is due, or the reads before it."""
        cdef int each
        task.batch_ended += 1
        if task.batch_ended < flow.depth:
            return
        task.batch_ended = task.reads_ended = 0
        for each in range(1 if flow.reads_first else flow.depth):
            self._think(now_ns, task.first_request + each)

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
