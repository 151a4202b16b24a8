from libc.stdint cimport int64_t, uint32_t, uint64_t

from zramfs.accel.job_queue cimport Finished
from zramfs.accel.latency cimport LatencyWindow
from zramfs.accel.ring cimport DescriptorRing
from zramfs.accel.timeline cimport Timeline
from zramfs.accel.timer cimport EventTimer
from zramfs.accel.work_meter cimport WorkMeter
from zramfs.codec.run cimport CompressedPage

cdef extern from "<stdint.h>" nogil:
    const uint32_t NO_RUN "UINT32_MAX"

# A stream's run, from the moment that the stream is taken.
cdef struct Run:
    CompressedPage *pages
    int capacity
    int held                # descriptors
    int count               # pages that it was submitted with
    int64_t submitted_ns
    int64_t finished_ns     # when the engines finished with it
    int64_t told_ns         # when the interrupt tells of it, as soon as that is known; NEVER_NS before, 0: at once
    uint32_t next_told
    bint is_in_flight       # its submitter does not poll, and is yet to be told
    bint is_modelled        # otherwise it is told of when its work is done
    bint is_lost            # a descriptor of it never completes
    bint is_done            # the engines have finished with it
    bint is_expired         # the driver's watch has gone off while they had not: their signal tells of it
    bint is_orphan          # its device went away while it worked on the run
    WorkMeter work          # of the device, done by whoever had the stream

cdef class RunWatch:
    cdef readonly DescriptorRing ring
    cdef readonly Timeline timeline
    cdef readonly EventTimer timer
    cdef readonly LatencyWindow observed
    cdef readonly LatencyWindow model
    cdef readonly int64_t timeout_ns
    cdef uint64_t modelled_runs         # those that `note` has seen, of a device that takes time
    cdef uint64_t modelled_pages
    cdef uint64_t late_completions      # of the runs, those whose work outlasted their time,
    cdef uint64_t late_pages            # and of the pages
    cdef int64_t latest_ns
    cdef list compressed_runs           # whose memory the pages of `runs` are
    cdef Run *runs                      # by number
    cdef uint32_t run_count
    cdef Finished *reaped
    cdef uint32_t *told
    cdef uint32_t *waiting              # numbers of the modelled runs in flight, in the order of submission
    cdef uint32_t waiting_count
    cdef bint is_overdue                # a run's end is to be told now, and nothing else says so
    cdef int64_t event_ns               # when `reap` has something to do, as far as the clock can tell
    cdef int64_t attention_ns           # likewise, or has to acknowledge the timer

    cdef bint needs_attention(self) noexcept nogil
    cdef int64_t next_event_ns(self) noexcept nogil
    cdef void begin(self, Run *run, bint is_modelled) noexcept nogil
    cdef int64_t expect(self, uint32_t number, bint is_lost) noexcept nogil
    cdef void finish(self, Run *run) noexcept nogil
    cdef uint32_t reap(self) noexcept nogil
    cdef void note(self, int pages, int64_t submitted_ns, int64_t told_ns, int64_t finished_ns) noexcept nogil
    cdef int64_t work_ns(self) noexcept nogil
    cdef void lose_everything(self) noexcept nogil
    cdef void update(self) noexcept nogil
    cdef void _tell(self, uint32_t number, uint32_t *first, uint32_t *last) noexcept nogil
    cdef void _take_interrupts(self, int64_t now_ns) noexcept nogil
    cdef bint _is_over(self, uint32_t number, int64_t now_ns) noexcept nogil
    cdef void _give_up(self, uint32_t number) noexcept nogil
    cdef int64_t _find_next_event_ns(self) noexcept nogil
