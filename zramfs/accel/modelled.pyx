# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""A filter in front of the ring: lets runs take the time that the modelled device would take, and lets them fail.

The ring does the work as fast as it can; here a run is held back until its time on the `timeline` has come, and the
descriptors that `faults` names fail. Without modelled time and faults everything goes straight through.
"""

import os

from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memmove, memset

from zramfs.accel.latency cimport LatencyWindow
from zramfs.accel.ring cimport FAULT_BUS_ERROR, FAULT_CORRUPT, FAULT_TIMEOUT, TIMED_OUT, DescriptorRing
from zramfs.accel.timeline cimport Timeline
from zramfs.clock cimport NEVER_NS, monotonic_ns
from zramfs.codec.run cimport PAGE_BYTES, CompressedRun

from zramfs.accel.faults import STALL

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
    # The longest that a caller polls for one run: it holds the event loop meanwhile, as a polling driver does its CPU.
    POLL_MOST_NS = 200000
    # Runs that the submitter's thread works off for the device: handing them to an engine's thread and back would
    # take longer than the work (about 10 us, and 2 to 6 us a page), and longer than the fastest device's page.
    INLINE_PAGES = 2
    # How late the timer may be: as long as it takes the event loop to wake up.
    TIMER_SLACK_NS = 25000

_FAULT_OF_KIND = {"timeout": FAULT_TIMEOUT, "bus_error": FAULT_BUS_ERROR, "corrupt": FAULT_CORRUPT}


cdef class ModelledQueue:
    """The queue of a device with the time of `timing` and the faults of `faults`, in front of `ring`.

    `run_of` has each run by its number, as many as there are descriptors.
    `timeout_ns` is how long its driver waits for a run; `stall_ns` how long the device stands still when it stalls.
    Its timer is readable whenever a run's time has come.
    """

    def __cinit__(self, DescriptorRing ring not None, list run_of not None, timing, faults):
        cdef int depth = ring.queue_depth
        self.timer_fd = -1
        self.ring = ring
        self.run_of = run_of
        self.faults = faults
        self.timeline = Timeline(timing, depth)
        self.observed = LatencyWindow()
        self.model = LatencyWindow()
        self.armed_ns = NEVER_NS
        self.plan_of_page = <uint8_t *>calloc(depth, 1)
        self.runs = <Outstanding *>calloc(depth, sizeof(Outstanding))
        self.waiting = <uint32_t *>calloc(depth, sizeof(uint32_t))
        if not (self.plan_of_page and self.runs and self.waiting):
            raise MemoryError
        self.timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK)
        if self.timer_fd < 0:
            raise OSError("no timer for the accelerator's completions")
        self.reconsider()

    def __dealloc__(self):
        free(self.plan_of_page)
        free(self.runs)
        free(self.waiting)

    def close(self):
        """Stop the ring's engines, and the timer."""
        self.ring.close()
        if self.timer_fd >= 0:
            os.close(self.timer_fd)
            self.timer_fd = -1

    def reconsider(self):
        """Find out anew whether there is anything to model, and when; after each change of timing, timeout or faults."""
        self.is_modelled = bool(self.timeline.timing.takes_time or self.faults or self.waiting_count)
        self.may_hang = self.faults.may_hang
        self.ring.engines_only = self.timeline.timing.takes_time
        self._arm()

    # ---- submission -------------------------------------------------------------------------------------------

    cdef bint can_poll(self, int pages) noexcept:
        """Whether a caller may wait for a run of so many pages on its CPU: not long, and not for what may never come."""
        if not self.is_modelled:
            return True
        if self.may_hang:
            return False
        cdef int64_t now_ns = monotonic_ns()
        return self.timeline.predict(now_ns, pages) - now_ns <= POLL_MOST_NS

    cdef int submit(
        self, uint32_t number, CompressedRun run, object source, uint64_t offset_bytes, int pages
    ) except -1:
        """Queue what finds descriptors; how many pages that is."""
        cdef Outstanding *entry = &self.runs[number]
        cdef int64_t now_ns, ready_ns
        if not self.is_modelled:
            entry.is_modelled = False
            return self.ring.submit(number, run, source, offset_bytes, pages)
        pages = min(pages, self.ring.free_descriptors, run.capacity)
        now_ns = monotonic_ns()
        memset(entry, 0, sizeof(Outstanding))
        entry.is_modelled = True
        entry.is_lost = self._plan(now_ns, pages)
        entry.submitted_ns, entry.told_ns = now_ns, NEVER_NS
        if entry.is_lost:
            ready_ns = self.timeline.occupy(now_ns, pages)
        else:
            ready_ns = self.timeline.submit(now_ns, number, pages)
        self.waiting[self.waiting_count] = number
        self.waiting_count += 1
        if pages <= INLINE_PAGES and self.ring.engines_only:
            self.ring.compress_faulty(run, source, offset_bytes, pages, self.plan_of_page)
            self.ring.finished_ns[number] = monotonic_ns()
            self.inline_work_ns += self.ring.finished_ns[number] - now_ns
            entry.is_done = True
        else:
            self.ring.submit_faulty(number, run, source, offset_bytes, pages, self.plan_of_page, ready_ns)
        spin_until(now_ns + self.timeline.submit_ns)
        self._arm()
        return pages

    cdef int compress_polled(
        self, uint32_t number, CompressedRun run, object source, uint64_t offset_bytes, int pages
    ) except -1:
        """Compress what finds descriptors, after `can_poll`; done when it returns, at the modelled device's time."""
        cdef int64_t began_ns, ready_ns, finished_ns
        if not self.is_modelled:
            return self.ring.compress_polled(number, run, source, offset_bytes, pages)
        pages = min(pages, self.ring.free_descriptors, run.capacity)
        began_ns = monotonic_ns()
        self._plan(began_ns, pages)
        ready_ns = self.timeline.occupy(began_ns, pages)
        self.ring.compress_faulty(run, source, offset_bytes, pages, self.plan_of_page)
        self.ring.polled_pages += pages
        finished_ns = monotonic_ns()
        self._note(began_ns, ready_ns, finished_ns)
        spin_until(ready_ns)
        self.observed.add(monotonic_ns() - began_ns)
        return pages

    cdef bint _plan(self, int64_t now_ns, int pages) except -1:
        """Decide what happens to the next descriptors; whether one of them never completes."""
        cdef bint is_lost = False
        memset(self.plan_of_page, 0, pages)
        if not self.faults:
            return False
        for descriptor, kind in self.faults.plan(pages).items():
            if descriptor == STALL:
                self.stall(now_ns)
            else:
                self.plan_of_page[<int>descriptor] = <uint8_t>_FAULT_OF_KIND[kind]
                is_lost |= kind == "timeout"
        return is_lost

    def stall(self, now_ns=None):
        """Let the device stand still for `stall_ns`, from now on."""
        self.stalls += 1
        self.timeline.stall(monotonic_ns() if now_ns is None else now_ns, self.stall_ns)

    # ---- completion -------------------------------------------------------------------------------------------

    def reap(self):
        """The numbers of the runs that the driver learns of now: done, and their time has come; or timed out."""
        cdef uint32_t number, place, kept
        cdef int64_t told_ns
        # Before looking at the ring: what is done after that and counts as told by now, the ring signals as overdue.
        cdef int64_t now_ns = monotonic_ns()
        told = []
        for number in self.ring.reap():
            if self.runs[number].is_modelled:
                self.runs[number].is_done = True
            else:
                told.append(number)
        if self.waiting_count == 0 and self.armed_ns == NEVER_NS:
            return told
        while (told_ns := self.timeline.next_interrupt_ns()) <= now_ns:
            for number in self.timeline.take_interrupt():
                self.runs[number].told_ns = told_ns
        kept = 0
        for place in range(self.waiting_count):
            number = self.waiting[place]
            if self._is_over(number, now_ns):
                told.append(number)
            else:
                self.waiting[kept] = number
                kept += 1
        self.waiting_count = kept
        if kept == 0:
            self.reconsider()
        else:
            self._arm()
        return told

    cdef bint _is_over(self, uint32_t number, int64_t now_ns) noexcept:
        """Whether the driver learns of the run now, by an interrupt or by its own watch."""
        cdef Outstanding *entry = &self.runs[number]
        cdef bint is_given_up = entry.is_expired or (
            entry.told_ns > now_ns and entry.submitted_ns + self.timeout_ns <= now_ns
        )
        if is_given_up and not entry.is_done and not entry.is_expired:
            entry.is_expired = True
            self.ring.tell_at_once(number)
        if not entry.is_done or (entry.told_ns > now_ns and not is_given_up):
            return False
        if is_given_up and not entry.is_lost:
            self._give_up(number)
        elif not entry.is_lost and entry.told_ns:
            self._note(entry.submitted_ns, entry.told_ns, self.ring.finished_ns[number])
        self.observed.add(now_ns - entry.submitted_ns)
        return True

    cdef void _note(self, int64_t submitted_ns, int64_t told_ns, int64_t finished_ns) noexcept:
        """Note what the model says of a run, and whether the work was slower than that."""
        self.model.add(told_ns - submitted_ns)
        if finished_ns > told_ns and self.timeline.timing.takes_time:
            self.late_completions += 1
            self.latest_ns = max(self.latest_ns, finished_ns - told_ns)

    cdef void _give_up(self, uint32_t number) noexcept:
        """The driver's watch: the device stood still for too long, and nothing of the run is to be trusted."""
        cdef CompressedRun run = <CompressedRun>self.run_of[number]
        cdef int i
        self.timeline.forget(number)
        for i in range(run.count):
            if run.pages[i].length >= 0:
                run.pages[i].length = TIMED_OUT

    cdef void abandon(self, uint32_t number) noexcept:
        """Tell of a run as soon as no engine works on it: its device is gone."""
        if self.runs[number].is_modelled:
            self.timeline.forget(number)
            self.runs[number].told_ns = 0
            self.ring.tell_at_once(number)

    cdef int lose_queued(self) except -1:
        """Let the device be gone: it loses what it was given and has not begun with, and comes back idle."""
        self.ring.drop_queued()
        self.timeline.restart()
        return 0

    cdef int64_t next_event_ns(self) noexcept:
        """When `reap` has something to do, as far as the clock can tell; NEVER_NS if it has not."""
        cdef int64_t next_ns
        cdef uint32_t place
        if self.waiting_count == 0:
            return NEVER_NS
        next_ns = self.timeline.next_interrupt_ns()
        for place in range(self.waiting_count):
            if self.runs[self.waiting[place]].told_ns == NEVER_NS and not self.runs[self.waiting[place]].is_expired:
                return min(next_ns, self.runs[self.waiting[place]].submitted_ns + self.timeout_ns)
        return next_ns

    cdef int _arm(self) except -1:
        """See to it that the timer goes off at the next event or shortly after; setting it also acknowledges it.

        Setting it takes 5 us in a virtual machine, and whoever polls is faster anyway: one that goes off in time stays.
        """
        cdef int64_t at_ns = self.next_event_ns()
        cdef int64_t now_ns = monotonic_ns()
        cdef itimerspec setting
        if self.armed_ns > now_ns and (at_ns == NEVER_NS or self.armed_ns <= at_ns + 2 * TIMER_SLACK_NS):
            return 0
        if at_ns == self.armed_ns:
            return 0  # never: nothing goes off
        memset(&setting, 0, sizeof(setting))
        if at_ns != NEVER_NS:
            at_ns = max(at_ns, now_ns) + TIMER_SLACK_NS
            setting.it_value.tv_sec, setting.it_value.tv_nsec = at_ns // NS_PER_S, at_ns % NS_PER_S
        timerfd_settime(self.timer_fd, TFD_TIMER_ABSTIME, &setting, NULL)
        self.armed_ns = at_ns
        return 0

    def __repr__(self):
        return f"<ModelledQueue {self.waiting_count} held back, {self.timeline!r}, {self.faults!r}>"


cdef void spin_until(int64_t end_ns) noexcept:
    if monotonic_ns() >= end_ns:
        return
    with nogil:
        while monotonic_ns() < end_ns:
            pass
