# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""When a modelled device would be done: a pure function of what was submitted, when, and the device's `Timing`.

No clock is read and no thread runs here: `completion_times` is the model as a function, `Timeline` the same model fed
run by run, which is how the emulated device uses it. docs/accelerator.md has the formulas and what they leave out.
"""

cimport cython
from libc.stdint cimport int64_t, uint32_t
from libc.stdlib cimport calloc, free
from libc.string cimport memmove, memset

from zramfs.clock cimport NEVER_NS

NEVER = NEVER_NS


def completion_times(submissions, timing):
    """When the caller learns that each run is done, in ns.

    `submissions` are (time in ns, pages) of each run, in the order of their times.
    """
    timeline = Timeline(timing, len(submissions))
    told_ns = {}
    for run, (now_ns, pages) in enumerate(submissions):
        timeline.submit(now_ns, run, pages)
    while (interrupt_ns := timeline.next_interrupt_ns()) != NEVER:
        told_ns.update(dict.fromkeys(timeline.take_interrupt(), interrupt_ns))
    return [told_ns[run] for run in range(len(submissions))]


cdef Costs costs_of(timing) except *:
    """A Timing's numbers; ValueError for one of more engines than there is room for."""
    if not 1 <= timing.engines <= MOST_ENGINES:
        raise ValueError(f"a device has 1 to {MOST_ENGINES} engines, not {timing.engines}")
    return Costs(
        submit_ns=timing.submit_ns,
        job_ns=timing.job_ns,
        page_ns=timing.page_ns,
        coalesce_ns=timing.coalesce_ns,
        interrupt_ns=timing.interrupt_ns,
        batch_max_pages=timing.batch_max_pages,
        coalesce_runs=timing.coalesce_runs,
        engines=timing.engines,
        takes_time=timing.takes_time,
    )


@cython.final
cdef class Timeline:
    """The engines of one device, and the runs that they have been given. Times are in ns, of any clock.

    At most `capacity` runs are on it at a time, each with a number of its own. It has no lock.
    """

    def __cinit__(self, timing, uint32_t capacity):
        self.capacity = max(capacity, 1)
        self.ready = <Ready *>calloc(self.capacity, sizeof(Ready))
        if self.ready == NULL:
            raise MemoryError
        self.costs = costs_of(timing)

    def __dealloc__(self):
        free(self.ready)

    def change_timing(self, timing):
        """Let other costs hold for what is submitted from here on, and for interrupts at once; for tests."""
        self.set_costs(costs_of(timing))

    cdef void set_costs(self, Costs costs) noexcept nogil:
        """Like `change_timing`. Engines that are added are idle."""
        cdef int engine
        for engine in range(self.costs.engines, costs.engines):
            self.engine_free_ns[engine] = 0
        self.costs = costs

    def submit(self, int64_t now_ns, uint32_t run, int pages):
        """Give a run to the engines; when they are done with it. `take_interrupt` will name it."""
        if self.count == self.capacity:
            raise ValueError(f"more than {self.capacity} runs on the timeline")
        return self.add(now_ns, run, pages)

    cdef int64_t add(self, int64_t now_ns, uint32_t run, int pages) noexcept nogil:
        """Like `submit`; there is room for the run."""
        cdef uint32_t place = self.count
        cdef int64_t ready_ns = self.occupy(now_ns, pages)
        while place > 0 and self.ready[place - 1].ready_ns > ready_ns:
            self.ready[place] = self.ready[place - 1]
            place -= 1
        self.ready[place] = Ready(ready_ns=ready_ns, run=run)
        self.count += 1
        return ready_ns

    cpdef int64_t occupy(self, int64_t now_ns, int pages) noexcept nogil:
        """Like `submit` of a run whose caller polls: no interrupt tells of it."""
        cdef int64_t arrival_ns = max(now_ns + self.costs.submit_ns, self.stalled_until_ns)
        cdef int64_t ready_ns = arrival_ns
        cdef int engine, job_pages
        while pages > 0:
            job_pages = min(pages, self.costs.batch_max_pages)
            engine = self._earliest_engine()
            self.engine_free_ns[engine] = (
                max(arrival_ns, self.engine_free_ns[engine]) + self.costs.job_ns + job_pages * self.costs.page_ns
            )
            ready_ns = max(ready_ns, self.engine_free_ns[engine])
            pages -= job_pages
        return ready_ns

    cpdef int64_t predict(self, int64_t now_ns, int pages) noexcept nogil:
        """When a run submitted now would be done at the latest, if every job of it had to follow the one before."""
        cdef int jobs = (pages + self.costs.batch_max_pages - 1) // self.costs.batch_max_pages
        cdef int64_t begin_ns = max(now_ns + self.costs.submit_ns, self.stalled_until_ns)
        cdef int64_t work_ns = jobs * self.costs.job_ns + pages * self.costs.page_ns
        return max(begin_ns, self.engine_free_ns[self._earliest_engine()]) + work_ns

    cpdef int64_t next_interrupt_ns(self) noexcept nogil:
        """When the next interrupt arrives, as far as is known by now; NEVER if nothing is on its way."""
        cdef int64_t fire_ns = self._next_fire_ns()
        return fire_ns if fire_ns == NEVER_NS else fire_ns + self.costs.interrupt_ns

    def take_interrupt(self):
        """Let the next interrupt happen; the numbers of the runs that it tells of."""
        cdef uint32_t place
        cdef uint32_t *runs = <uint32_t *>calloc(self.capacity, sizeof(uint32_t))
        if runs == NULL:
            raise MemoryError
        told = [runs[place] for place in range(self.take_told(runs))]
        free(runs)
        return told

    cdef uint32_t take_told(self, uint32_t *runs) noexcept nogil:
        """Like `take_interrupt`; how many it wrote to `runs`, which has room for as many as there may be."""
        cdef int64_t fire_ns = self._next_fire_ns()
        cdef uint32_t told = 0
        while told < self.count and self.ready[told].ready_ns <= fire_ns:
            runs[told] = self.ready[told].run
            told += 1
        self.count -= told
        memmove(self.ready, self.ready + told, self.count * sizeof(Ready))
        return told

    cpdef void forget(self, uint32_t run) noexcept nogil:
        """Take a run off the timeline: nobody waits for its interrupt any more. Its engines stay busy with it."""
        cdef uint32_t place
        for place in range(self.count):
            if self.ready[place].run == run:
                self.count -= 1
                memmove(self.ready + place, self.ready + place + 1, (self.count - place) * sizeof(Ready))
                return

    cpdef void stall(self, int64_t now_ns, int64_t duration_ns) noexcept nogil:
        """Let the whole device stand still from now on: whatever it is not done with by now comes later by as much."""
        cdef uint32_t place
        cdef int engine
        for place in range(self.count):
            if self.ready[place].ready_ns > now_ns:
                self.ready[place].ready_ns += duration_ns
        for engine in range(self.costs.engines):
            self.engine_free_ns[engine] = max(self.engine_free_ns[engine], now_ns) + duration_ns
        self.stalled_until_ns = max(self.stalled_until_ns, now_ns) + duration_ns

    cpdef void restart(self) noexcept nogil:
        """Forget every run, whatever the engines were given, and a stall: a device that comes back is idle."""
        self.count = 0
        self.stalled_until_ns = 0
        memset(self.engine_free_ns, 0, self.costs.engines * sizeof(int64_t))

    cdef int64_t _next_fire_ns(self) noexcept nogil:
        """When the device raises its next interrupt: enough runs are done, or the first has waited long enough."""
        if self.count == 0:
            return NEVER_NS
        cdef int64_t by_time_ns = self.ready[0].ready_ns + self.costs.coalesce_ns
        if self.count < <uint32_t>self.costs.coalesce_runs:
            return by_time_ns
        return min(by_time_ns, self.ready[self.costs.coalesce_runs - 1].ready_ns)

    cdef int _earliest_engine(self) noexcept nogil:
        cdef int earliest = 0
        cdef int engine
        for engine in range(1, self.costs.engines):
            if self.engine_free_ns[engine] < self.engine_free_ns[earliest]:
                earliest = engine
        return earliest

    def __len__(self):
        return self.count

    def __repr__(self):
        return f"<Timeline {self.count} runs, {self.costs.engines} engines>"
