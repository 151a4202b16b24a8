from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

from zramfs.accel.injector cimport FaultInjector
from zramfs.accel.timeline cimport Costs, Timeline
from zramfs.simulate.heap cimport EventHeap
from zramfs.simulate.series cimport LevelSeries

cdef enum:
    MOST_DEPTH = 4096               # by the settings of the accelerator
    POLL_MOST_NS = 200000           # that a caller polls: as `accel/modelled.pyx` has it

# Pages that a device has, from submission until their descriptors are given back.
cdef struct Run:
    int64_t began_ns
    int task                        # that waits for it, or NOBODY
    int request
    int pages
    int failed                      # pages that software has to do again
    uint32_t generation             # how often this number was used
    bint is_in_flight               # the driver has not been told of it
    int unworked                    # pages that an emulated engine has still to work on
    bint is_due                     # its time has come
    bint is_polled
    bint is_read
    bint is_cached                  # its pages were compressed where it was submitted

cdef class SimulatedDevice:
    cdef EventHeap *heap
    cdef int number
    cdef Timeline timeline
    cdef FaultInjector faults
    cdef readonly LevelSeries depth
    cdef Costs compress_costs, decompress_costs
    cdef Run *runs
    cdef uint32_t *free_runs
    cdef uint32_t *told
    cdef int descriptors, in_use, free_run_count
    cdef int *work_runs             # of an emulated device: runs whose pages wait for an engine, circular
    cdef int *work_left             # pages of each that no engine has taken
    cdef int first_work, work_count
    cdef bint is_emulated
    cdef int polled_run_pages
    cdef int64_t timeout_ns, stall_ns
    cdef int command_sets           # that decompress, CPU n by set n mod so many; 0: it has one queue for both
    cdef int64_t *commanded_until_ns    # by set
    cdef readonly int completion_cpu    # of the thread that completes; negative: whose CPU submitted
    cdef int64_t interrupt_ns       # when the next is scheduled for
    cdef bint waits, decompresses, verifies, is_online
    cdef bint is_measured
    cdef readonly uint64_t pages, run_count, interrupts, refused, lost_runs
    cdef readonly int64_t busy_ns

    cdef int free_descriptors(self) noexcept nogil
    cdef void refuse(self) noexcept nogil
    cdef bint may_poll(self, int64_t now_ns, int pages) noexcept nogil
    cdef int begin(self, int64_t now_ns, int pages, bint is_read, bint is_polled, int64_t *ready_ns) noexcept nogil
    cdef int64_t command(self, int64_t now_ns, int cpu, int pages) noexcept nogil
    cdef void end(self, int64_t now_ns, int run) noexcept nogil
    cdef int take_interrupt(self, int64_t now_ns, int64_t scheduled_ns) noexcept nogil
    cdef void queue_work(self, int run) noexcept nogil
    cdef int take_work(self, int most_pages, int *run) noexcept nogil
    cdef bint give_up(self, int64_t value) noexcept nogil
    cdef int go_offline(self) noexcept nogil
    cdef int _draw_faults(self, int64_t now_ns, int pages, bint *is_lost) noexcept nogil
    cdef void _watch(self, int64_t now_ns, int run) noexcept nogil
    cdef void _plan_interrupt(self) noexcept nogil
