from libc.stdint cimport uint8_t, uint32_t

from zramfs.accel.job_queue cimport Job
from zramfs.codec.run cimport PageCodec
from zramfs.memory cimport LazyMemory

# What may happen to a descriptor; STALL happens to the whole device.
cdef enum:
    NO_FAULT = 0
    FAULT_TIMEOUT = 1       # it never completes
    FAULT_BUS_ERROR = 2     # it completes with an error
    FAULT_CORRUPT = 3       # it completes, and its output is wrong
    FAULT_STALL = 4
    FAULT_COUNT = 5         # with NO_FAULT

# The status of a descriptor that failed, as the length of its CompressedPage; FAILED is the codec's own.
cdef enum:
    TIMED_OUT = -2
    BUS_ERROR = -3
    VERIFY_FAILED = -4
    DEVICE_GONE = -5
    STATUSES = 4

cdef enum:
    VERIFIES = 1            # output is verified where it may be corrupt,
    MAY_BE_CORRUPT = 2      # and that is so of every descriptor

# A `ring.Work`. The job's mark is its fault; `checks` are VERIFIES and MAY_BE_CORRUPT, or neither.
cdef void work_off_with_fault(PageCodec codec, const Job *job, int checks) noexcept nogil

cdef class DescriptorStack:
    cdef int depth
    cdef int free_count                 # read by anyone
    cdef int most_taken
    cdef LazyMemory scratch
    cdef uint32_t *numbers

    cdef uint8_t *take(self) noexcept nogil
    cdef void give(self, const uint8_t *data) noexcept nogil
