from libc.stdint cimport int64_t

from zramfs.simulate.histogram cimport LatencyHistogram
from zramfs.simulate.tasks cimport Flow, Request, Task, Tasks

cdef class Requests(Tasks):
    cdef readonly list latencies            # LatencyHistogram by RequestKind
    cdef LatencyHistogram sync_writes, async_writes, reads

    cdef int _take_request(self, int64_t now_ns, int task) noexcept nogil
    cdef int _take_arrival(self, int64_t now_ns, int task) noexcept nogil
    cdef void _begin_flow(self, int64_t now_ns, int flow) noexcept nogil
    cdef void _end_flow(self, int64_t now_ns, int flow) noexcept nogil
    cdef void end_part(self, int64_t now_ns, int request) noexcept nogil
    cdef void _end_request(self, int64_t now_ns, int request) noexcept nogil
    cdef void _end_read(self, int64_t now_ns, Task *task, const Flow *flow) noexcept nogil
    cdef void _end_of_batch(self, int64_t now_ns, Task *task, const Flow *flow) noexcept nogil
    cdef void _count_latency(self, int64_t now_ns, const Request *request) noexcept nogil
    cdef void _think(self, int64_t now_ns, int request) noexcept nogil
    cdef void _be_due(self, int64_t now_ns, int request) noexcept nogil
    cdef void on_thought(self, int64_t now_ns, int request) noexcept nogil
    cdef void on_arrival(self, int64_t now_ns, int flow) noexcept nogil
    cdef void _plan_arrival(self, int64_t now_ns, int flow) noexcept nogil
    cdef void _arrive(self, int64_t now_ns, int flow, int pages, int kind) noexcept nogil
