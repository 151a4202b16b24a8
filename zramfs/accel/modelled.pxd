from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

from zramfs.accel.latency cimport LatencyWindow
from zramfs.accel.ring cimport DescriptorRing
from zramfs.accel.timeline cimport Timeline
from zramfs.codec.run cimport CompressedRun

# A run that the driver has yet to be told of.
cdef struct Outstanding:
    int64_t submitted_ns
    int64_t told_ns         # when the interrupt tells of it, as soon as that is known; NEVER_NS before, 0: at once
    bint is_modelled        # otherwise it is told of when its work is done
    bint is_lost            # a descriptor of it never completes
    bint is_done            # the engines have finished with it
    bint is_expired         # the driver's watch has gone off while they had not: their signal tells of it

cdef class ModelledQueue:
    cdef readonly DescriptorRing ring
    cdef readonly Timeline timeline
    cdef readonly object faults
    cdef readonly LatencyWindow observed
    cdef readonly LatencyWindow model
    cdef readonly uint64_t late_completions
    cdef readonly int64_t latest_ns
    cdef readonly uint64_t stalls
    cdef readonly int64_t inline_work_ns    # the device's work that the submitter's thread did
    cdef readonly int timer_fd
    cdef public int64_t timeout_ns
    cdef public int64_t stall_ns
    cdef readonly bint is_modelled
    cdef bint may_hang
    cdef list run_of
    cdef uint8_t *plan_of_page
    cdef Outstanding *runs              # by run number
    cdef uint32_t *waiting              # numbers of the modelled runs in flight, in the order of submission
    cdef uint32_t waiting_count
    cdef int64_t armed_ns

    cdef bint can_poll(self, int pages) noexcept
    cdef int submit(self, uint32_t number, CompressedRun run, object source, uint64_t offset_bytes, int pages) except -1
    cdef int compress_polled(
        self, uint32_t number, CompressedRun run, object source, uint64_t offset_bytes, int pages
    ) except -1
    cdef bint _plan(self, int64_t now_ns, int pages) except -1
    cdef bint _is_over(self, uint32_t number, int64_t now_ns) noexcept
    cdef void _note(self, int64_t submitted_ns, int64_t told_ns, int64_t finished_ns) noexcept
    cdef void _give_up(self, uint32_t number) noexcept
    cdef void abandon(self, uint32_t number) noexcept
    cdef int lose_queued(self) except -1
    cdef int64_t next_event_ns(self) noexcept
    cdef int _arm(self) except -1
