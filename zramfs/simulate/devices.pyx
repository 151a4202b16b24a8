# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""Which device gets a run, and who waits for a descriptor of one.

Least full is the default, ties in turn: a device that stalls, or is slower, is given less. In turn, or by CPU, it would
be given as much as the others, and its queue would be full while others are idle.
"""

from libc.stdint cimport int64_t, uint64_t
from libc.stdlib cimport calloc, free

from zramfs.simulate.device cimport Run, SimulatedDevice
from zramfs.simulate.heap cimport NOBODY
from zramfs.simulate.locks cimport StreamLocks
from zramfs.simulate.tasks cimport CHOOSES, Task

from zramfs.simulate.scenario import Spread

_NUMBER_OF_SPREAD = {Spread.LEAST_FULL: LEAST_FULL, Spread.ROUND_ROBIN: ROUND_ROBIN, Spread.BY_CPU: BY_CPU}


cdef class Devices(StreamLocks):
    """The devices of a machine, `scenario.Device`s."""

    def __cinit__(self, flows, devices, *args, spread, int64_t interval_ns, uint64_t seed, **kwargs):
        cdef SimulatedDevice made
        cdef int number
        self.device_count = len(devices)
        self.devices = []
        self.device_of = <void **>calloc(max(self.device_count, 1), sizeof(void *))
        if self.device_of == NULL:
            raise MemoryError
        for number in range(self.device_count):
            made = SimulatedDevice(devices[number], number, seed + 1 + number, interval_ns)
            made.heap = &self.heap
            self.devices.append(made)
            self.device_of[number] = <void *>made
        self.spread = _NUMBER_OF_SPREAD[spread]
        self.first_waiting = NOBODY

    def __dealloc__(self):
        free(self.device_of)

    cdef int choose_device(self, int task, bint is_read) noexcept nogil:
        """The device for a task's next run; NOBODY if none has a descriptor that others do not wait for."""
        cdef Task *own = &self.tasks[task]
        cdef int number
        if own.is_called:
            own.is_called = False
            self.called -= 1
        elif not is_read and (self.called or self.first_waiting != NOBODY) and self._free() <= self.called:
            return NOBODY
        if self.spread == LEAST_FULL:
            return self._least_full(is_read)
        if self.spread == BY_CPU:
            number = own.cpu % self.device_count
        else:
            number = self.next_device
            self.next_device = (self.next_device + 1) % self.device_count
        if self._takes(number, is_read):
            return number
        (<SimulatedDevice>self.device_of[number]).refuse()
        return NOBODY

    cdef int _least_full(self, bint is_read) noexcept nogil:
        cdef int best = NOBODY
        cdef int most_free = 0
        cdef int each, number, free
        for each in range(self.device_count):
            number = (self.next_device + each) % self.device_count
            free = (<SimulatedDevice>self.device_of[number]).free_descriptors()
            if is_read and (<SimulatedDevice>self.device_of[number]).command_sets:
                free += 1  # they need none
            if free > most_free and self._takes(number, is_read):
                best, most_free = number, free
        if best == NOBODY:
            (<SimulatedDevice>self.device_of[self.next_device]).refuse()
        self.next_device = (self.next_device + 1) % self.device_count
        return best

    cdef bint _takes(self, int device, bint is_read) noexcept nogil:
        if is_read and not (<SimulatedDevice>self.device_of[device]).decompresses:
            return False
        if is_read and (<SimulatedDevice>self.device_of[device]).command_sets:
            return (<SimulatedDevice>self.device_of[device]).is_online
        return (<SimulatedDevice>self.device_of[device]).free_descriptors() > 0

    cdef Run *run_of(self, int device, int run) noexcept nogil:
        return &(<SimulatedDevice>self.device_of[device]).runs[run]

    # ---- waiting ----------------------------------------------------------------------------------------------------

    cdef bint must_wait(self, bint is_read) noexcept nogil:
        """Whether a task that got no descriptor waits for one; reads never do."""
        cdef int number
        if is_read:
            return False
        for number in range(self.device_count):
            if (<SimulatedDevice>self.device_of[number]).waits and (<SimulatedDevice>self.device_of[number]).is_online:
                return True
        return False

    cdef void await_descriptor(self, int task) noexcept nogil:
        """Let a task sleep until it is worth choosing again."""
        self.tasks[task].next_waiting = NOBODY
        if self.first_waiting == NOBODY:
            self.first_waiting = task
        else:
            self.tasks[self.last_waiting].next_waiting = task
        self.last_waiting = task
        self.sleep(task, CHOOSES)

    cdef void call_waiters(self, int64_t now_ns) noexcept nogil:
        """Wake those who wait, in their order, while there is a descriptor for them; all, if nobody has to wait."""
        cdef int task
        cdef bint must_wait = self.must_wait(False)
        cdef int free = self._free()
        while self.first_waiting != NOBODY and (free > self.called or not must_wait):
            task = self.first_waiting
            self.first_waiting = self.tasks[task].next_waiting
            self.tasks[task].is_called = True
            self.called += 1
            self.wake(now_ns, task)

    cdef int _free(self) noexcept nogil:
        cdef int number
        cdef int free = 0
        for number in range(self.device_count):
            free += (<SimulatedDevice>self.device_of[number]).free_descriptors()
        return free
