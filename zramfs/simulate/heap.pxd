# What happens later, the earliest first; of what happens at the same time, what was scheduled first.

from libc.stdint cimport int32_t, int64_t, uint64_t
from libc.stdlib cimport realloc

cdef enum:
    NOBODY = -1             # no task, run, request, …

# What kinds of events there are, and what their `subject` and `value` are.
cdef enum EventKind:
    CPU_EVENT               # a CPU; its generation
    INTERRUPT               # a device; when it was scheduled for
    RUN_TIMEOUT             # a device; the run, and its generation in the upper half
    ARRIVAL                 # a flow
    THOUGHT                 # a request
    OFFLINE                 # a device; 1: it comes back
    TIMER                   # the CPU where a daemon's event loop has it; when it was to go off
    CONTENTION              # a CPU; 1: something else shares its core from now on

cdef struct Event:
    int64_t at_ns
    uint64_t order
    int64_t value
    int32_t subject
    int32_t kind

cdef struct EventHeap:
    Event *events
    uint64_t count, capacity, order
    bint is_short           # of memory: an event was lost

cdef inline bint is_earlier(const Event *one, const Event *other) noexcept nogil:
    return one.at_ns < other.at_ns or (one.at_ns == other.at_ns and one.order < other.order)

cdef inline void schedule(EventHeap *heap, int64_t at_ns, int kind, int subject, int64_t value) noexcept nogil:
    cdef Event event
    cdef Event *grown
    cdef uint64_t place, parent
    if heap.count == heap.capacity:
        grown = <Event *>realloc(heap.events, (heap.capacity * 2 + 64) * sizeof(Event))
        if grown == NULL:
            heap.is_short = True
            return
        heap.events = grown
        heap.capacity = heap.capacity * 2 + 64
    event = Event(at_ns=at_ns, order=heap.order, value=value, subject=subject, kind=kind)
    heap.order += 1
    place = heap.count
    heap.count += 1
    while place > 0:
        parent = (place - 1) >> 1
        if not is_earlier(&event, &heap.events[parent]):
            break
        heap.events[place] = heap.events[parent]
        place = parent
    heap.events[place] = event

cdef inline Event take_earliest(EventHeap *heap) noexcept nogil:
    """There is one."""
    cdef Event earliest = heap.events[0]
    cdef Event last
    cdef uint64_t place = 0
    cdef uint64_t child
    heap.count -= 1
    last = heap.events[heap.count]
    while True:
        child = 2 * place + 1
        if child >= heap.count:
            break
        if child + 1 < heap.count and is_earlier(&heap.events[child + 1], &heap.events[child]):
            child += 1
        if not is_earlier(&heap.events[child], &last):
            break
        heap.events[place] = heap.events[child]
        place = child
    heap.events[place] = last
    return earliest
