from libc.stdint cimport int64_t, uint8_t, uint64_t

from zramfs.accel.descriptor cimport DescriptorStack
from zramfs.accel.injector cimport FaultInjector
from zramfs.accel.ring cimport DescriptorRing
from zramfs.accel.watch cimport RunWatch
from zramfs.threads cimport pthread_mutex_t

cdef enum:
    MAX_RUN_PAGES = 256     # the longest run of a stream: FUSE's largest write (1 MiB)

cdef struct Counters:
    uint64_t submitted_pages
    uint64_t polled_pages
    int64_t overtime_ns     # CPU time of submitters: the work of polled runs, as far as it exceeds the model's time
    uint64_t stalls

cdef class DeviceModel:
    cdef readonly DescriptorRing ring
    cdef readonly DescriptorStack descriptors
    cdef readonly FaultInjector faults
    cdef readonly RunWatch watch
    cdef readonly int64_t stall_ns
    cdef Counters counts
    cdef int modelled                   # whether there is anything to model
    cdef pthread_mutex_t lock

    cdef bint is_near(self, int64_t now_ns, int pages, int64_t most_ns) noexcept nogil
    cdef bint draw_faults(self, int64_t now_ns, int pages, uint8_t *faults) noexcept nogil
    cdef void reconsider(self) noexcept nogil
    cdef void _stall(self, int64_t now_ns) noexcept nogil
