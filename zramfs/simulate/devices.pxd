from libc.stdint cimport int64_t, uint64_t

from zramfs.simulate.device cimport Run
from zramfs.simulate.locks cimport StreamLocks

cdef enum SpreadKind:
    LEAST_FULL
    ROUND_ROBIN
    BY_CPU

cdef class Devices(StreamLocks):
    cdef readonly list devices
    cdef void **device_of               # borrowed: SimulatedDevices
    cdef int device_count
    cdef int spread
    cdef int next_device
    cdef int first_waiting, last_waiting, called    # tasks that wait for a descriptor

    cdef int choose_device(self, int task, bint is_read) noexcept nogil
    cdef bint must_wait(self, bint is_read) noexcept nogil
    cdef void await_descriptor(self, int task) noexcept nogil
    cdef void call_waiters(self, int64_t now_ns) noexcept nogil
    cdef Run *run_of(self, int device, int run) noexcept nogil
    cdef int _free(self) noexcept nogil
    cdef int _least_full(self, bint is_read) noexcept nogil
    cdef bint _takes(self, int device, bint is_read) noexcept nogil
