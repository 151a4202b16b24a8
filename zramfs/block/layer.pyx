# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""What the disks of a mount have in common: channels, the backlog of large bios, and the crew that helps with it.

A *channel* is what belongs to one thread (SPDK's word): the event loop has 0, then come the receivers, then the crew.
"""

import threading

from libc.stdlib cimport free, realloc

from zramfs.atomic cimport add_i64, add_u64, peek_i64, peek_int, peek_u64, poke_int
from zramfs.clock cimport NEVER_NS, monotonic_ns
from zramfs.scheduling cimport take_long_slices
from zramfs.threads cimport (
    PR_SET_IO_FLUSHER,
    PR_SET_NAME,
    prctl,
    pthread_cond_broadcast,
    pthread_cond_destroy,
    pthread_cond_init,
    pthread_cond_signal,
    pthread_cond_wait,
    pthread_mutex_destroy,
    pthread_mutex_init,
    pthread_mutex_lock,
    pthread_mutex_trylock,
    pthread_mutex_unlock,
    sched_yield,
)
from zramfs.zcomp.zcomp cimport Zcomp

cdef enum:
    # How long one of the crew looks for more work before it sleeps.
    SPIN_NS = 200000


cdef class BlockLayer:
    """The channels of a mount: the event loop's, those of `receivers`, those of a crew of `crew` threads, and one more.

    The last belongs to no thread: a disk's lock says who patches the tail of a write on it.

    The crew takes its shares of large reads, and of large writes on per-CPU streams, beside whoever received them:
    1M reads at depth 4 had 2.50 GB/s with one such thread, 2.08 without, on two CPUs.
    """

    def __cinit__(self, *args, **kwargs):
        pthread_mutex_init(&self.lock, NULL)
        pthread_mutex_init(&self.attending, NULL)
        pthread_cond_init(&self.wanted, NULL)

    def __init__(self, int receivers=0, int crew=0):
        self.channel_count = 2 + receivers + crew
        self.crew_count = crew
        self.inbox = Inbox()
        self.attended = []
        self.threads = []
        try:
            for number in range(crew):
                thread = threading.Thread(target=self._run_crew, args=(number,), name=f"crew-{number}", daemon=True)
                thread.start()
                self.threads.append(thread)
        except BaseException:
            self.close()
            raise

    def __dealloc__(self):
        free(self.zcomps)
        pthread_cond_destroy(&self.wanted)
        pthread_mutex_destroy(&self.attending)
        pthread_mutex_destroy(&self.lock)

    def close(self):
        """End the crew, once nothing is in flight."""
        pthread_mutex_lock(&self.lock)
        self.is_closing = True
        pthread_cond_broadcast(&self.wanted)
        pthread_mutex_unlock(&self.lock)
        for thread in self.threads:
            thread.join()
        self.threads = []

    def set_io_flushers(self, bint are):
        """Tell the kernel whether allocations of the crew must not wait for I/O that it serves (swap)."""
        pthread_mutex_lock(&self.lock)
        poke_int(&self.wants_io_flushers, are)
        pthread_cond_broadcast(&self.wanted)
        pthread_mutex_unlock(&self.lock)

    # ---- the backlog ----------------------------------------------------------------------------------------------

    cdef void queue(self, Bio *bio) noexcept nogil:
        """Let a large bio wait for its turn, behind the others, and call the crew if it may help."""
        cdef bint wakes
        bio.next = NULL
        pthread_mutex_lock(&self.lock)
        if self.first == NULL:
            self.first = bio
        else:
            self.last.next = bio
        self.last = bio
        add_u64(&self.queued, 1)
        wakes = bio.work_share != NULL and self.idle_crew > 0
        pthread_mutex_unlock(&self.lock)
        if wakes:
            pthread_cond_signal(&self.wanted)

    cdef void queue_first(self, Bio *bio) noexcept nogil:
        """Let a bio that has had a part of its turn wait before all others."""
        pthread_mutex_lock(&self.lock)
        bio.next = self.first
        self.first = bio
        if bio.next == NULL:
            self.last = bio
        add_u64(&self.queued, 1)
        pthread_mutex_unlock(&self.lock)

    cdef bint work(self, int channel, int64_t ends_ns) noexcept nogil:
        """Go on with large bios until then, and see to accelerators; False if there was nothing to do."""
        cdef bint is_done = False
        while peek_u64(&self.queued) and self.work_once(channel, False):
            is_done = True
            if peek_i64(&self.runs_in_flight):
                self.attend()  # so that its descriptors are free for the next run
            if monotonic_ns() > ends_ns:
                return True
        if peek_i64(&self.runs_in_flight):
            is_done |= self.attend()
        return is_done

    cdef bint work_once(self, int channel, bint only_shares) noexcept nogil:
        """Work on a share of the first bio, or on one that is nobody else's meanwhile; False if there is none."""
        cdef uint64_t page, end_page
        cdef Bio *bio = self.take(channel, only_shares, &page, &end_page)
        if bio == NULL:
            return False
        if bio.work_share != NULL:
            bio.work_share(bio, channel, page, end_page)
        elif bio.work_on(bio, channel):
            self.queue_first(bio)
        return True

    cdef Bio *take(self, int channel, bint only_shares, uint64_t *page, uint64_t *end_page) noexcept nogil:
        """A bio and a share of it, which counts as a part until `work_share` ends it; or NULL.

        Whoever takes the last share has the part that was not taken, as well. A bio without shares is left to the
        channel that began it, whose thread sleeps while somebody else has it, and would not learn that it is back.
        """
        cdef Bio *bio
        cdef Bio *before = NULL
        cdef bint is_last
        pthread_mutex_lock(&self.lock)
        bio = self.first
        while bio != NULL and bio.work_share == NULL and (only_shares or bio.channel != channel):
            before = bio
            bio = bio.next
        if bio != NULL:
            if bio.work_share != NULL:
                page[0] = bio.page
                end_page[0] = min(bio.page + bio.share_pages, bio.end_page)
                bio.page = end_page[0]
                is_last = bio.page == bio.end_page
                if not is_last:
                    add_i64(&bio.parts, 1)
            else:
                is_last = True
            if is_last:
                if before == NULL:
                    self.first = bio.next
                else:
                    before.next = bio.next
                if self.last == bio:
                    self.last = before
                add_u64(&self.queued, <uint64_t>-1)
        pthread_mutex_unlock(&self.lock)
        return bio

    # ---- the crew -------------------------------------------------------------------------------------------------

    def _run_crew(self, int number):
        cdef int channel = self.channel_count - 1 - self.crew_count + number
        cdef bytes name = b"zramfs-crew-%d" % number
        prctl(PR_SET_NAME, <const char *>name)
        take_long_slices()
        with nogil:
            self.work_as_crew(channel)

    cdef void work_as_crew(self, int channel) noexcept nogil:
        cdef int64_t spin_ends_ns = 0
        cdef bint is_io_flusher = False
        while True:
            is_io_flusher = self.follow_io_flusher(is_io_flusher)
            if peek_u64(&self.queued) and self.work_once(channel, True):
                spin_ends_ns = monotonic_ns() + SPIN_NS
                continue
            if monotonic_ns() < spin_ends_ns:
                sched_yield()
                continue
            pthread_mutex_lock(&self.lock)
            if self.is_closing:
                pthread_mutex_unlock(&self.lock)
                return
            self.idle_crew += 1
            if not self.has_shares():
                pthread_cond_wait(&self.wanted, &self.lock)
            self.idle_crew -= 1
            pthread_mutex_unlock(&self.lock)

    cdef bint follow_io_flusher(self, bint is_one) noexcept nogil:
        """Let this thread be what it is to be; whether it is one."""
        cdef bint is_wanted = peek_int(&self.wants_io_flushers)
        if is_wanted != is_one:
            prctl(PR_SET_IO_FLUSHER, <unsigned long>is_wanted, <unsigned long>0, <unsigned long>0, <unsigned long>0)
        return is_wanted

    cdef bint has_shares(self) noexcept nogil:
        """Whether there is something for the crew; the lock is held."""
        cdef Bio *bio = self.first
        while bio != NULL and bio.work_share == NULL:
            bio = bio.next
        return bio != NULL

    # ---- accelerators ---------------------------------------------------------------------------------------------

    def add_zcomp(self, Zcomp zcomp not None):
        """Look after the accelerator behind these streams until `remove_zcomp`, unless it is the event loop's."""
        if zcomp.any_thread:
            with nogil:
                pthread_mutex_lock(&self.attending)
            self.attended.append(zcomp)
            self.borrow_attended()
            pthread_mutex_unlock(&self.attending)

    def remove_zcomp(self, Zcomp zcomp not None):
        """Look after it no more; nothing of it is in flight."""
        with nogil:
            pthread_mutex_lock(&self.attending)
        self.attended = [each for each in self.attended if each is not zcomp]
        self.borrow_attended()
        pthread_mutex_unlock(&self.attending)

    cdef int borrow_attended(self) except -1:
        """Let `zcomps` be what `attended` is; its lock is held."""
        cdef void **zcomps = <void **>realloc(self.zcomps, max(len(self.attended), 1) * sizeof(void *))
        if zcomps == NULL:
            raise MemoryError
        self.zcomps = zcomps
        self.attended_count = len(self.attended)
        for place, zcomp in enumerate(self.attended):
            zcomps[<int>place] = <void *>zcomp
        return 0

    cdef bint attend(self) noexcept nogil:
        """End the runs that accelerators are done with, or do a little of their work; False if there is none.

        One thread at a time looks after them, and nobody waits for it.
        """
        cdef bint is_done = False
        cdef int place
        if pthread_mutex_trylock(&self.attending):
            return False
        for place in range(self.attended_count):
            is_done |= (<Zcomp>self.zcomps[place]).reap()
            is_done |= (<Zcomp>self.zcomps[place]).lend_hand()
        pthread_mutex_unlock(&self.attending)
        return is_done

    cdef int64_t next_event_ns(self) noexcept nogil:
        """When an accelerator will have something to end, on the monotonic clock, if that is known in advance."""
        cdef int64_t next_ns = NEVER_NS
        cdef int place
        if peek_i64(&self.runs_in_flight) == 0 or pthread_mutex_trylock(&self.attending):
            return NEVER_NS
        for place in range(self.attended_count):
            next_ns = min(next_ns, (<Zcomp>self.zcomps[place]).next_event())
        pthread_mutex_unlock(&self.attending)
        return next_ns

    def __repr__(self):
        return f"<BlockLayer {self.channel_count} channels, {peek_u64(&self.queued)} bios in the backlog>"
