# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""What pages take: time of the software by CPU, or a run of a device, from its submission to its end.

Where software does pages again that a device failed to do, no stream is locked: zramfs has contexts for that.
"""

from libc.stdint cimport int64_t
from libc.stdlib cimport calloc, free

from zramfs.simulate.cpus cimport PAGE, REDO, SUBMIT
from zramfs.simulate.device cimport Run, SimulatedDevice
from zramfs.simulate.devices cimport Devices
from zramfs.simulate.draws cimport draw_exponential
from zramfs.simulate.heap cimport NOBODY
from zramfs.simulate.tasks cimport (
    ASYNC_WRITE,
    AWAITS,
    COMPLETES,
    ENDS_RUN,
    HAS_COMMANDED,
    HAS_POLLED,
    HAS_REDONE,
    HAS_SUBMITTED,
    READ,
    Request,
    Task,
)

from zramfs.simulate.load_kinds import Distribution
from zramfs.simulate.scenario import ManagedKind

cdef enum:
    NS_PER_US = 1000

_NAMES = ("percpu", "managed", "polled", "fallback", "redone", "read_software", "read_device")


cdef class Runs(Devices):
    """The costs of a Scenario, and what its devices do for requests, at `now_ns`."""

    def __cinit__(self, flows, devices, *, scenario, **kwargs):
        streams = scenario.streams
        self.compress_ns = <double *>calloc(scenario.machine.cpus, sizeof(double))
        self.decompress_ns = <double *>calloc(scenario.machine.cpus, sizeof(double))
        if not (self.compress_ns and self.decompress_ns):
            raise MemoryError
        self.is_served = scenario.daemon is not None
        self._set_costs(scenario)
        self.is_blocking = streams.managed is ManagedKind.BLOCKING
        self.run_pages = streams.run_pages
        self.is_exponential = scenario.service is Distribution.EXPONENTIAL
        self.random = scenario.seed

    def _set_costs(self, scenario):
        cdef int cpu = 0
        costs = scenario.machine.costs
        self.request_ns = costs.request.us * NS_PER_US
        self.page_ns = costs.page.us * NS_PER_US
        self.pin_ns = costs.pin.us * NS_PER_US
        self.completion_ns = costs.completion.us * NS_PER_US
        self.fetch_ns = costs.fetch.us * NS_PER_US
        if not self.is_served:  # then there is nobody else to do it
            self.request_ns += costs.receive.us * NS_PER_US
            self.page_ns += costs.copy.us * NS_PER_US
        for group in scenario.machine.groups:
            for _ in range(group.count):
                self.compress_ns[cpu] = group.compress[scenario.algorithm].us * NS_PER_US
                self.decompress_ns[cpu] = group.decompress[scenario.algorithm].us * NS_PER_US
                cpu += 1

    def __dealloc__(self):
        free(self.compress_ns)
        free(self.decompress_ns)

    cdef int64_t _service(self, double mean_ns, int pages) noexcept nogil:
        """How long the software takes for so many pages."""
        cdef int64_t ns = 0
        cdef int page
        if not self.is_exponential:
            return <int64_t>(mean_ns * pages + 0.5)
        for page in range(pages):
            ns += draw_exponential(mean_ns, &self.random)
        return ns

    cdef int64_t _page_time(self, int pages, bint is_read) noexcept nogil:
        """What it takes to store so many pages, once they are compressed."""
        return 0 if is_read else <int64_t>(self.page_ns * pages + 0.5)

    cdef int64_t _fetch_time(self, const Run *run) noexcept nogil:
        """The time to store the pages of a run, which in most cases no cache of the CPU has."""
        cdef double fetch_ns = 0 if run.is_cached or run.is_read else self.fetch_ns * run.pages
        return self._page_time(run.pages, run.is_read) + <int64_t>(fetch_ns + 0.5)

    cdef double _pin_time(self, const Request *request, bint is_callers) noexcept nogil:
        """The time to pin a request's pages, and to let them go: its caller's, or of who answers it in a daemon."""
        cdef double ns = self.pin_ns * (request.pages - 1)
        if request.kind == ASYNC_WRITE and self.is_served:
            return ns / 2
        return ns if is_callers else 0

    cdef bint _run(self, int task, int64_t ns, int purpose, int state) noexcept nogil:
        """Have time of the CPU, and then go on in a state; True: no time is needed."""
        self.tasks[task].state = state
        if ns <= 0:
            return True
        self.cpus.run_for(task, ns, purpose)
        return False

    # ---- on a device ------------------------------------------------------------------------------------------------

    cdef bint _submit(self, int task, int device, int pages, bint is_polled) noexcept nogil:
        """Give a device as many of the pages as it takes; the CPU is held for the submission, and while it polls."""
        cdef Task *own = &self.tasks[task]
        cdef Request *request = &self.requests[own.request]
        cdef bint waits = self.is_blocking or is_polled
        cdef int64_t ready_ns = 0
        cdef int number = (<SimulatedDevice>self.device_of[device]).begin(
            self.now_ns, pages, request.kind == READ, is_polled, &ready_ns
        )
        cdef Run *run = self.run_of(device, number)
        run.request = own.request
        run.task = task if waits else NOBODY
        request.left -= run.pages
        own.device, own.run, own.is_told = device, number, False
        if is_polled:
            self.cpus.runners[task].keeps_cpu = True
            self.cpus.poll_until(task, ready_ns)
            own.state = HAS_POLLED
            return False
        if not waits:
            request.parts += 1
        return self._run(
            task,
            (<SimulatedDevice>self.device_of[device]).timeline.costs.submit_ns,
            SUBMIT,
            AWAITS if waits else HAS_SUBMITTED,
        )

    cdef bint _command(self, int task, int device) noexcept nogil:
        """Give the pages of a read to the command set of the task's CPU, and poll until they are decompressed."""
        cdef Task *own = &self.tasks[task]
        cdef Request *request = &self.requests[own.request]
        own.device = device
        own.taken = min(request.left, self.run_pages)
        request.left -= own.taken
        own.state = HAS_COMMANDED
        self.cpus.poll_until(
            task,
            (<SimulatedDevice>self.device_of[device]).command(
                self.now_ns, self.cpus.runners[task].cpu, own.taken
            ),
        )
        return False

    cdef bint _await_run(self, int task) noexcept nogil:
        if not self.tasks[task].is_told:
            self.sleep(task, AWAITS)
            return False
        self.tasks[task].state = COMPLETES
        return True

    cdef bint _redo(self, int task) noexcept nogil:
        cdef Task *own = &self.tasks[task]
        return self._run(task, self._redo_ns(self.run_of(own.device, own.run), own.cpu), REDO, HAS_REDONE)

    cdef bint _store_run(self, int task) noexcept nogil:
        """Store the pages of a run that the task has waited for."""
        cdef Run *run = self.run_of(self.tasks[task].device, self.tasks[task].run)
        return self._run(task, self._fetch_time(run), PAGE, ENDS_RUN)

    cdef int64_t _redo_ns(self, const Run *run, int cpu) noexcept nogil:
        """How long a CPU takes for those pages of a run that the device did not do."""
        if run.failed == 0:
            return 0
        return self._service(self.decompress_ns[cpu] if run.is_read else self.compress_ns[cpu], run.failed)

    cdef void _release(self, int device, int run) noexcept nogil:
        """Count a run's pages, and give its descriptors to whoever waits for them."""
        cdef Run *done = self.run_of(device, run)
        self._count_pages(READ_DEVICE if done.is_read else MANAGED, done.pages)
        self._count_pages(REDONE, done.failed)
        if done.is_polled and not done.is_read:
            self._count_pages(POLLED, done.pages)
        (<SimulatedDevice>self.device_of[device]).end(self.now_ns, run)
        if self.first_waiting != NOBODY or self.is_served:
            self.call_waiters(self.now_ns)

    # ---- what was done --------------------------------------------------------------------------------------------

    cdef void _count_pages(self, int kind, int pages) noexcept nogil:
        if self.is_measured:
            self.pages[kind] += pages

    def page_counts(self):
        """Pages by kind of stream, as `result.PageCounts` names them."""
        return {name: self.pages[<int>kind] for kind, name in enumerate(_NAMES)}
