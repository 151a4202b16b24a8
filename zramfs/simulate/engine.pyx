# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""The simulation: events in the order of virtual time. What a task does when its time has come is told by `steps`.

What a device has done for a request whose task did not wait is stored by an interrupt of the CPU of that task.
"""

from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free

from zramfs.simulate.cpus cimport COMPLETION, PAGE, REDO, SEGMENT_DONE, WORK_DONE, Cpus
from zramfs.simulate.device cimport Run, SimulatedDevice
from zramfs.simulate.draws cimport draw_bits, draw_exponential, draw_share
from zramfs.simulate.fair_cpus cimport FairCpus
from zramfs.simulate.heap cimport (
    ARRIVAL,
    CONTENTION,
    CPU_EVENT,
    INTERRUPT,
    NOBODY,
    OFFLINE,
    RUN_TIMEOUT,
    THOUGHT,
    TIMER,
    Event,
    schedule,
    take_earliest,
)
from zramfs.simulate.steps cimport STILL_STEPS, Steps

from zramfs.simulate.scenario import Rule

cdef enum:
    NS_PER_US = 1000
    MOST_SESSIONS = 64          # of callers: more of them share these

# What `advance` answers.
cdef enum Progress:
    GOES_ON
    IS_OVER
    IS_SHORT_OF_MEMORY
    STANDS_STILL


cdef class Engine(Steps):
    """One run of a Scenario, cut into `flows`."""

    def __cinit__(self, flows, devices, *, scenario, **kwargs):
        cdef int number = 0, works = 0
        machine, scheduler = scenario.machine, scenario.scheduler
        self.work_base = <int *>calloc(len(devices) + 1, sizeof(int))
        if self.work_base == NULL:
            raise MemoryError
        for device in devices:
            self.work_base[number] = works
            works += device.profile.queue_depth
            number += 1
        self.work_base[number] = works
        self.are_fair = scheduler.rule is Rule.EEVDF
        self.cpus = (FairCpus if self.are_fair else Cpus)(
            machine.cpus,
            self.task_count,
            works,
            quantum_ns=round(scheduler.quantum_us * NS_PER_US),
            wakeup_preempts=scheduler.wakeup_preempts,
            migrates=scheduler.migrates,
            halt_ns=round(machine.costs.halt.us * NS_PER_US),
            slice_ns=round(scheduler.slice_us_of(machine.cpus) * NS_PER_US),
            bulk_slice_ns=round(scheduler.bulk_slice_us * NS_PER_US),
            migration_cost_ns=round(scheduler.migration_cost_us * NS_PER_US),
            jitter=scenario.jitter_percent / 100,
            cold_ns=round(machine.costs.cold.us * NS_PER_US),
            ipi_ns=round(machine.costs.ipi.us * NS_PER_US),
            groups=1 + min(self.first_server, MOST_SESSIONS) if scheduler.autogroup else 1,
            random=draw_bits(&self.random),
        )
        if self.are_fair:
            (<FairCpus>self.cpus).be_used(draw_share(&self.random))
        for number in range(self.task_count if scheduler.autogroup else 0):
            self.cpus.runners[number].group = 1 + number % MOST_SESSIONS if number < self.first_server else 0
        self.cpus.heap = &self.heap
        self.cpus.from_ns, self.cpus.until_ns = self.warmup_ns, self.end_ns
        for number, device in enumerate(devices):
            for begin_us, end_us in device.offline_us:
                schedule(&self.heap, round(begin_us * NS_PER_US), OFFLINE, number, 0)
                schedule(&self.heap, round(end_us * NS_PER_US), OFFLINE, number, 1)
        if machine.contention is not None:
            self._begin_contention(machine.contention)
        self._set_measured()

    cdef int _begin_contention(self, contention) except -1:
        cdef int cpu
        self.paces = contention.paces
        self.pace_ns = [contention.alone_us * NS_PER_US, contention.lasts_us * NS_PER_US]
        for cpu in range(self.cpus.cpu_count):
            self._on_contention(cpu, draw_share(&self.random) < contention.share_percent / 100)
        return 0

    cdef int _first_cpu_of(self, int task) noexcept nogil:
        """Where Linux shares the CPUs, a task is anywhere when the scenario begins, and how busy they were is open."""
        if self.are_fair:
            return draw_bits(&self.random) % <uint64_t>self.cpus.cpu_count
        return Steps._first_cpu_of(self, task)

    def __dealloc__(self):
        free(self.work_base)

    # ---- time -------------------------------------------------------------------------------------------------------

    def go_on(self, uint64_t most_events):
        """Let so many events happen; False: it is over.

        MemoryError; RuntimeError if time stands still, as nothing that is done takes any.
        """
        cdef int progress
        with nogil:
            progress = self.advance(most_events)
        if progress == IS_SHORT_OF_MEMORY:
            raise MemoryError
        if progress == STANDS_STILL:
            raise RuntimeError(f"time stands still at {self.now_ns / 1e9:.6f} s: requests take none")
        return progress == GOES_ON

    cdef int advance(self, uint64_t most_events) noexcept nogil:
        cdef uint64_t until = self.events + most_events
        cdef Event event
        while self.events < until:
            if self.heap.is_short:
                return IS_SHORT_OF_MEMORY
            if self.heap.count == self.pace_changes:
                return IS_OVER
            event = take_earliest(&self.heap)
            if event.at_ns > self.now_ns:
                self.now_ns = event.at_ns
                self.still = 0
                self._set_measured()
            self.events += 1
            self._handle(&event)
            self.still += 1
            if self.still >= STILL_STEPS:
                return STANDS_STILL
        return GOES_ON

    cdef void _set_measured(self) noexcept nogil:
        cdef int number
        cdef bint is_measured = self.warmup_ns <= self.now_ns < self.end_ns
        if is_measured == self.is_measured:
            return
        self.is_measured = is_measured
        for number in range(self.device_count):
            (<SimulatedDevice>self.device_of[number]).is_measured = is_measured

    cdef void _handle(self, const Event *event) noexcept nogil:
        if event.kind == CPU_EVENT:
            self._on_cpu(event.subject, event.value)
        elif event.kind == THOUGHT:
            self.on_thought(self.now_ns, event.subject)
        elif event.kind == ARRIVAL:
            self.on_arrival(self.now_ns, event.subject)
        elif event.kind == TIMER:
            self._on_timer(event.subject, event.value)
        elif event.kind == CONTENTION:
            self.pace_changes -= 1
            self._on_contention(event.subject, event.value)
        else:
            self._on_device(event)

    cdef void _on_contention(self, int cpu, bint is_shared) noexcept nogil:
        """From now on a CPU shares its core with something else, or does not; segments that have begun stay."""
        cdef int64_t next_ns = self.now_ns + 1 + draw_exponential(self.pace_ns[is_shared], &self.random)
        self.cpus.pace[cpu] = self.paces[is_shared]
        if next_ns < self.end_ns:
            schedule(&self.heap, next_ns, CONTENTION, cpu, not is_shared)
            self.pace_changes += 1

    cdef void _on_timer(self, int cpu, int64_t armed_ns) noexcept nogil:
        """A timer of a daemon: there is none here."""

    cdef void _on_device(self, const Event *event) noexcept nogil:
        cdef int device = event.subject
        if event.kind == INTERRUPT:
            self._tell(device, (<SimulatedDevice>self.device_of[device]).take_interrupt(self.now_ns, event.value))
        elif event.kind == RUN_TIMEOUT:
            if (<SimulatedDevice>self.device_of[device]).give_up(event.value):
                self._tell_of(device, <uint32_t>event.value)
        else:
            if event.value:
                (<SimulatedDevice>self.device_of[device]).is_online = True
            else:
                self._tell(device, (<SimulatedDevice>self.device_of[device]).go_offline())
            self.call_waiters(self.now_ns)

    cdef void _on_cpu(self, int cpu, int64_t generation) noexcept nogil:
        cdef int subject = NOBODY
        cdef int happened = self.cpus.on_event(self.now_ns, cpu, generation, &subject)
        if happened == SEGMENT_DONE:
            self._step(subject)
        elif happened == WORK_DONE:
            self._on_work_done(subject)
        else:
            return
        self.cpus.resume(self.now_ns, cpu)

    # ---- a device tells ---------------------------------------------------------------------------------------------

    cdef void _tell(self, int device, int count) noexcept nogil:
        """The driver learns of the runs in the device's `told`."""
        cdef int place
        for place in range(count):
            self._tell_of(device, (<SimulatedDevice>self.device_of[device]).told[place])

    cdef void _tell_of(self, int device, int run) noexcept nogil:
        """Wake the task that waits for a run; or interrupt the CPU of the one that does not, to finish it."""
        cdef Run *told = self.run_of(device, run)
        cdef int cpu
        if told.task != NOBODY:
            self.tasks[told.task].is_told = True
            if self.tasks[told.task].is_asleep:
                self.wake(self.now_ns, told.task)
            return
        cpu = (<SimulatedDevice>self.device_of[device]).completion_cpu
        if cpu < 0:
            cpu = self.tasks[self.requests[told.request].task].cpu
        self.cpus.add_work(
            self.now_ns,
            cpu,
            self.work_base[device] + run,
            <int64_t>self.completion_ns + self._redo_ns(told, cpu) + self._fetch_time(told),
        )

    cdef void _on_work_done(self, int work) noexcept nogil:
        """A run is finished: its pages are stored."""
        cdef int64_t began_ns = self.now_ns - self.cpus.works[work].ns
        cdef int64_t completed_ns = began_ns + <int64_t>self.completion_ns
        cdef int64_t redone_ns
        cdef int device = 0
        cdef Run run
        while self.work_base[device + 1] <= work:
            device += 1
        run = self.run_of(device, work - self.work_base[device])[0]
        redone_ns = self.now_ns - self._fetch_time(&run)
        self.cpus.charge(COMPLETION, began_ns, completed_ns)
        self.cpus.charge(REDO, completed_ns, redone_ns)
        self.cpus.charge(PAGE, redone_ns, self.now_ns)
        self._release(device, work - self.work_base[device])
        self.end_part(self.now_ns, run.request)

    def __repr__(self):
        return f"<Engine at {self.now_ns / 1e9:.6f} s, {self.events} events>"
