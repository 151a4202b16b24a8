# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""The rule by which the threads of queues run at home, on the CPU of their queue, or away on one that is idle.

At home a thread answers on the caller's CPU: best for callers that wait, for several of them, and beside a flood. A single
caller that does not wait, and keeps its queue deep, is slowed by that: it shares its CPU with its own requests. So its
queue's thread goes to an idle CPU of which no other caller uses the queue, until one does.
"""

from libc.stdint cimport int64_t, uint32_t
from libc.stdlib cimport calloc, free

from zramfs.atomic cimport exchange_int, peek_i64, peek_u32, poke_i64, poke_int, poke_u32
from zramfs.scheduling cimport run_on, thread_ns

cdef enum:
    WINDOW_NS = 1000000         # is long enough for a dozen requests of 4 KiB at the least, and short beside a flood's life
    FEWEST = 16                 # requests in a window, for it to say something
    DEEP_WINDOWS = 2            # in a row, until a thread leaves home
    # A thread whose excursion was in vain stays for a while: a move costs some 10 µs, and a CPU that others use as well, or
    # a caller that waits after all, is still so in the next window.
    SHALLOW_STAY_NS = 5000000
    CROWDED_STAY_NS = 50000000
    TEST_NS = 3000000           # a CPU is kept awake so long to see whether it is idle,
    TESTS = 2                   # and so many at a time


cdef class Placement:
    """The seats of the queues on `homes`: each queue's CPU, or -1 where this process may not run there.

    `awake` tells idle CPUs; without it nobody leaves home.
    """

    def __cinit__(self, homes, *args, **kwargs):
        self.count = len(homes)
        self.seats = <Seat *>calloc(max(self.count, 1), sizeof(Seat))
        if self.seats == NULL:
            raise MemoryError

    def __init__(self, homes, Awake awake):
        self.awake = awake
        for queue, home in enumerate(homes):
            self.seats[<int>queue].home = self.seats[<int>queue].cpu = home

    def __dealloc__(self):
        free(self.seats)

    @property
    def cpus(self):
        """Where each queue's thread runs; -1: anywhere."""
        return tuple(self.seats[queue].cpu for queue in range(self.count))

    @property
    def moves(self):
        """How often threads left home or came back, by queue."""
        return tuple(self.seats[queue].moves for queue in range(self.count))

    cdef void arrive(self, int queue, uint32_t caller, bint is_together, int64_t now_ns) noexcept nogil:
        """A request of `caller` has come; `is_together`: before the one before it was answered."""
        cdef Seat *seat = &self.seats[queue]
        if self.awake is None:
            return
        if seat.caller != caller:
            poke_u32(&seat.caller, caller)
            poke_i64(&seat.caller_since_ns, now_ns)
        poke_i64(&seat.last_ns, now_ns)
        seat.requests += 1
        seat.together += is_together

    cdef bint is_away(self, int queue) noexcept nogil:
        return self.seats[queue].cpu != self.seats[queue].home

    cdef void take_seat(self, int queue) noexcept nogil:
        """Move the calling thread, which is the queue's, to its CPU."""
        if self.seats[queue].cpu >= 0:
            run_on(self.seats[queue].cpu)

    cdef void move_if_due(self, int queue, int64_t now_ns, int64_t slept_ns) noexcept nogil:
        """Move it to another CPU, or home, where that is due. `slept_ns`: how long it has slept so far."""
        if self.is_due(queue, now_ns) and self.review(queue, now_ns, thread_ns() + slept_ns):
            self.take_seat(queue)

    cdef bint is_due(self, int queue, int64_t now_ns) noexcept nogil:
        """Whether `review` has something to say."""
        cdef Seat *seat = &self.seats[queue]
        if self.awake is None or seat.home < 0:
            return False
        return now_ns - seat.began_ns >= WINDOW_NS or (
            seat.cpu != seat.home and self.is_anothers(queue, seat.cpu, now_ns)
        )

    cdef bint review(self, int queue, int64_t now_ns, int64_t awake_ns) noexcept nogil:
        """Look back at a window, and begin the next; whether the thread is to move, to its seat's `cpu`.

        `awake_ns`: how long the thread has run or slept so far. The rest of its life it waited for a CPU.
        """
        cdef Seat *seat = &self.seats[queue]
        cdef bint moves
        if seat.cpu == seat.home:
            moves = self.goes_away(queue, now_ns)
        else:
            moves = self.comes_home(queue, now_ns, awake_ns)
        seat.began_ns, seat.awake_ns = now_ns, awake_ns
        seat.requests = seat.together = 0
        return moves

    cdef bint goes_away(self, int queue, int64_t now_ns) noexcept nogil:
        """Leave home, if the queue is deep and there is an idle CPU that no other caller uses."""
        cdef Seat *seat = &self.seats[queue]
        cdef bint is_deep = seat.requests >= FEWEST and seat.together * 4 >= seat.requests * 3
        cdef int other
        seat.deep_windows = seat.deep_windows + 1 if is_deep else 0
        if seat.deep_windows < DEEP_WINDOWS or now_ns < seat.stays_until_ns:
            return False
        for other in range(self.count):
            if self.may_take(queue, other, now_ns) and self.awake.is_idle(other, now_ns):
                if exchange_int(&self.seats[other].has_guest, True) == False:
                    self.move(queue, other)
                    return True
        self.test_some(queue, now_ns)
        return False

    cdef bint may_take(self, int queue, int other, int64_t now_ns) noexcept nogil:
        """Whether a queue's thread may go to the CPU of another one, if that is idle."""
        return other != queue and self.seats[other].home >= 0 and not self.is_anothers(queue, other, now_ns)

    cdef void test_some(self, int queue, int64_t now_ns) noexcept nogil:
        """Keep a few CPUs awake, others each time: whether they are idle shows before the next window's end."""
        cdef Seat *seat = &self.seats[queue]
        cdef int tests = 0
        cdef int step, other
        for step in range(1, self.count):
            other = (seat.tested + step) % self.count
            if tests < TESTS and self.may_take(queue, other, now_ns):
                self.awake.keep(other, now_ns, now_ns + TEST_NS)
                tests += 1
                seat.tested = other

    cdef bint comes_home(self, int queue, int64_t now_ns, int64_t awake_ns) noexcept nogil:
        """Come back, if another caller uses the CPU's queue, others use the CPU, or the queue is not deep any more."""
        cdef Seat *seat = &self.seats[queue]
        cdef bint is_crowded = awake_ns - seat.awake_ns < (now_ns - seat.began_ns) * 3 // 4
        cdef bint is_shallow = seat.together * 2 < seat.requests
        if is_crowded:
            seat.stays_until_ns = now_ns + CROWDED_STAY_NS
        elif is_shallow or self.is_anothers(queue, seat.cpu, now_ns):
            seat.stays_until_ns = now_ns + SHALLOW_STAY_NS
        else:
            return False
        poke_int(&self.seats[seat.cpu].has_guest, False)
        self.move(queue, seat.home)
        return True

    cdef bint is_anothers(self, int queue, int other, int64_t now_ns) noexcept nogil:
        """Whether a queue is used by another caller than ours, which the scheduler may have moved from there to here."""
        cdef Seat *seat = &self.seats[other]
        if now_ns - peek_i64(&seat.last_ns) > 2 * WINDOW_NS:
            return False
        return peek_u32(&seat.caller) != self.seats[queue].caller or (
            now_ns - peek_i64(&seat.caller_since_ns) < WINDOW_NS
        )

    cdef void move(self, int queue, int cpu) noexcept nogil:
        self.seats[queue].cpu = cpu
        self.seats[queue].deep_windows = 0
        self.seats[queue].moves += 1

    # ---- for tests ------------------------------------------------------------------------------------------------

    def note(self, int queue, uint32_t caller, int64_t now_ns, *, bint is_together, int times=1):
        """Let so many requests of a caller come."""
        for _ in range(times):
            self.arrive(queue, caller, is_together, now_ns)

    def look_back(self, int queue, int64_t now_ns, int64_t awake_ns):
        """Return the CPU that the queue's thread is to move to, or None."""
        if self.is_due(queue, now_ns) and self.review(queue, now_ns, awake_ns):
            return self.seats[queue].cpu
        return None

    def __repr__(self):
        return f"<Placement {self.cpus} of queues at home on {tuple(self.seats[q].home for q in range(self.count))}>"
