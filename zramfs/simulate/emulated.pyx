# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""A daemon's devices: engines that are threads and compress on the machine's CPUs, and who learns of the end of a run.

What `accel/ring.pyx`, `accel/modelled.pyx` and `accel/driver.py` do is done here in the same order.
"""

from libc.stdint cimport int64_t
from libc.stdlib cimport calloc, free

from zramfs.clock cimport NEVER_NS
from zramfs.simulate.cpus cimport COMPLETION, EMULATE, SUBMIT
from zramfs.simulate.device cimport Run, SimulatedDevice
from zramfs.simulate.engine cimport Engine
from zramfs.simulate.heap cimport NOBODY, TIMER, schedule
from zramfs.simulate.servers cimport Servers
from zramfs.simulate.tasks cimport (
    A_COMPLETION,
    COMPLETES,
    ENGINE_WORKED,
    LOOPS,
    Task,
)

cdef enum:
    NS_PER_US = 1000
    INLINE_PAGES = 2            # `accel/modelled.pyx`: the submitter does an engine's work
    BATCH_PAGES = 8             # `accel/ring.pyx`: that an engine takes in one go
    TIMER_SLACK_NS = 25000      # `accel/timer.pyx`: so late it goes off, as whoever polls is to be faster


cdef class EmulatedEngines(Servers):
    """Likewise, with the devices' part."""

    def __cinit__(self, flows, devices, *, scenario, **kwargs):
        self.told_capacity = 1 + sum(device.profile.queue_depth for device in devices)
        self.told = <Told *>calloc(self.told_capacity, sizeof(Told))
        if self.told == NULL:
            raise MemoryError
        self.armed_ns = NEVER_NS
        self.timer_ns = round(scenario.machine.costs.timer.us * NS_PER_US)

    def __dealloc__(self):
        free(self.told)

    # ---- devices ----------------------------------------------------------------------------------------------------

    cdef bint _submit(self, int task, int device, int pages, bint is_polled) noexcept nogil:
        """Likewise; a run of an emulated device is an engine's work, or if it is short that of whoever submits it."""
        cdef bint goes_on = Engine._submit(self, task, device, pages, is_polled)
        cdef int run = self.tasks[task].run
        cdef int64_t submit_ns = (<SimulatedDevice>self.device_of[device]).timeline.costs.submit_ns
        cdef int64_t work_ns = <int64_t>(self.compress_ns[self.tasks[task].cpu] * self.run_of(device, run).pages)
        cdef int64_t timer_ns = 0 if is_polled else self._arm_timer(self.cpus.runners[task].cpu, self._next_event())
        if timer_ns > submit_ns:  # else it is a part of that
            self.cpus.run_for(task, timer_ns, SUBMIT)
            goes_on = False
        if not (<SimulatedDevice>self.device_of[device]).is_emulated:
            return goes_on
        self.run_of(device, run).is_cached = is_polled or self.run_of(device, run).pages <= INLINE_PAGES
        if is_polled:
            self.cpus.poll_until(task, max(self.cpus.runners[task].poll_until_ns, self.now_ns + work_ns))
        elif self.run_of(device, run).pages <= INLINE_PAGES:
            self.cpus.run_for(task, max(timer_ns + work_ns, submit_ns), EMULATE)
        else:
            self._give_to_engines(device, run)
            return goes_on
        return False

    cdef void _give_to_engines(self, int device, int run) noexcept nogil:
        cdef int task
        (<SimulatedDevice>self.device_of[device]).queue_work(run)
        for task in range(self.first_server + 1 + self.crew_count, self.task_count):
            if self.tasks[task].device == device and task != self.loop:
                self._wake_server(self.now_ns, task)

    cdef bint _look_as_engine(self, int task) noexcept nogil:
        """Compress pages of the run that waits for longest."""
        cdef Task *own = &self.tasks[task]
        own.is_asleep = False
        if self.cpus.has_to_yield(task):
            return False
        own.taken = (<SimulatedDevice>self.device_of[own.device]).take_work(BATCH_PAGES, &own.run)
        if own.taken == 0:
            return self._rest(task, self.helper_poll_ns)
        return self._run(task, self._service(self.compress_ns[own.cpu], own.taken), EMULATE, ENGINE_WORKED)

    cdef bint _end_work(self, int task) noexcept nogil:
        cdef Task *own = &self.tasks[task]
        cdef Run *run = self.run_of(own.device, own.run)
        run.unworked -= own.taken
        if run.unworked == 0 and run.is_due:
            self._tell_receiver(own.device, own.run)
            if self.loop != NOBODY:
                self._wake_server(self.now_ns, self.loop)
        own.state = own.home
        return not self.cpus.has_to_yield(task)

    cdef bint _has_event(self) noexcept nogil:
        """Whether a device has told of a run, or the timer has gone off, and nobody has looked since."""
        return self.told_count > 0 or self.armed_ns <= self.now_ns

    cdef bint _attend(self, int task) noexcept nogil:
        """Set the timer, and see to the end of a run that a device has told of, if there is one."""
        cdef Task *own = &self.tasks[task]
        cdef int64_t ns = self._arm_timer(self.cpus.runners[task].cpu, self._next_event())
        cdef Told told
        if self.told_count == 0:
            return self._run(task, ns, COMPLETION, own.home)
        told = self.told[self.first_told]
        self.first_told = (self.first_told + 1) % self.told_capacity
        self.told_count -= 1
        own.device, own.run = told.device, told.run
        own.request = self.run_of(told.device, told.run).request
        own.in_hand = A_COMPLETION
        return self._run(task, ns, COMPLETION, COMPLETES)

    # ---- the event loop ---------------------------------------------------------------------------------------------

    cdef bint _loop(self, int task) noexcept nogil:
        """See to the end of what devices have told of, unless the receiver has."""
        if self._has_event():
            return self._attend(task)
        self.sleep(task, LOOPS)
        return False

    cdef void _tell_of(self, int device, int run) noexcept nogil:
        """The run's time has come; it has ended if no engine works on it any more."""
        self.run_of(device, run).is_due = True
        if self.run_of(device, run).unworked == 0:
            self._tell_receiver(device, run)
        if self.armed_ns > self.now_ns:  # else the loop is about to look
            # It was set for this, unless the driver gives the run up, or has lost its device.
            self._arm_timer(self.cpus.runners[self.first_server].cpu, self.now_ns)

    cdef int64_t _next_event(self) noexcept nogil:
        """When a device tells of something next; NEVER_NS: nothing is under way."""
        cdef int64_t event_ns = NEVER_NS
        cdef int number
        for number in range(self.device_count):
            event_ns = min(event_ns, (<SimulatedDevice>self.device_of[number]).interrupt_ns)
        return event_ns

    cdef int64_t _arm_timer(self, int cpu, int64_t at_ns) noexcept nogil:
        """Let the event loop look soon after an event, by a timer of this CPU (`EventTimer.arm`); the time to set it.

        All devices have one timer, and the loop sees to all of them: in zramfs each has its own.
        """
        if self.loop == NOBODY or at_ns == NEVER_NS == self.armed_ns:
            return 0
        if self.armed_ns > self.now_ns and (at_ns == NEVER_NS or self.armed_ns <= at_ns + 2 * TIMER_SLACK_NS):
            return 0
        self.armed_ns = at_ns
        if at_ns != NEVER_NS:
            self.armed_ns = max(at_ns, self.now_ns) + TIMER_SLACK_NS
            schedule(&self.heap, self.armed_ns, TIMER, cpu, self.armed_ns)
        return self.timer_ns

    cdef void _on_timer(self, int cpu, int64_t armed_ns) noexcept nogil:
        if armed_ns == self.armed_ns:  # else it was set anew meanwhile
            self.cpus.interrupted = cpu
            self._wake_server(self.now_ns, self.loop)
            self.cpus.interrupted = NOBODY

    cdef void _tell_receiver(self, int device, int run) noexcept nogil:
        """Whoever looks first learns of the end: the receiver, if it does not sleep, or the loop, once it is woken."""
        self.told[(self.first_told + self.told_count) % self.told_capacity] = Told(device, run)
        self.told_count += 1
        if self.loop == NOBODY or self.tasks[self.first_server].has_spun:
            self._wake_server(self.now_ns, self.first_server)
