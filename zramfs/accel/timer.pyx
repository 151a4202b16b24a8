# cython: language_level=3, cdivision=True
"""A timerfd that wakes the event loop for a device's next event. It has no lock."""

from libc.stdint cimport int64_t
from libc.string cimport memset

from zramfs.clock cimport NEVER_NS, monotonic_ns

cdef extern from "<time.h>" nogil:
    struct timespec:
        int64_t tv_sec
        long tv_nsec
    enum:
        CLOCK_MONOTONIC

cdef extern from "<sys/timerfd.h>" nogil:
    struct itimerspec:
        timespec it_interval
        timespec it_value
    int timerfd_create(int clock, int flags)
    int timerfd_settime(int fd, int flags, const itimerspec *new_value, itimerspec *old_value)
    enum:
        TFD_CLOEXEC
        TFD_NONBLOCK
        TFD_TIMER_ABSTIME

cdef enum:
    NS_PER_S = 1000000000
    # How late the timer may be: as long as it takes the event loop to wake up.
    TIMER_SLACK_NS = 25000


cdef class EventTimer:
    """Readable from about `armed_ns` on, until it is armed again. OSError when the system refuses."""

    def __cinit__(self):
        self.armed_ns = NEVER_NS
        self.timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK)
        if self.timer_fd < 0:
            raise OSError("no timer for the accelerator's completions")

    @property
    def fd(self):
        """-1 once it is closed. For the event loop's thread, which closes it."""
        return self.timer_fd

    cdef void arm(self, int64_t at_ns) noexcept nogil:
        """See to it that it goes off at `at_ns` or shortly after; setting it also acknowledges it.

        Setting it takes 5 us in a virtual machine, and whoever polls is faster anyway: one that goes off in time stays.
        """
        cdef int64_t now_ns
        cdef itimerspec setting
        if at_ns == NEVER_NS == self.armed_ns:
            return
        now_ns = monotonic_ns()
        if self.armed_ns > now_ns and (at_ns == NEVER_NS or self.armed_ns <= at_ns + 2 * TIMER_SLACK_NS):
            return
        memset(&setting, 0, sizeof(setting))
        if at_ns != NEVER_NS:
            at_ns = max(at_ns, now_ns) + TIMER_SLACK_NS
            setting.it_value.tv_sec, setting.it_value.tv_nsec = at_ns // NS_PER_S, at_ns % NS_PER_S
        timerfd_settime(self.timer_fd, TFD_TIMER_ABSTIME, &setting, NULL)
        self.armed_ns = at_ns

    def arm_at(self, int64_t at_ns):
        """Likewise, from Python: to measure its time."""
        self.arm(at_ns)

    def __repr__(self):
        return f"<EventTimer {'idle' if self.armed_ns == NEVER_NS else self.armed_ns}>"
