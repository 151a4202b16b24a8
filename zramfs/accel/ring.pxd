from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

from zramfs.accel.contexts cimport ContextPool
from zramfs.accel.descriptor cimport Job
from zramfs.accel.work_meter cimport WorkMeter
from zramfs.codec.run cimport CompressedPage, PageCodec
from zramfs.threads cimport pthread_cond_t, pthread_mutex_t

# A run whose last page is done.
cdef struct Finished:
    int64_t at_ns
    uint32_t number

cdef class DescriptorRing:
    cdef readonly int queue_depth
    cdef readonly ContextPool contexts  # for the driver's threads
    cdef list threads
    cdef int engines
    cdef int completion_fd
    cdef uint32_t *unfinished           # by run number: jobs still to do
    cdef int64_t *wanted_ns             # by run number: before when its end is nobody's business; or AT_ONCE, or POLLED
    cdef Job *jobs                      # circular, from head to tail
    cdef uint32_t head, tail, queued, idle_engines
    cdef Finished *finished
    cdef uint32_t finished_count
    cdef uint32_t wanted_count          # those of them that are to be told at once
    cdef uint32_t run_count             # runs submitted and not yet reaped
    cdef uint32_t polled_runs           # those of them whose submitters wait for their ends themselves
    cdef bint is_signalled              # an interrupt is on its way
    cdef bint closing
    cdef uint64_t doorbells, interrupts
    cdef WorkMeter helped
    cdef int checks                     # VERIFIES, MAY_BE_CORRUPT
    cdef int engines_only               # whether the driver's threads leave the engines' work to them
    cdef pthread_mutex_t lock
    cdef pthread_cond_t doorbell

    cdef uint32_t queue(
        self, uint32_t run_number, CompressedPage *pages, int count, const uint8_t *faults, int64_t wanted_ns
    ) noexcept nogil
    cdef void ring_doorbell(self, uint32_t engines) noexcept nogil
    cdef void compress_polled(self, uint32_t run_number, CompressedPage *pages, int count) noexcept nogil
    cdef void compress_alone(self, CompressedPage *pages, int count, const uint8_t *faults) noexcept nogil
    cdef void compress_page(self, const uint8_t *page, CompressedPage *result) noexcept nogil
    cdef int repair_page(self, CompressedPage *page) noexcept nogil
    cdef bint has_finished(self) noexcept nogil
    cdef uint32_t reap(self, Finished *finished) noexcept nogil
    cdef void tell_at_once(self, uint32_t run_number) noexcept nogil
    cdef void drop_queued(self) noexcept nogil
    cdef bint help(self) noexcept nogil
    cdef int64_t help_ns(self) noexcept nogil
    cdef void _await(self, uint32_t run_number) noexcept nogil
    cdef int _help(self) noexcept nogil
    cdef void _work_off(self, PageCodec codec) noexcept nogil
    cdef void _finish(self, const Job *batch, int count) noexcept nogil
    cdef void _signal(self) noexcept nogil
    cdef void _spin(self) noexcept nogil
    cdef int _fetch(self, Job *batch) noexcept nogil
    cdef int _fetch_last(self, Job *batch) noexcept nogil
