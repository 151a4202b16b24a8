from libc.stdint cimport uint64_t

from zramfs.accel.modelled cimport ModelledQueue
from zramfs.atomic cimport peek_int
from zramfs.streams cimport Waiter

cdef struct WaiterQueue:
    Waiter *first
    Waiter *last
    uint64_t tickets
    int called              # those who were called, or told to ask, and have not got a stream yet

cdef inline void add_waiter(WaiterQueue *queue, Waiter *waiter) noexcept nogil:
    """Put a waiter where its ticket says: a new one at the end, one that was called in vain before all later ones."""
    cdef Waiter **place = &queue.first
    if waiter.ticket == 0:
        queue.tickets += 1
        waiter.ticket = queue.tickets
        place = &queue.last.next if queue.first != NULL else place
    while place[0] != NULL and place[0].ticket < waiter.ticket:
        place = &place[0].next
    waiter.next = place[0]
    place[0] = waiter
    if waiter.next == NULL:
        queue.last = waiter

cdef inline Waiter *take_waiter(WaiterQueue *queue) noexcept nogil:
    """The first; there is one."""
    cdef Waiter *waiter = queue.first
    queue.first = waiter.next
    return waiter

cdef inline bint is_next(const WaiterQueue *queue, const Waiter *waiter) noexcept nogil:
    """Whether nobody waits who came before."""
    return queue.first == NULL or (waiter.ticket and waiter.ticket < queue.first.ticket)

cdef inline bint may_take(const WaiterQueue *queue) noexcept nogil:
    """Whether a stream may go to whoever asks: while others wait, only as many get one as were called."""
    return queue.first == NULL or queue.called

cdef inline void count_asked(WaiterQueue *queue) noexcept nogil:
    """One of those who were called has asked; or somebody else has, while nobody waits."""
    queue.called = max(queue.called - 1, 0)

cdef class StreamWaiters:
    cdef ModelledQueue queue
    cdef WaiterQueue waiting
    cdef bint is_calling
    cdef int waits              # atomic: whether callers rather wait than do without

    cdef bint must_wait(self) noexcept nogil
    cdef bint add(self, Waiter *waiter) noexcept nogil
    cdef void call(self) noexcept nogil
    cdef int _free_for_waiters(self) noexcept nogil
    cdef void _forget_called(self) noexcept nogil
