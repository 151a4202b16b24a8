# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""A device in virtual time: the emulator's own timeline and faults, with descriptors and runs that hold no data.

A run that fails, times out, or is lost with its device, comes back with pages that software has to do again. A corrupt
page is found only where the profile verifies, as in the emulator; the verification itself costs nothing here.
"""

from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free

from zramfs.accel.descriptor cimport FAULT_CORRUPT, FAULT_TIMEOUT, NO_FAULT
from zramfs.accel.injector cimport FaultInjector
from zramfs.accel.timeline cimport Costs, Timeline, costs_of
from zramfs.clock cimport NEVER_NS
from zramfs.simulate.heap cimport INTERRUPT, RUN_TIMEOUT, schedule
from zramfs.simulate.series cimport LevelSeries

cdef enum:
    NS_PER_US = 1000


cdef class SimulatedDevice:
    """The device `number` of an engine, as a `scenario.Device` says."""

    def __cinit__(self, device, int number, uint64_t seed, int64_t interval_ns):
        cdef int run
        profile = device.profile
        self.number = number
        self.descriptors = self.free_run_count = profile.queue_depth
        self.timeline = Timeline(profile.timing, self.descriptors)
        self.compress_costs = self.decompress_costs = costs_of(profile.timing)
        self.decompresses = device.can_decompress
        self.decompress_costs.page_ns = round(device.decompress_page_us * NS_PER_US)
        self.faults = FaultInjector(profile.fault_rates, seed)
        self.verifies = profile.number("verify_compress") > 0
        self.polled_run_pages = profile.number("polled_run_pages")
        self.timeout_ns = profile.number("timeout_us") * NS_PER_US
        self.stall_ns = profile.number("stall_us") * NS_PER_US
        self.waits = profile.waits_when_full
        self.depth = LevelSeries(interval_ns)
        self.is_online = True
        self.interrupt_ns = NEVER_NS
        self.runs = <Run *>calloc(self.descriptors, sizeof(Run))
        self.free_runs = <uint32_t *>calloc(self.descriptors, sizeof(uint32_t))
        self.told = <uint32_t *>calloc(self.descriptors, sizeof(uint32_t))
        self.work_runs = <int *>calloc(self.descriptors, sizeof(int))
        self.work_left = <int *>calloc(self.descriptors, sizeof(int))
        self.is_emulated = device.is_emulated
        self.command_sets, self.completion_cpu = device.command_sets, device.completion_cpu
        self.commanded_until_ns = <int64_t *>calloc(max(self.command_sets, 1), sizeof(int64_t))
        if not (
            self.commanded_until_ns and self.runs and self.free_runs and self.told and self.work_runs and self.work_left
        ):
            raise MemoryError
        for run in range(self.descriptors):
            self.free_runs[run] = self.descriptors - 1 - run

    def __dealloc__(self):
        free(self.runs)
        free(self.free_runs)
        free(self.told)
        free(self.work_runs)
        free(self.work_left)
        free(self.commanded_until_ns)

    cdef int free_descriptors(self) noexcept nogil:
        """How many pages it would take now."""
        return self.descriptors - self.in_use if self.is_online else 0

    cdef void refuse(self) noexcept nogil:
        """Count that there was no descriptor for somebody."""
        self.refused += self.is_measured

    cdef bint may_poll(self, int64_t now_ns, int pages) noexcept nogil:
        """Whether a caller would hold its CPU for a run: it is short, and its end is near and certain."""
        if pages > self.polled_run_pages or self.faults.hangs:
            return False
        return self.timeline.predict(now_ns, pages) - now_ns <= POLL_MOST_NS

    cdef int begin(self, int64_t now_ns, int pages, bint is_read, bint is_polled, int64_t *ready_ns) noexcept nogil:
        """Take as many of the pages as there are descriptors, at least one; the run. `ready_ns`: when it is done."""
        cdef int number
        cdef Run *run
        cdef bint is_lost
        self.free_run_count -= 1
        number = self.free_runs[self.free_run_count]
        run = &self.runs[number]
        run.pages = min(pages, self.descriptors - self.in_use)
        run.began_ns = now_ns
        run.generation += 1
        run.is_in_flight = True
        run.unworked = 0
        run.is_due = False
        run.is_polled, run.is_read, run.is_cached = is_polled, is_read, False
        self.in_use += run.pages
        self.depth.change(now_ns, self.in_use)
        run.failed = self._draw_faults(now_ns, run.pages, &is_lost)
        self.timeline.set_costs(self.decompress_costs if is_read else self.compress_costs)
        if is_polled or is_lost:
            ready_ns[0] = self.timeline.occupy(now_ns, run.pages)
        else:
            ready_ns[0] = self.timeline.add(now_ns, number, run.pages)
            self._plan_interrupt()
        self._watch(now_ns, number)
        return number

    cdef int _draw_faults(self, int64_t now_ns, int pages, bint *is_lost) noexcept nogil:
        """How many pages of the next run fail; all of them if one is never done with."""
        cdef uint8_t plan[MOST_DEPTH]
        cdef int place
        cdef int failed = 0
        is_lost[0] = False
        if not self.faults.is_active:
            return 0
        if self.faults.draw(pages, plan):
            self.timeline.stall(now_ns, self.stall_ns)
            self._plan_interrupt()
        for place in range(pages):
            is_lost[0] |= plan[place] == FAULT_TIMEOUT
            failed += plan[place] != NO_FAULT and (plan[place] != FAULT_CORRUPT or self.verifies)
        return pages if is_lost[0] else failed

    cdef void _watch(self, int64_t now_ns, int run) noexcept nogil:
        """Count a run that has begun, and see to it that it is given up some time, if it may hang."""
        cdef int64_t jobs
        cdef Costs costs = self.timeline.costs
        if self.faults.hangs and not self.runs[run].is_polled:
            schedule(
                self.heap,
                now_ns + self.timeout_ns,
                RUN_TIMEOUT,
                self.number,
                (<int64_t>self.runs[run].generation << 32) | run,
            )
        if self.is_measured:
            jobs = (self.runs[run].pages + costs.batch_max_pages - 1) // costs.batch_max_pages
            self.busy_ns += jobs * costs.job_ns + self.runs[run].pages * costs.page_ns
            self.pages += self.runs[run].pages
            self.run_count += 1

    cdef int64_t command(self, int64_t now_ns, int cpu, int pages) noexcept nogil:
        """Decompress by a CPU's command set, one command after the other: when these pages are done."""
        cdef int64_t *until_ns = &self.commanded_until_ns[cpu % self.command_sets]
        cdef Costs costs = self.decompress_costs
        until_ns[0] = max(until_ns[0], now_ns + costs.submit_ns) + pages * (costs.job_ns + costs.page_ns)
        return until_ns[0]

    cdef void end(self, int64_t now_ns, int run) noexcept nogil:
        """Take a run's descriptors back."""
        self.runs[run].is_in_flight = False
        self.in_use -= self.runs[run].pages
        self.depth.change(now_ns, self.in_use)
        self.free_runs[self.free_run_count] = run
        self.free_run_count += 1

    cdef int take_interrupt(self, int64_t now_ns, int64_t scheduled_ns) noexcept nogil:
        """How many runs the driver is told of now: they are in `told`. 0 for an interrupt that is void."""
        cdef int count = 0
        cdef int place
        if scheduled_ns != self.interrupt_ns:
            return 0
        self.interrupt_ns = NEVER_NS
        if self.timeline.next_interrupt_ns() <= now_ns:
            count = self.timeline.take_told(self.told)
            for place in range(count):
                self.runs[self.told[place]].is_in_flight = False
            self.interrupts += self.is_measured
        self._plan_interrupt()
        return count

    cdef void _plan_interrupt(self) noexcept nogil:
        """Schedule the next interrupt, unless it is; one that was scheduled for later or earlier is void."""
        cdef int64_t next_ns = self.timeline.next_interrupt_ns()
        if next_ns == self.interrupt_ns:
            return
        self.interrupt_ns = next_ns
        if next_ns != NEVER_NS:
            schedule(self.heap, next_ns, INTERRUPT, self.number, next_ns)

    # ---- as an emulated device: engines that are threads -----------------------------------------------------------

    cdef void queue_work(self, int run) noexcept nogil:
        """Let a run's pages wait for an engine's thread."""
        cdef int place = (self.first_work + self.work_count) % self.descriptors
        self.work_runs[place] = run
        self.work_left[place] = self.runs[run].unworked = self.runs[run].pages
        self.work_count += 1

    cdef int take_work(self, int most_pages, int *run) noexcept nogil:
        """Take pages of the run that waits for longest; how many, 0 if there are none."""
        cdef int taken
        if self.work_count == 0:
            return 0
        run[0] = self.work_runs[self.first_work]
        taken = min(most_pages, self.work_left[self.first_work])
        self.work_left[self.first_work] -= taken
        if self.work_left[self.first_work] == 0:
            self.first_work = (self.first_work + 1) % self.descriptors
            self.work_count -= 1
        return taken

    cdef bint give_up(self, int64_t value) noexcept nogil:
        """Let a run time out that is in flight still: all its pages have failed. `value` is its event's."""
        cdef Run *run = &self.runs[<uint32_t>value]
        if not run.is_in_flight or run.generation != <uint32_t>(value >> 32):
            return False
        run.is_in_flight = False
        run.failed = run.pages
        self.timeline.forget(<uint32_t>value)
        self._plan_interrupt()
        return True

    cdef int go_offline(self) noexcept nogil:
        """Lose what is in hand; how many runs the driver is told of: they are in `told`."""
        cdef int count = 0
        cdef int number
        self.is_online = False
        for number in range(self.descriptors):
            if not self.runs[number].is_in_flight:
                continue
            self.runs[number].failed = self.runs[number].pages
            self.lost_runs += 1
            if not self.runs[number].is_polled:
                self.runs[number].is_in_flight = False
                self.told[count] = number
                count += 1
        self.timeline.restart()
        self.interrupt_ns = NEVER_NS
        return count

    def injected_faults(self):
        """How often each kind of fault happened, from the beginning on."""
        return dict(self.faults.injected)

    def __repr__(self):
        return f"<SimulatedDevice {self.number}, {self.in_use} of {self.descriptors} descriptors>"
