from libc.stdint cimport int64_t, uint8_t, uint32_t

from zramfs.accel.contexts cimport ContextPool
from zramfs.accel.job_queue cimport SHARED_DESCRIPTORS, BATCH_DESCRIPTORS, POLLED, Job, JobQueue
from zramfs.accel.work_meter cimport WorkMeter
from zramfs.codec.run cimport CompressedPage, PageCodec

# What is done with a page. `options` are `DescriptorRing.work_options`.
ctypedef void (*Work)(PageCodec codec, const Job *job, int options) noexcept nogil

cdef class DescriptorRing(JobQueue):
    cdef readonly ContextPool contexts  # for the driver's threads
    cdef list threads
    cdef int engines
    cdef bint closing
    cdef WorkMeter lent
    cdef Work work                      # fixed before the first run
    cdef int work_options
    cdef int engines_only               # whether the driver's threads leave the engines' work to them

    cdef void compress_polled(self, uint32_t run_number, CompressedPage *pages, int count) noexcept nogil
    cdef void compress_alone(self, CompressedPage *pages, int count, const uint8_t *marks) noexcept nogil
    cdef void compress_page(self, const uint8_t *page, CompressedPage *result) noexcept nogil
    cdef int repair_page(self, CompressedPage *page) noexcept nogil
    cdef bint lend_hand(self) noexcept nogil
    cdef int64_t lent_ns(self) noexcept nogil
    cdef void _await(self, uint32_t run_number) noexcept nogil
    cdef int _work_off_some(self) noexcept nogil
    cdef void _work_on(self, PageCodec codec, const Job *batch, int count) noexcept nogil
    cdef void _work_off(self, PageCodec codec) noexcept nogil
    cdef void _spin(self) noexcept nogil
