# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""A filter in front of the ring: lets runs take the time that the modelled device would take, and lets them fail.

The ring does the work as fast as it can; here a run is held back until its time on the `timeline` has come, and the
descriptors that `injector` draws fail. Without modelled time and faults everything goes straight through.
"""

from libc.stdint cimport int64_t, uint8_t, uint32_t

from zramfs.accel.model cimport MAX_RUN_PAGES, DeviceModel
from zramfs.accel.watch cimport Run
from zramfs.accel.work_meter cimport begin_work, end_work
from zramfs.atomic cimport peek_int
from zramfs.clock cimport monotonic_ns, thread_cpu_ns
from zramfs.page cimport PAGE_BYTES
from zramfs.threads cimport pthread_mutex_lock, pthread_mutex_unlock

cdef enum:
    # The longest that a caller polls for one run: it holds its CPU meanwhile, as a polling driver does,
    POLL_MOST_NS = 200000
    # and longer only by what others have submitted since it asked.
    POLL_LIMIT_NS = 5 * POLL_MOST_NS
    # Runs that the submitter's thread works off for the device: handing them to an engine's thread and back would
    # take longer than the work (about 10 us, and 2 to 6 us a page), and longer than the fastest device's page.
    INLINE_PAGES = 2


cdef class ModelledQueue(DeviceModel):
    """A queue in front of the ring that keeps to the model. Its lock is that of its streams as well."""

    # ---- with no lock held ---------------------------------------------------------------------------

    cdef bint can_poll(self, int pages) noexcept nogil:
        """Whether a caller may wait for a run of so many pages on its CPU: not long, nor for what may never come."""
        cdef int64_t now_ns
        cdef bint is_near
        if not peek_int(&self.modelled):
            return True
        now_ns = monotonic_ns()
        pthread_mutex_lock(&self.lock)
        is_near = self.is_near(now_ns, pages, POLL_MOST_NS)
        pthread_mutex_unlock(&self.lock)
        return is_near

    cdef int submit(self, uint32_t number, const uint8_t *first_page, int pages) noexcept nogil:
        """Queue what finds descriptors; how many pages that is, 0 if the queue takes none any more."""
        cdef Run *run = &self.watch.runs[number]
        cdef uint8_t faults[MAX_RUN_PAGES]
        cdef int64_t ready_ns
        cdef int64_t end_ns = 0
        cdef bint is_inline = False
        cdef bint is_lost
        cdef uint32_t engines = 0
        pthread_mutex_lock(&self.lock)
        if not self.is_open:
            pthread_mutex_unlock(&self.lock)
            return 0
        pages = self._hold(run, first_page, pages)
        self.counts.submitted_pages += pages
        self.watch.begin(run, self.modelled)
        if not run.is_modelled:
            engines = self.ring.queue(number, run.pages, pages, NULL, 0)
        else:
            is_lost = self.draw_faults(run.submitted_ns, pages, faults)
            ready_ns = self.watch.expect(number, is_lost)
            end_ns = run.submitted_ns + self.watch.timeline.costs.submit_ns
            is_inline = pages <= INLINE_PAGES and self.watch.timeline.costs.takes_time
            if not is_inline:
                # Under the lock, because until then nobody can tell the ring to tell of it at once.
                engines = self.ring.queue(number, run.pages, pages, faults, ready_ns)
            self.watch.update()
        pthread_mutex_unlock(&self.lock)
        self.ring.ring_doorbell(engines)
        if is_inline:
            self._work_inline(run, faults)
        spin_until(end_ns)
        return pages

    cdef int compress_polled(self, uint32_t number, const uint8_t *first_page, int pages) noexcept nogil:
        """Compress what finds descriptors, after `can_poll`; done when it returns, at the modelled device's time.

        How many pages that is; 0 if the queue takes none any more, or the end would be far away after all.
        """
        cdef Run *run = &self.watch.runs[number]
        cdef uint8_t faults[MAX_RUN_PAGES]
        cdef int64_t began_ns, ready_ns, finished_ns, began_work_ns, worked_ns
        cdef bint is_modelled
        pthread_mutex_lock(&self.lock)
        is_modelled = self.modelled
        began_ns = monotonic_ns() if is_modelled else 0
        if not self.is_open or (is_modelled and not self.is_near(began_ns, pages, POLL_LIMIT_NS)):
            pthread_mutex_unlock(&self.lock)
            return 0
        pages = self._hold(run, first_page, pages)
        if is_modelled:
            self.draw_faults(began_ns, pages, faults)
            ready_ns = self.watch.timeline.occupy(began_ns, pages)
        pthread_mutex_unlock(&self.lock)
        if not is_modelled:
            began_work_ns = begin_work(&run.work)
            self.ring.compress_polled(number, run.pages, pages)
            end_work(&run.work, began_work_ns, pages)
            return pages
        began_work_ns = thread_cpu_ns()
        self.ring.compress_alone(run.pages, pages, faults)
        worked_ns = thread_cpu_ns() - began_work_ns
        finished_ns = monotonic_ns()
        spin_until(ready_ns)
        pthread_mutex_lock(&self.lock)
        self.watch.note(pages, began_ns, ready_ns, finished_ns)
        self.watch.observed.add(max(finished_ns, ready_ns) - began_ns)
        self.counts.overtime_ns += max(worked_ns - (ready_ns - began_ns), 0)
        pthread_mutex_unlock(&self.lock)
        return pages

    cdef void _work_inline(self, Run *run, const uint8_t *faults) noexcept nogil:
        """Do the device's work on this thread; whoever reaps meanwhile finds the run not done."""
        cdef int64_t began_ns = begin_work(&run.work)
        self.ring.compress_alone(run.pages, run.count, faults)
        end_work(&run.work, began_ns, run.count)
        pthread_mutex_lock(&self.lock)
        self.watch.finish(run)
        pthread_mutex_unlock(&self.lock)

    cdef uint32_t reap(self) noexcept nogil:
        """The first of the runs that the driver learns of now, each followed by its `next_told`; NO_RUN: none."""
        cdef uint32_t first
        pthread_mutex_lock(&self.lock)
        first = self.watch.reap()
        if self.modelled and self.watch.waiting_count == 0:
            self.reconsider()
        pthread_mutex_unlock(&self.lock)
        return first

    # ---- with the lock ---------------------------------------------------------------------------

    cdef void reserve(self, uint32_t number) noexcept nogil:
        """Give a stream its first descriptor; there is one."""
        self.watch.runs[number].pages[0].data = self.descriptors.take()
        self.watch.runs[number].held = 1

    cdef void retire(self, uint32_t number) noexcept nogil:
        """Take a stream's descriptors back; its pages are no longer valid."""
        cdef Run *run = &self.watch.runs[number]
        cdef int i
        for i in range(run.held):
            self.descriptors.give(run.pages[i].data)
        run.held = 0

    cdef int _hold(self, Run *run, const uint8_t *first_page, int pages) noexcept nogil:
        """Take a descriptor for each page, as far as there are any; how many pages have one."""
        cdef int i
        pages = min(pages, run.capacity)
        while run.held < pages and self.descriptors.free_count:
            run.pages[run.held].data = self.descriptors.take()
            run.held += 1
        run.count = min(pages, run.held)
        for i in range(run.count):
            run.pages[i].page = first_page + i * PAGE_BYTES
        return run.count

    def __repr__(self):
        return f"<ModelledQueue {self.watch!r}, {self.faults!r}>"


cdef void spin_until(int64_t end_ns) noexcept nogil:
    if end_ns == 0:
        return
    while monotonic_ns() < end_ns:
        pass
