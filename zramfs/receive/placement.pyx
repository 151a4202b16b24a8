# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""The rule by which the threads of queues run at home, on the CPU of their queue, or roam: the scheduler places them.

At home a thread answers on the caller's CPU: best for callers that wait, for several of them, and beside a flood. A
caller that does not wait, and keeps its queue deep, is slowed by that: it shares its CPU with its own requests. While
it is the mount's only one, its queue's thread roams, and the scheduler, which knows the idle CPUs, wakes it on one of
them.
"""

from libc.stdint cimport int64_t, uint32_t
from libc.stdlib cimport calloc, free

from zramfs.atomic cimport peek_i64, peek_u32, poke_i64, poke_u32
from zramfs.scheduling cimport CPU_SET, CPU_ZERO, cpu_set_t, run_on

cdef enum:
    WINDOW_NS = 1000000         # a dozen requests of 4 KiB or more come in it, and a flood lasts much longer
    FEWEST = 16                 # requests in a window, for it to say something
    DEEP_WINDOWS = 2            # in a row, until a thread leaves home
    # A thread that roams keeps up with its caller, so its requests come one by one, as those of a caller that waits.
    # It comes home to see which of the two it is.
    ROAMS_NS = 20000000
    STAYS_NS = 5000000          # at home, where another caller was


cdef class Placement:
    """The seats of the queues on `homes`: each queue's CPU, or -1 where this process may not run there."""

    def __cinit__(self, homes):
        self.count = len(homes)
        self.seats = <Seat *>calloc(max(self.count, 1), sizeof(Seat))
        if self.seats == NULL:
            raise MemoryError

    def __init__(self, homes):
        self.has_choice = sum(home >= 0 for home in homes) > 1
        for queue, home in enumerate(homes):
            self.seats[<int>queue].home = home

    def __dealloc__(self):
        free(self.seats)

    @property
    def roaming(self):
        """Whether each queue's thread roams."""
        return tuple(bool(self.seats[queue].roams) for queue in range(self.count))

    @property
    def moves(self):
        """How often threads left home or came back, by queue."""
        return tuple(self.seats[queue].moves for queue in range(self.count))

    cdef void arrive(self, int queue, uint32_t caller, bint is_together, int64_t now_ns) noexcept nogil:
        """A request of `caller` has come; `is_together`: before the one before it was answered."""
        cdef Seat *seat = &self.seats[queue]
        if seat.caller != caller:
            poke_u32(&seat.caller, caller)
            poke_i64(&seat.caller_since_ns, now_ns)
        poke_i64(&seat.last_ns, now_ns)
        seat.requests += 1
        seat.together += is_together

    cdef void take_seat(self, int queue) noexcept nogil:
        """Let the calling thread, which is the queue's, run where it is to."""
        cdef Seat *seat = &self.seats[queue]
        cdef cpu_set_t cpus
        cdef int other
        if seat.home < 0:
            return
        CPU_ZERO(&cpus)
        for other in range(self.count):
            if self.seats[other].home >= 0 and (seat.roams or other == queue):
                CPU_SET(self.seats[other].home, &cpus)
        run_on(&cpus)

    cdef void move_if_due(self, int queue, int64_t now_ns) noexcept nogil:
        """Let it roam, or come home, where that is due."""
        if self.is_due(queue, now_ns) and self.review(queue, now_ns):
            self.take_seat(queue)

    cdef bint is_due(self, int queue, int64_t now_ns) noexcept nogil:
        """Whether a window has ended."""
        return self.has_choice and now_ns - self.seats[queue].began_ns >= WINDOW_NS and self.seats[queue].home >= 0

    cdef bint review(self, int queue, int64_t now_ns) noexcept nogil:
        """Look back at a window, and begin the next; whether the thread is to take its seat anew."""
        cdef Seat *seat = &self.seats[queue]
        cdef bint is_deep = seat.requests >= FEWEST and seat.together * 4 >= seat.requests * 3
        cdef bint moves
        seat.deep_windows = seat.deep_windows + 1 if is_deep else 0
        moves = self.comes_home(queue, now_ns) if seat.roams else self.leaves(queue, now_ns)
        if moves:
            seat.roams = not seat.roams
            seat.deep_windows = 0
            seat.moves += 1
        seat.began_ns = now_ns
        seat.requests = seat.together = 0
        return moves

    cdef bint leaves(self, int queue, int64_t now_ns) noexcept nogil:
        """Whether it leaves home: its queue is deep, and has the only caller."""
        cdef Seat *seat = &self.seats[queue]
        if seat.deep_windows < DEEP_WINDOWS or now_ns < seat.until_ns or not self.is_alone(queue, now_ns):
            return False
        seat.until_ns = now_ns + ROAMS_NS
        return True

    cdef bint comes_home(self, int queue, int64_t now_ns) noexcept nogil:
        """Whether it comes home: there is another caller, or the queue has not looked deep for long."""
        cdef Seat *seat = &self.seats[queue]
        if not self.is_alone(queue, now_ns):
            seat.until_ns = now_ns + STAYS_NS
            return True
        if seat.deep_windows:
            seat.until_ns = now_ns + ROAMS_NS
        return now_ns >= seat.until_ns

    cdef bint is_alone(self, int queue, int64_t now_ns) noexcept nogil:
        """Whether a queue's caller is the only one of late at all queues, between which the scheduler may move it."""
        cdef uint32_t caller = self.seats[queue].caller
        cdef Seat *seat
        cdef int other
        for other in range(self.count):
            seat = &self.seats[other]
            if now_ns - peek_i64(&seat.last_ns) > 2 * WINDOW_NS:
                continue
            if peek_u32(&seat.caller) != caller or now_ns - peek_i64(&seat.caller_since_ns) < WINDOW_NS:
                return False
        return True

    # ---- for tests ------------------------------------------------------------------------------------------------

    def note(self, int queue, uint32_t caller, int64_t now_ns, *, bint is_together, int times=1):
        """Let so many requests of a caller come."""
        for _ in range(times):
            self.arrive(queue, caller, is_together, now_ns)

    def look_back(self, int queue, int64_t now_ns):
        """Whether the queue's thread leaves home now, or comes back."""
        return self.is_due(queue, now_ns) and self.review(queue, now_ns)

    def __repr__(self):
        roaming = [queue for queue in range(self.count) if self.seats[queue].roams]
        return f"<Placement of {self.count} queues, roaming: {roaming}>"
