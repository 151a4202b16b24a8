from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

from zramfs.accel.descriptor cimport DescriptorStack
from zramfs.accel.injector cimport FaultInjector
from zramfs.accel.ring cimport DescriptorRing
from zramfs.accel.watch cimport Run, RunWatch
from zramfs.threads cimport pthread_mutex_t

cdef enum:
    MAX_RUN_PAGES = 256     # the longest run of a stream: FUSE's largest write (1 MiB)

cdef struct Counters:
    uint64_t submitted_pages
    uint64_t polled_pages
    int64_t overtime_ns     # CPU time of submitters: the work of polled runs, as far as it exceeds the model's time
    uint64_t stalls

cdef class ModelledQueue:
    cdef readonly DescriptorRing ring
    cdef readonly DescriptorStack descriptors
    cdef readonly FaultInjector faults
    cdef readonly RunWatch watch
    cdef readonly int64_t stall_ns
    cdef Counters counts
    cdef int modelled                   # whether there is anything to model
    cdef bint is_open                   # whether it takes runs
    cdef pthread_mutex_t lock

    cdef bint can_poll(self, int pages) noexcept nogil
    cdef int submit(self, uint32_t number, const uint8_t *first_page, int pages) noexcept nogil
    cdef int compress_polled(self, uint32_t number, const uint8_t *first_page, int pages) noexcept nogil
    cdef uint32_t reap(self) noexcept nogil
    cdef void reserve(self, uint32_t number) noexcept nogil
    cdef void retire(self, uint32_t number) noexcept nogil
    cdef int _hold(self, Run *run, const uint8_t *first_page, int pages) noexcept nogil
    cdef void _work_inline(self, Run *run, const uint8_t *faults) noexcept nogil
    cdef bint _is_near(self, int64_t now_ns, int pages, int64_t most_ns) noexcept nogil
    cdef bint _draw_faults(self, int64_t now_ns, int pages, uint8_t *faults) noexcept nogil
    cdef void _stall(self, int64_t now_ns) noexcept nogil
    cdef void _reconsider(self) noexcept nogil
