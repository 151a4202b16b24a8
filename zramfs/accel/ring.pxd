from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

from zramfs.codec.run cimport CompressedPage, CompressedRun, PageCodec
from zramfs.memory cimport LazyMemory
from zramfs.threads cimport pthread_cond_t, pthread_mutex_t

# What may happen to a descriptor.
cdef enum Fault:
    NO_FAULT = 0
    FAULT_TIMEOUT = 1       # it never completes
    FAULT_BUS_ERROR = 2     # it completes with an error
    FAULT_CORRUPT = 3       # it completes, and its output is wrong

# The status of a descriptor that failed, as the length of its CompressedPage; FAILED is the codec's own.
cdef enum Status:
    TIMED_OUT = -2
    BUS_ERROR = -3
    VERIFY_FAILED = -4
    DEVICE_GONE = -5

# One page's work, as an engine sees it.
cdef struct Job:
    const uint8_t *page
    CompressedPage *result
    uint32_t run_number
    uint8_t fault

cdef class DescriptorRing:
    cdef readonly int queue_depth
    cdef readonly int free_descriptors
    cdef readonly int inflight_max
    cdef readonly int completion_fd
    cdef readonly uint64_t submitted_pages
    cdef readonly uint64_t polled_pages
    cdef readonly uint64_t doorbells
    cdef readonly uint64_t interrupts
    cdef PageCodec own_codec
    cdef list threads
    cdef LazyMemory scratch             # SCRATCH_BYTES a descriptor
    cdef uint32_t *free_stack           # descriptors in no run
    cdef uint32_t *unfinished           # by run number: jobs still to do; under the lock
    cdef Job *jobs                      # circular, from head to tail; under the lock
    cdef uint32_t head, tail, queued, idle_engines
    cdef uint32_t *finished             # numbers of finished runs; under the lock
    cdef uint32_t *reaped               # their copy, for the driver
    cdef uint32_t finished_count
    cdef uint32_t wanted_count          # those of them that are to be told at once
    cdef int64_t polled_run             # whose completion the driver waits for itself, or -1; under the lock
    cdef bint is_signalled              # an interrupt is on its way; under the lock
    cdef uint32_t run_count             # runs submitted and not yet reaped; under the lock
    cdef int64_t *wanted_ns             # by run number: before when its end is nobody's business; 0: tell at once
    cdef int64_t *finished_ns           # by run number: when its last job was done
    cdef public bint verifies           # whether output is verified where it may be corrupt,
    cdef public bint may_be_corrupt     # and whether that is so of every descriptor
    cdef public bint engines_only       # whether the driver's thread leaves the engines' work to them
    cdef bint closing
    cdef pthread_mutex_t lock
    cdef pthread_cond_t doorbell

    cpdef int submit(
        self, uint32_t run_number, CompressedRun run, object source, uint64_t offset_bytes, int pages
    ) except -1
    cpdef int compress_polled(
        self, uint32_t run_number, CompressedRun run, object source, uint64_t offset_bytes, int pages
    ) except -1
    cpdef void retire(self, CompressedRun run) noexcept
    cdef int _take_descriptors(self, CompressedRun run, object source, uint64_t offset_bytes, int pages) except -1
    cdef void _queue(self, uint32_t run_number, CompressedRun run, int taken, const uint8_t *faults) noexcept
    cdef int submit_faulty(
        self, uint32_t run_number, CompressedRun run, object source, uint64_t offset_bytes, int pages,
        const uint8_t *faults, int64_t wanted_ns
    ) except -1
    cdef int compress_faulty(
        self, CompressedRun run, object source, uint64_t offset_bytes, int pages, const uint8_t *faults
    ) except -1
    cdef int repair_page(self, CompressedPage *page) noexcept
    cdef void tell_at_once(self, uint32_t run_number) noexcept
    cdef void _do(self, PageCodec codec, Job *job) noexcept nogil
    cpdef bint help(self)
    cdef void _await_polled_run(self) noexcept nogil
    cdef bint _help(self) noexcept nogil
    cdef void _work_off(self, PageCodec codec) noexcept nogil
    cdef void _finish(self, Job *batch, int count) noexcept nogil
    cdef void _spin(self) noexcept nogil
    cdef int _fetch(self, Job *batch) noexcept nogil
