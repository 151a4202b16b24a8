# A block I/O request: the kernel's word for it. `submission` begins it, `completion` ends it.

from libc.stdint cimport int64_t, uint8_t, uint64_t

from zramfs.atomic cimport peek_int, poke_int
from zramfs.streams cimport Waiter

# What is asked for. PUNCH lets its range read as zeros: whole pages are freed, partial ones are zeroed.
cdef enum Operation:
    READ = 0
    WRITE = 1
    PUNCH = 2

# What `submit` answers. The bio's `end` is called in each case, once.
cdef enum Outcome:
    ENDED = 0       # it was called before `submit` returned, on its thread
    BEGUN = 1       # it is called later, on any thread, or has been
    FOR_TRIO = 2    # likewise: the event loop has the bio, because it has to wait for something
    HAS_MORE = 3    # only on the event loop's channel: it goes on with the bio itself, bit by bit

# Why a bio failed.
cdef enum Reason:
    NOTHING_FAILED = 0
    PAST_THE_END = 1        # ENOSPC
    NO_ROOM_LEFT = 2        # mem_limit, or the system's memory
    CODEC_FAILED = 3
    PAGE_IS_CORRUPT = 4
    OTHER_FAILURE = 5       # of what the event loop did with it

# Which of its partial pages are patched.
cdef enum Edge:
    HEAD = 1
    TAIL = 2

ctypedef void (*EndBio)(Bio *bio) noexcept nogil

# Work on the pages from `page` to before `end_page` of a bio in the backlog, which `channel` has taken.
ctypedef void (*WorkShare)(Bio *bio, int channel, uint64_t page, uint64_t end_page) noexcept nogil

# Work on the next pages of a bio that one thread at a time works on; whether there are more, and the bio is still ours.
ctypedef bint (*WorkOn)(Bio *bio, int channel) noexcept nogil

cdef struct Bio:
    # The submitter's, until `submit` and from `end` on.
    uint64_t offset_bytes
    uint64_t size_bytes         # at `end`: how many of them lie before the end of the disk, and were read or written
    uint8_t *data               # of a write; or room for what is read. Stays until `end`
    EndBio end                  # the bio is the submitter's again when this is called
    void *owner                 # whatever the submitter wants to find there
    int error                   # at `end`: 0, or an errno
    uint8_t operation
    uint8_t is_async            # nobody waits for this write by itself: it may take a managed stream
    uint8_t is_urgent           # nothing of this write may be kept: it is done where it is submitted, on the CPU
    uint8_t unused
    int channel                 # that of the thread which submits it
    # The block layer's, from `submit` to `end`.
    void *disk
    Bio *next                   # in whichever queue it is
    Waiter waiter               # where it waits for a managed stream
    WorkShare work_share        # of a bio in the backlog: one of these is set
    WorkOn work_on
    uint64_t page               # the first whole page that nobody has taken; under the backlog's lock while it is there
    uint64_t end_page           # behind its last whole page
    int64_t parts               # what has yet to end: shares, runs in flight, and what is not taken; atomic
    int64_t began_ns
    int64_t submitted_ns        # when all of it was handed to streams
    int share_pages             # how many are taken at a time
    int is_elsewhere            # a page turned out to be in the backing device: atomic
    int reason                  # the first failure, atomic: `error` follows from it
    int edges_done              # Edges
    uint64_t pages_by_kind[3]   # that streams took, by their Kind; atomic. Only counted for a trace

cdef inline void fail(Bio *bio, int reason) noexcept nogil:
    """Note why a bio fails: that which is noted last, of several."""
    poke_int(&bio.reason, reason)

cdef inline bint has_failed(const Bio *bio) noexcept nogil:
    return peek_int(&bio.reason) != NOTHING_FAILED
