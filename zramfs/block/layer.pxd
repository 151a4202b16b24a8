from libc.stdint cimport int64_t, uint64_t

from zramfs.block.bio cimport Bio
from zramfs.block.inbox cimport Inbox
from zramfs.threads cimport pthread_cond_t, pthread_mutex_t

cdef class BlockLayer:
    cdef readonly int channel_count
    cdef readonly int crew_count
    cdef readonly Inbox inbox
    cdef list threads
    cdef pthread_mutex_t lock           # of what follows, up to the next lock
    cdef pthread_cond_t wanted          # the crew is
    cdef Bio *first                     # the backlog: bios of which nobody has taken all pages
    cdef Bio *last
    cdef int idle_crew
    cdef bint is_closing
    cdef pthread_mutex_t attending      # of what follows
    cdef list attended                  # the Zcomps of disks whose accelerators are to be looked after,
    cdef void **zcomps                  # and the same, borrowed
    cdef int attended_count
    cdef char apart[64]
    cdef uint64_t queued                # bios in the backlog: atomic
    cdef int64_t runs_in_flight         # managed runs: atomic
    cdef int wants_io_flushers          # whether the crew is to be: atomic

    cdef void queue(self, Bio *bio) noexcept nogil
    cdef void queue_first(self, Bio *bio) noexcept nogil
    cdef bint work(self, int channel, int64_t ends_ns) noexcept nogil
    cdef int64_t next_event_ns(self) noexcept nogil
    cdef bint attend(self) noexcept nogil
    cdef int borrow_attended(self) except -1
    cdef bint has_shares(self) noexcept nogil
    cdef bint work_once(self, int channel, bint only_shares) noexcept nogil
    cdef void work_as_crew(self, int channel) noexcept nogil
    cdef bint follow_io_flusher(self, bint is_one) noexcept nogil
    cdef Bio *take(self, int channel, bint only_shares, uint64_t *page, uint64_t *end_page) noexcept nogil
