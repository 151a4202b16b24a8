# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""CPUs that have little to do take tasks that wait for other CPUs, by Linux's rules: at ticks, and when they idle.

All CPUs share one cache, and are one domain. They take tasks that have not run for a while, and after some ticks in
vain others as well: these bring callers and receiver together on a CPU, or apart.
"""

from libc.stdint cimport int64_t, uint64_t
from libc.stdlib cimport calloc, free

from zramfs.simulate.draws cimport draw_bits
from zramfs.simulate.eevdf cimport TICK_NS, note_load
from zramfs.simulate.fair_placement cimport ANY_LOAD, FULL, LEAST_LOAD, FairPlacement
from zramfs.simulate.heap cimport NOBODY

cdef enum:
    NS_PER_MS = 1000000
    BUSY_FACTOR = 16            # busy_factor
    MOST_MS_PER_CPU = 100       # max_load_balance_interval
    BALANCE_TRIES = 1           # cache_nice_tries, after which a task is taken that ran just now
    CALLS = 1024                # after which it is known anew how many succeed (`update_newidle_stats`)
    FOUND = CALLS // 8          # that succeed in the beginning: newidle_ratio is 26 to 181 after hours of uptime
    RATE_SHIFT = 22             # 1024 calls in 4 s: all of them look (NI_RATE)


cdef class FairBalance(FairPlacement):
    """Likewise."""

    def __cinit__(self, int cpus, *args, **kwargs):
        cdef int number
        self.balances = <Balance *>calloc(max(cpus, 1), sizeof(Balance))
        if self.balances == NULL:
            raise MemoryError
        for number in range(cpus):
            self.balances[number] = Balance(0, cpus, 0, CALLS // 2, FOUND // 2, FOUND, 0)

    def __dealloc__(self):
        free(self.balances)

    # ---- at a tick --------------------------------------------------------------------------------------------------

    cdef void _balance(self, int64_t now_ns) noexcept nogil:
        """What all CPUs do at a tick; the first that runs a task then does it for all.

        Idle CPUs look each time, or nearly, busy ones now and then.
        """
        cdef int64_t tick = now_ns // TICK_NS
        cdef int64_t before = self.last_tick
        cdef int number
        if tick == before:
            return
        self.last_tick = tick
        self._note_use(now_ns)
        for number in range(self.cpu_count):
            if tick > before + 1:  # all were idle meanwhile, and saw that
                self.balances[number].failed = 0
            if tick - self.balances[number].last_tick < self._ticks_between(number):
                continue
            self.balances[number].last_tick = tick
            if self._balance_at_tick(now_ns, number) and self.cpus[number].current == NOBODY:
                if self.cpus[number].working == NOBODY:
                    self.resume(now_ns, number)

    cdef int64_t _ticks_between(self, int cpu) noexcept nogil:
        """How long a CPU waits until it looks again (`get_sd_balance_interval`)."""
        cdef int64_t ns = <int64_t>self.balances[cpu].interval_ms * NS_PER_MS
        cdef int64_t most_ns = <int64_t>MOST_MS_PER_CPU * self.cpu_count * NS_PER_MS
        if self._is_idle(cpu):
            return (min(ns, most_ns) + TICK_NS - 1) // TICK_NS
        return max(<int64_t>1, min(ns * BUSY_FACTOR, most_ns) // TICK_NS - 1)

    cdef bint _balance_at_tick(self, int64_t now_ns, int cpu) noexcept nogil:
        """Take tasks: an idle CPU half of those that are elsewhere, a busy one as much load as it has too little.

        Source: `sched_balance_rq`, and `calculate_imbalance`.
        """
        cdef Balance *own = &self.balances[cpu]
        cdef double load = 0
        cdef int left = 0
        cdef int source, chosen
        cdef bint has_moved = False
        if self._is_idle(cpu):
            source = self._busiest(cpu)
            left = self.ready[source] // 2 if source != NOBODY else 0
        else:
            source = self._most_loaded(now_ns, cpu)
            load = self._missing_load(now_ns, source, cpu) if source != NOBODY else 0
        if left == 0 and load <= 0:
            own.failed = 0
            own.interval_ms = 2 * self.cpu_count
            return False
        own.interval_ms = self.cpu_count
        while left or load > 0:
            chosen = self._pull(
                now_ns, source, cpu, own.failed > BALANCE_TRIES, ANY_LOAD if left else load * (1 << min(own.failed, 30))
            )
            if chosen == NOBODY:
                break
            has_moved = True
            if left:
                left -= 1
            else:
                load -= max(self._load_of(now_ns, chosen), LEAST_LOAD)
        own.failed = 0 if has_moved else own.failed + 1
        return has_moved

    cdef int _busiest(self, int cpu) noexcept nogil:
        """The other CPU with the most tasks that are ready, if one has more than it can run; else NOBODY."""
        cdef int busiest = NOBODY
        cdef int number
        for number in range(self.cpu_count):
            if number != cpu and self.ready[number] > (1 if busiest == NOBODY else self.ready[busiest]):
                busiest = number
        return busiest

    cdef int _most_loaded(self, int64_t now_ns, int cpu) noexcept nogil:
        """The other CPU with the most load of those with more than they can do; else NOBODY."""
        cdef int loaded = NOBODY
        cdef int number
        for number in range(self.cpu_count):
            if number == cpu or self.ready[number] < 2 or self._has_spare(now_ns, number):
                continue
            if loaded == NOBODY or self._cpu_load(now_ns, number) > self._cpu_load(now_ns, loaded):
                loaded = number
        return loaded

    cdef bint _has_spare(self, int64_t now_ns, int cpu) noexcept nogil:
        """Whether a CPU could do more than it has to (`group_has_capacity`)."""
        cdef double waiting = note_load(&self.ready_load[cpu], now_ns, 0)
        return self.ready[cpu] == 0 or (self.use[cpu] < FULL and waiting <= 1 / FULL)

    cdef double _missing_load(self, int64_t now_ns, int from_cpu, int to_cpu) noexcept nogil:
        """What a CPU that is busy should have of another one's load for both to come nearer to the average."""
        cdef double here = self._cpu_load(now_ns, to_cpu)
        cdef double there = self._cpu_load(now_ns, from_cpu)
        cdef double average = 0
        cdef int number
        if self._has_spare(now_ns, to_cpu) or (self.ready[to_cpu] > 1 and there * FULL <= here):
            return 0
        for number in range(self.cpu_count):
            average += self._cpu_load(now_ns, number) / self.cpu_count
        return min(there - average, average - here)

    # ---- when it becomes idle ---------------------------------------------------------------------------------------

    cdef bint _pull_any(self, int64_t now_ns, int cpu) noexcept nogil:
        """Take a task that waits elsewhere; look for one the more often, the more often there was one.

        Source: `sched_balance_newidle`, with the switches NI_RANDOM and NI_RATE.
        """
        cdef Balance *own = &self.balances[cpu]
        cdef int weight = 1
        cdef int source
        cdef bint has_moved
        if not self.is_overloaded:
            return False
        if own.ratio < CALLS:
            weight += own.ratio
            if <int>(draw_bits(&self.random) % CALLS) > weight:
                self._note_call(now_ns, cpu, 0)
                return False
            weight = (CALLS + weight // 2) // weight
        source = self._busiest(cpu)
        has_moved = (
            source != NOBODY and self._pull(now_ns, source, cpu, own.failed > BALANCE_TRIES, ANY_LOAD) != NOBODY
        )
        self.is_overloaded = source != NOBODY
        if source == NOBODY or has_moved:
            own.failed = 0
        self._note_call(now_ns, cpu, weight if has_moved else 0)
        return has_moved

    cdef void _note_call(self, int64_t now_ns, int cpu, int successes) noexcept nogil:
        cdef Balance *own = &self.balances[cpu]
        own.calls += 1
        own.successes += successes
        if own.calls >= CALLS:
            own.ratio = <int>min(<int64_t>CALLS, own.successes + ((now_ns - own.rated_at_ns) >> RATE_SHIFT))
            own.rated_at_ns = now_ns
            own.calls //= 2
            own.successes //= 2

    def __repr__(self):
        return f"<FairBalance {[self.ready[number] for number in range(self.cpu_count)]} ready>"
