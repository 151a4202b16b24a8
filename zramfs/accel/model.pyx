# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""The model of a device: how long it takes and how it fails, as its settings say, and what has happened to it.

`modelled` has the queue that keeps to it.
"""

import os

from libc.stdint cimport int64_t, uint8_t, uint64_t

from zramfs.accel.descriptor cimport (
    FAULT_COUNT,
    FAULT_TIMEOUT,
    MAY_BE_CORRUPT,
    VERIFIES,
    DescriptorStack,
    work_off_with_fault,
)
from zramfs.accel.injector cimport Countdown, FaultInjector, countdown_of, number_of_kind
from zramfs.accel.ring cimport DescriptorRing
from zramfs.accel.timeline cimport Costs, costs_of
from zramfs.accel.watch cimport RunWatch
from zramfs.atomic cimport peek_int, poke_int
from zramfs.clock cimport monotonic_ns
from zramfs.threads cimport pthread_mutex_destroy, pthread_mutex_init, pthread_mutex_lock, pthread_mutex_unlock


cdef class DeviceModel:
    """A device with `ring`, the time of `timing` and the faults of `faults`.

    `compressed_runs` has the run of each stream, as many as there are descriptors, and of up to MAX_RUN_PAGES.
    `stall_ns` is how long the device stands still when it stalls.
    """

    def __cinit__(self, DescriptorRing ring not None, compressed_runs, timing, FaultInjector faults not None):
        pthread_mutex_init(&self.lock, NULL)
        self.ring = ring
        ring.work = work_off_with_fault
        self.faults = faults
        self.descriptors = DescriptorStack(ring.queue_depth)
        self.watch = RunWatch(ring, compressed_runs, timing, MAX_RUN_PAGES)
        self.reconsider()

    def __dealloc__(self):
        pthread_mutex_destroy(&self.lock)

    def close(self):
        """Stop the ring's engines, and the timer."""
        cdef int fd
        self.ring.close()
        pthread_mutex_lock(&self.lock)
        fd = self.watch.timer.timer_fd
        self.watch.timer.timer_fd = -1
        pthread_mutex_unlock(&self.lock)
        if fd >= 0:
            os.close(fd)

    def configure(self, *, timing, int64_t timeout_ns, int64_t stall_ns, rates, bint verifies):
        """Let other settings be in force from the next run on. A rate that stays the same goes on as it was."""
        cdef Costs costs = costs_of(timing)
        cdef Countdown countdowns[FAULT_COUNT]
        cdef int changed[FAULT_COUNT]
        cdef int changes = 0
        cdef int i
        for kind, rate in rates.items():
            if rate != self.faults.rates[kind]:
                self.faults.rates[kind] = rate
                changed[changes], countdowns[changes] = number_of_kind(kind), countdown_of(rate)
                changes += 1
        cdef int checks = VERIFIES if verifies else 0
        if rates["corrupt"]:
            checks |= MAY_BE_CORRUPT
        with nogil:
            pthread_mutex_lock(&self.lock)
            self.watch.timeline.set_costs(costs)
            self.watch.timeout_ns, self.stall_ns = timeout_ns, stall_ns
            for i in range(changes):
                self.faults.set_countdown(changed[i], countdowns[i])
            poke_int(&self.ring.work_options, checks)
            self.reconsider()
            pthread_mutex_unlock(&self.lock)

    def stall(self):
        """Let the device stand still for `stall_ns`, from now on."""
        pthread_mutex_lock(&self.lock)
        self._stall(monotonic_ns())
        self.watch.update()
        pthread_mutex_unlock(&self.lock)

    @property
    def is_modelled(self):
        """Whether there is anything to model."""
        return bool(peek_int(&self.modelled))

    @property
    def inflight(self):
        """Descriptors that a stream holds, from the moment that it is taken until it is given back."""
        return self.descriptors.depth - peek_int(&self.descriptors.free_count)

    def counters(self):
        """What happened by now, by name."""
        pthread_mutex_lock(&self.lock)
        cdef Counters counts = self.counts
        cdef int most_taken = self.descriptors.most_taken
        cdef uint64_t modelled = self.watch.modelled_runs
        cdef uint64_t modelled_pages = self.watch.modelled_pages
        cdef uint64_t late = self.watch.late_completions
        cdef uint64_t late_pages = self.watch.late_pages
        cdef int64_t latest_ns = self.watch.latest_ns
        pthread_mutex_unlock(&self.lock)
        cdef int64_t inline_work_ns = counts.overtime_ns + self.watch.work_ns() + self.ring.lent_ns()
        return {
            "submitted_pages": counts.submitted_pages,
            "polled_pages": counts.polled_pages,
            "stalls": counts.stalls,
            "inflight_max": most_taken,
            "modelled_runs": modelled,
            "modelled_pages": modelled_pages,
            "late_completions": late,
            "late_pages": late_pages,
            "latest_ns": latest_ns,
            "inline_work_ns": inline_work_ns,
        }

    def reset_peaks(self):
        """Let the most that there was begin anew, with what is now, and latencies with the next run."""
        with nogil:
            pthread_mutex_lock(&self.lock)
            self.descriptors.most_taken = self.descriptors.depth - self.descriptors.free_count
            self.watch.latest_ns = 0
            self.watch.observed.clear()
            self.watch.model.clear()
            pthread_mutex_unlock(&self.lock)

    # ---- with the lock ---------------------------------------------------------------------------

    cdef bint is_near(self, int64_t now_ns, int pages, int64_t most_ns) noexcept nogil:
        """Whether a run submitted now would be done soon, and certainly. It has no more pages than the queue."""
        pages = min(pages, self.descriptors.depth)
        return not self.faults.hangs and self.watch.timeline.predict(now_ns, pages) - now_ns <= most_ns

    cdef bint draw_faults(self, int64_t now_ns, int pages, uint8_t *faults) noexcept nogil:
        """Decide what happens to the next descriptors; whether one of them never completes."""
        cdef int i
        if self.faults.draw(pages, faults):
            self._stall(now_ns)
        for i in range(pages):
            if faults[i] == FAULT_TIMEOUT:
                return True
        return False

    cdef void _stall(self, int64_t now_ns) noexcept nogil:
        self.counts.stalls += 1
        self.watch.timeline.stall(now_ns, self.stall_ns)

    cdef void reconsider(self) noexcept nogil:
        """Find out anew whether there is anything to model, and when; after each change of settings."""
        cdef bint takes_time = self.watch.timeline.costs.takes_time
        poke_int(&self.modelled, takes_time or self.faults.is_active or self.watch.waiting_count > 0)
        poke_int(&self.ring.engines_only, takes_time)
        self.watch.update()
