# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""The runs in flight, and when the driver learns of each: by an interrupt, at its time, or by its own watch.

It has no lock: its queue's is held, but where something else is said.
"""

from libc.stdint cimport int64_t, uint32_t
from libc.stdlib cimport calloc, free

from zramfs.accel.descriptor cimport DEVICE_GONE, TIMED_OUT
from zramfs.accel.latency cimport LatencyWindow
from zramfs.accel.ring cimport DescriptorRing
from zramfs.accel.timeline cimport Timeline
from zramfs.accel.timer cimport EventTimer
from zramfs.accel.work_meter cimport WorkMeter, add_up, work_ns
from zramfs.atomic cimport peek_i64, poke_i64
from zramfs.clock cimport NEVER_NS, monotonic_ns
from zramfs.codec.run cimport CompressedRun


cdef class RunWatch:
    """Watches over one run for each of `compressed_runs`, as many as `ring` has descriptors.

    The device takes the time of `timing`; `timeout_ns` is how long the driver waits for a run. The timer is readable
    whenever a run's time has come.
    """

    def __cinit__(self, DescriptorRing ring not None, compressed_runs, timing, int most_pages):
        cdef int number
        cdef CompressedRun run
        self.ring = ring
        self.compressed_runs = list(compressed_runs)
        self.run_count = len(self.compressed_runs)
        self.timeline = Timeline(timing, self.run_count)
        self.observed = LatencyWindow()
        self.model = LatencyWindow()
        self.runs = <Run *>calloc(self.run_count, sizeof(Run))
        self.reaped = <Finished *>calloc(self.run_count, sizeof(Finished))
        self.told = <uint32_t *>calloc(self.run_count, sizeof(uint32_t))
        self.waiting = <uint32_t *>calloc(self.run_count, sizeof(uint32_t))
        if not (self.runs and self.reaped and self.told and self.waiting):
            raise MemoryError
        for number, run in enumerate(self.compressed_runs):
            self.runs[number].pages = run.pages
            self.runs[number].capacity = min(run.capacity, most_pages)
        self.timer = EventTimer()
        self.update()

    def __dealloc__(self):
        free(self.runs)
        free(self.reaped)
        free(self.told)
        free(self.waiting)

    cdef bint needs_attention(self) noexcept nogil:
        """Whether `reap` has something to do. It needs no lock, and takes a few ns while nothing is modelled."""
        cdef int64_t attention_ns = peek_i64(&self.attention_ns)
        return self.ring.has_finished() or (attention_ns != NEVER_NS and attention_ns <= monotonic_ns())

    cdef int64_t next_event_ns(self) noexcept nogil:
        """When `reap` has something to do, as far as the clock can tell; NEVER_NS if it has not. It needs no lock."""
        return peek_i64(&self.event_ns)

    cdef void begin(self, Run *run, bint is_modelled) noexcept nogil:
        """Watch over a run from now on, which is told of when its work is done, or not before `expect` says."""
        run.is_in_flight = True
        run.is_modelled = is_modelled
        run.is_done = run.is_orphan = run.is_expired = False
        run.submitted_ns = monotonic_ns() if is_modelled else 0
        run.told_ns = NEVER_NS

    cdef int64_t expect(self, uint32_t number, bint is_lost) noexcept nogil:
        """Give a modelled run that has begun to the device; when it is done. A lost one it never tells of."""
        cdef Run *run = &self.runs[number]
        run.is_lost = is_lost
        self.waiting[self.waiting_count] = number
        self.waiting_count += 1
        if is_lost:
            return self.timeline.occupy(run.submitted_ns, run.count)
        return self.timeline.add(run.submitted_ns, number, run.count)

    cdef void finish(self, Run *run) noexcept nogil:
        """Note that a run is done with which the ring was not troubled."""
        run.finished_ns = monotonic_ns()
        run.is_done = True
        if run.told_ns <= run.finished_ns or run.is_expired:
            self.is_overdue = True
            self.update()

    cdef uint32_t reap(self) noexcept nogil:
        """The first of the runs that the driver learns of now, each followed by its `next_told`; NO_RUN: none.

        They are done, and their time has come; or they have timed out.
        """
        cdef uint32_t first = NO_RUN
        cdef uint32_t last = NO_RUN
        cdef uint32_t number, place, kept
        cdef uint32_t count
        # Before looking at the ring: what is done after that and counts as told by now, the ring signals as overdue.
        cdef int64_t now_ns = monotonic_ns()
        count = self.ring.reap(self.reaped)
        for place in range(count):
            number = self.reaped[place].number
            self.runs[number].finished_ns = self.reaped[place].at_ns
            self.runs[number].is_done = True
            if not self.runs[number].is_modelled:
                self._tell(number, &first, &last)
        if self.waiting_count == 0 and self.timer.armed_ns == NEVER_NS:
            return first
        self._take_interrupts(now_ns)
        self.is_overdue = False
        kept = 0
        for place in range(self.waiting_count):
            number = self.waiting[place]
            if self._is_over(number, now_ns):
                self._tell(number, &first, &last)
            else:
                self.waiting[kept] = number
                kept += 1
        self.waiting_count = kept
        self.update()
        return first

    cdef void _tell(self, uint32_t number, uint32_t *first, uint32_t *last) noexcept nogil:
        self.runs[number].is_in_flight = False
        self.runs[number].next_told = NO_RUN
        if first[0] == NO_RUN:
            first[0] = number
        else:
            self.runs[last[0]].next_told = number
        last[0] = number

    cdef void _take_interrupts(self, int64_t now_ns) noexcept nogil:
        """Let the interrupts happen whose time has come."""
        cdef int64_t told_ns = self.timeline.next_interrupt_ns()
        cdef uint32_t place, count
        while told_ns <= now_ns:
            count = self.timeline.take_told(self.told)
            for place in range(count):
                self.runs[self.told[place]].told_ns = told_ns
            told_ns = self.timeline.next_interrupt_ns()

    cdef bint _is_over(self, uint32_t number, int64_t now_ns) noexcept nogil:
        """Whether the driver learns of the run now, by an interrupt or by its own watch."""
        cdef Run *run = &self.runs[number]
        cdef bint is_given_up = run.is_expired or (
            run.told_ns > now_ns and run.submitted_ns + self.timeout_ns <= now_ns
        )
        if is_given_up and not run.is_done and not run.is_expired:
            run.is_expired = True
            self.ring.tell_at_once(number)
        if not run.is_done or (run.told_ns > now_ns and not is_given_up):
            return False
        if is_given_up and not run.is_lost:
            self._give_up(number)
        elif not run.is_lost and run.told_ns:
            self.note(run.count, run.submitted_ns, run.told_ns, run.finished_ns)
        self.observed.add(now_ns - run.submitted_ns)
        return True

    cdef void note(self, int pages, int64_t submitted_ns, int64_t told_ns, int64_t finished_ns) noexcept nogil:
        """Note what the model says of a run, and whether the work was slower than that."""
        self.model.add(told_ns - submitted_ns)
        if not self.timeline.costs.takes_time:
            return
        self.modelled_runs += 1
        self.modelled_pages += pages
        if finished_ns > told_ns:
            self.late_pages += pages
            self.late_completions += 1
            self.latest_ns = max(self.latest_ns, finished_ns - told_ns)

    cdef int64_t work_ns(self) noexcept nogil:
        """CPU time of those who had streams that was the device's own work. It needs no lock."""
        cdef WorkMeter total = WorkMeter(pieces=0, pages=0, timed_pages=0, timed_ns=0)
        cdef uint32_t number
        for number in range(self.run_count):
            add_up(&total, &self.runs[number].work)
        return work_ns(&total)

    cdef void _give_up(self, uint32_t number) noexcept nogil:
        """The driver's watch: the device stood still for too long, and nothing of the run is to be trusted."""
        cdef Run *run = &self.runs[number]
        cdef int i
        self.timeline.forget(number)
        for i in range(run.count):
            if run.pages[i].length >= 0:
                run.pages[i].length = TIMED_OUT

    cdef void lose_everything(self) noexcept nogil:
        """Let the device be gone: it loses what it was given, and comes back idle.

        Runs that it has begun with are told of as soon as no engine works on them any more.
        """
        cdef uint32_t number
        cdef Run *run
        for number in range(self.run_count):
            run = &self.runs[number]
            if not run.is_in_flight:
                continue
            run.is_orphan = True
            if run.is_modelled:
                run.told_ns = 0
                self.ring.tell_at_once(number)
        self.ring.drop_queued(DEVICE_GONE)
        self.timeline.restart()
        self.is_overdue = self.waiting_count > 0
        self.update()

    cdef void update(self) noexcept nogil:
        """Note when the next event is, and see to it that the timer goes off then."""
        cdef int64_t event_ns = self._find_next_event_ns()
        self.timer.arm(event_ns)
        poke_i64(&self.event_ns, event_ns)
        poke_i64(&self.attention_ns, min(event_ns, self.timer.armed_ns))

    cdef int64_t _find_next_event_ns(self) noexcept nogil:
        cdef int64_t next_ns
        cdef uint32_t place
        cdef Run *run
        if self.is_overdue:
            return 0
        if self.waiting_count == 0:
            return NEVER_NS
        next_ns = self.timeline.next_interrupt_ns()
        for place in range(self.waiting_count):
            run = &self.runs[self.waiting[place]]
            if run.told_ns == NEVER_NS and not run.is_expired:
                return min(next_ns, run.submitted_ns + self.timeout_ns)
        return next_ns

    def __repr__(self):
        return f"<RunWatch {self.waiting_count} held back, {self.timeline!r}>"
