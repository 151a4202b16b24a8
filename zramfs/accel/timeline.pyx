# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""When a modelled device would be done: a pure function of what was submitted, when, and the device's `Timing`.

No clock is read and no thread runs here: `completion_times` is the model as a function, `Timeline` the same model fed
run by run, which is how the emulated device uses it. docs/accelerator.md has the formulas and what they leave out.
"""

from libc.stdlib cimport calloc, free, realloc
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


cdef class Timeline:
    """The engines of one device, and the runs that they have been given. Times are in ns, of any clock.

    At most `capacity` runs are on it at a time, each with a number of its own.
    """

    def __cinit__(self, timing, uint32_t capacity):
        self.capacity = max(capacity, 1)
        self.ready = <Ready *>calloc(self.capacity, sizeof(Ready))
        if self.ready == NULL:
            raise MemoryError
        self.timing = timing

    def __dealloc__(self):
        free(self.engine_free_ns)
        free(self.ready)

    @property
    def timing(self):
        """The costs; may be changed at any time, and then hold for what is submitted from there on."""
        return self.current_timing

    @timing.setter
    def timing(self, timing):
        cdef int engine
        cdef int64_t *grown = <int64_t *>realloc(self.engine_free_ns, timing.engines * sizeof(int64_t))
        if grown == NULL:
            raise MemoryError
        self.engine_free_ns = grown
        for engine in range(self.engines, timing.engines):
            grown[engine] = 0
        self.engines = timing.engines
        self.current_timing = timing
        self.submit_ns = timing.submit_ns
        self.job_ns, self.page_ns = timing.job_ns, timing.page_ns
        self.batch_max_pages, self.coalesce_runs = timing.batch_max_pages, timing.coalesce_runs
        self.coalesce_ns, self.interrupt_ns = timing.coalesce_ns, timing.interrupt_ns

    cpdef int64_t submit(self, int64_t now_ns, uint32_t run, int pages) except -1:
        """Give a run to the engines; when they are done with it. `take_interrupt` will name it."""
        cdef uint32_t place = self.count
        cdef int64_t ready_ns
        if self.count == self.capacity:
            raise ValueError(f"more than {self.capacity} runs on the timeline")
        ready_ns = self.occupy(now_ns, pages)
        while place > 0 and self.ready[place - 1].ready_ns > ready_ns:
            self.ready[place] = self.ready[place - 1]
            place -= 1
        self.ready[place] = Ready(ready_ns=ready_ns, run=run)
        self.count += 1
        return ready_ns

    cpdef int64_t occupy(self, int64_t now_ns, int pages) noexcept:
        """Like `submit` of a run whose caller polls: no interrupt tells of it."""
        cdef int64_t arrival_ns = max(now_ns + self.submit_ns, self.stalled_until_ns)
        cdef int64_t ready_ns = arrival_ns
        cdef int engine, job_pages
        while pages > 0:
            job_pages = min(pages, self.batch_max_pages)
            engine = self._earliest_engine()
            self.engine_free_ns[engine] = (
                max(arrival_ns, self.engine_free_ns[engine]) + self.job_ns + job_pages * self.page_ns
            )
            ready_ns = max(ready_ns, self.engine_free_ns[engine])
            pages -= job_pages
        return ready_ns

    cpdef int64_t predict(self, int64_t now_ns, int pages) noexcept:
        """When a run submitted now would be done at the latest, if every job of it had to follow the one before."""
        cdef int jobs = (pages + self.batch_max_pages - 1) // self.batch_max_pages
        cdef int64_t begin_ns = max(now_ns + self.submit_ns, self.stalled_until_ns)
        return max(begin_ns, self.engine_free_ns[self._earliest_engine()]) + jobs * self.job_ns + pages * self.page_ns

    cpdef int64_t next_interrupt_ns(self) noexcept:
        """When the next interrupt arrives, as far as is known by now; NEVER if nothing is on its way."""
        cdef int64_t fire_ns = self._next_fire_ns()
        return fire_ns if fire_ns == NEVER_NS else fire_ns + self.interrupt_ns

    def take_interrupt(self):
        """Let the next interrupt happen; the numbers of the runs that it tells of."""
        cdef int64_t fire_ns = self._next_fire_ns()
        cdef uint32_t told = 0
        while told < self.count and self.ready[told].ready_ns <= fire_ns:
            told += 1
        runs = [self.ready[place].run for place in range(told)]
        self.count -= told
        memmove(self.ready, self.ready + told, self.count * sizeof(Ready))
        return runs

    def forget(self, uint32_t run):
        """Take a run off the timeline: nobody waits for its interrupt any more. Its engines stay busy with it."""
        cdef uint32_t place
        for place in range(self.count):
            if self.ready[place].run == run:
                self.count -= 1
                memmove(self.ready + place, self.ready + place + 1, (self.count - place) * sizeof(Ready))
                return

    def stall(self, int64_t now_ns, int64_t duration_ns):
        """Let the whole device stand still from now on: whatever it is not done with by now comes later by as much."""
        cdef uint32_t place
        cdef int engine
        for place in range(self.count):
            if self.ready[place].ready_ns > now_ns:
                self.ready[place].ready_ns += duration_ns
        for engine in range(self.engines):
            self.engine_free_ns[engine] = max(self.engine_free_ns[engine], now_ns) + duration_ns
        self.stalled_until_ns = max(self.stalled_until_ns, now_ns) + duration_ns

    def restart(self):
        """Forget every run, whatever the engines were given, and a stall: a device that comes back is idle."""
        self.count = 0
        self.stalled_until_ns = 0
        memset(self.engine_free_ns, 0, self.engines * sizeof(int64_t))

    cdef int64_t _next_fire_ns(self) noexcept:
        """When the device raises its next interrupt: enough runs are done, or the first has waited long enough."""
        if self.count == 0:
            return NEVER_NS
        cdef int64_t by_time_ns = self.ready[0].ready_ns + self.coalesce_ns
        if self.count < <uint32_t>self.coalesce_runs:
            return by_time_ns
        return min(by_time_ns, self.ready[self.coalesce_runs - 1].ready_ns)

    cdef int _earliest_engine(self) noexcept:
        cdef int earliest = 0
        cdef int engine
        for engine in range(1, self.engines):
            if self.engine_free_ns[engine] < self.engine_free_ns[earliest]:
                earliest = engine
        return earliest

    def __len__(self):
        return self.count

    def __repr__(self):
        return f"<Timeline {self.count} runs, {self.engines} engines>"
