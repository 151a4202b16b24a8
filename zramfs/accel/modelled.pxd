from libc.stdint cimport uint8_t, uint32_t

from zramfs.accel.model cimport DeviceModel
from zramfs.accel.watch cimport Run

cdef class ModelledQueue(DeviceModel):
    cdef int is_open                    # whether it takes runs

    cdef bint can_poll(self, int pages) noexcept nogil
    cdef int submit(self, uint32_t number, const uint8_t *first_page, int pages) noexcept nogil
    cdef int compress_polled(self, uint32_t number, const uint8_t *first_page, int pages) noexcept nogil
    cdef uint32_t reap(self) noexcept nogil
    cdef void reserve(self, uint32_t number) noexcept nogil
    cdef void retire(self, uint32_t number) noexcept nogil
    cdef int _hold(self, Run *run, const uint8_t *first_page, int pages) noexcept nogil
    cdef void _work_inline(self, Run *run, const uint8_t *faults) noexcept nogil
