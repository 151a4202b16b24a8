# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""Bios as the event loop has them: its own requests, and those of others that it goes on with."""

from cpython.buffer cimport PyBUF_READ, PyBUF_SIMPLE, PyBUF_WRITABLE, PyBUF_WRITE, PyBuffer_Release, PyObject_GetBuffer
from cpython.memoryview cimport PyMemoryView_FromMemory
from cpython.ref cimport Py_DECREF, Py_INCREF

from zramfs.atomic cimport exchange_u64, load_i64
from zramfs.block.bio cimport (
    BEGUN,
    CODEC_FAILED,
    ENDED,
    FOR_TRIO,
    HAS_MORE,
    HEAD,
    NO_ROOM_LEFT,
    NOTHING_FAILED,
    OTHER_FAILURE,
    PAGE_IS_CORRUPT,
    PAST_THE_END,
    PUNCH,
    READ,
    TAIL,
    WRITE,
    fail,
)
from zramfs.block.completion cimport finish
from zramfs.block.edges cimport head_bytes_of, patch_edge, tail_bytes_of
from zramfs.block.inbox cimport Inbox
from zramfs.block.submission cimport go_on, resume, submit
from zramfs.clock cimport monotonic_ns
from zramfs.page cimport PAGE_BYTES
from zramfs.threads cimport sched_yield

from enum import IntEnum

from zramfs.errors import CorruptPage, MemoryLimitReached, PastTheEnd, ZramError

cdef enum State:
    IS_SUBMITTED = 0
    IS_AWAITED = 1
    HAS_ENDED = 2

# What `submit` and `go_on` say of a bio; only the last two leave it to the event loop.
Outcome = IntEnum("Outcome", {"ENDED": ENDED, "BEGUN": BEGUN, "FOR_TRIO": FOR_TRIO, "HAS_MORE": HAS_MORE})

OPERATIONS = {"read": READ, "write": WRITE, "punch": PUNCH}

_ERROR_OF_REASON = {
    PAST_THE_END: (PastTheEnd, "the request is past the end of {name}"),
    NO_ROOM_LEFT: (MemoryLimitReached, "a page does not fit into the memory of {name}"),
    CODEC_FAILED: (ZramError, "a page of {name} could not be compressed"),
    PAGE_IS_CORRUPT: (CorruptPage, "a page of {name} does not decompress"),
    OTHER_FAILURE: (ZramError, "a request of {name} failed"),
}


cdef class TrioBio:
    """A bio in the hands of the event loop."""

    @property
    def disk(self):
        """Whose it is."""
        return self.kept

    @property
    def has_ended(self):
        """Whether there is nothing left to do."""
        return self.bio == NULL

    @property
    def operation(self):
        """`read`, `write` or `punch`."""
        return next(name for name, number in OPERATIONS.items() if number == self.bio.operation)

    @property
    def offset_bytes(self):
        """Where it begins."""
        return self.bio.offset_bytes

    @property
    def size_bytes(self):
        """How much of it lies before the end of the disk."""
        return self.bio.size_bytes

    @property
    def is_async(self):
        """Whether nobody waits for this write by itself."""
        return bool(self.bio.is_async)

    @property
    def data(self):
        """What is written, or the room for what is read: until it ends."""
        if self.bio.data == NULL:
            return None
        flags = PyBUF_WRITE if self.bio.operation == READ else PyBUF_READ
        return PyMemoryView_FromMemory(<char *>self.bio.data, self.bio.size_bytes, flags)

    def go_on(self, int64_t for_ns=200000):
        """Do what can be done, for so long at the most: an `Outcome`.

        After ENDED or BEGUN the bio is not the event loop's any more; HAS_MORE: call again; FOR_TRIO: a page is in the
        backing device (`missing_edges`, or those of a read).
        """
        cdef Bio *bio = self.bio
        cdef int outcome
        bio.channel = 0
        with nogil:
            if bio.work_on == NULL and bio.work_share == NULL:
                outcome = resume(<Disk>bio.disk, bio)
            else:
                outcome = HAS_MORE
            if outcome == HAS_MORE and not go_on(<Disk>bio.disk, bio, monotonic_ns() + for_ns):
                outcome = BEGUN
        if outcome == ENDED or outcome == BEGUN:
            self.let_go()
        return outcome

    def let_go(self):
        """It is not the event loop's any more."""
        self.bio = NULL

    def missing_edges(self):
        """The partial pages that are yet to be patched: (page, skip, begin and end within the data) of each."""
        cdef const Bio *bio = self.bio
        cdef uint32_t head_bytes = head_bytes_of(bio)
        cdef uint32_t tail_bytes = tail_bytes_of(bio)
        end_bytes = bio.offset_bytes + bio.size_bytes
        edges = []
        if head_bytes and not bio.edges_done & HEAD:
            edges.append((bio.offset_bytes // PAGE_BYTES, bio.offset_bytes % PAGE_BYTES, 0, head_bytes))
        if tail_bytes and not bio.edges_done & TAIL:
            edges.append((end_bytes // PAGE_BYTES, 0, bio.size_bytes - tail_bytes, bio.size_bytes))
        return edges

    def patch_edge(self, edge, const uint8_t[::1] contents, uint64_t block):
        """Patch a partial page that is in `block`, whose `contents` these are, a page, or in memory by now.

        False: it is in another block; or the bio has failed, as `go_on` will say.
        """
        page, skip, begin, end = edge
        cdef const uint8_t *data = NULL if self.bio.operation == PUNCH else self.bio.data + <uint64_t>begin
        cdef const uint8_t *whole = &contents[0]
        cdef uint64_t page_number = page
        cdef uint32_t skip_bytes = skip
        cdef uint32_t size_bytes = end - begin
        cdef bint is_done
        self.bio.channel = 0
        with nogil:
            is_done = patch_edge(self.kept, self.bio, 0, page_number, skip_bytes, data, size_bytes, whole, block)
        if is_done:
            self.bio.edges_done |= HEAD if skip and not begin else TAIL
        self.bio.is_elsewhere = False
        return bool(is_done)

    def tell(self):
        """Say that it has ended to whoever waits for that: nobody, but for requests of our own."""

    def finish(self, int error_number=0):
        """End it here, with an errno or well."""
        cdef Bio *bio = self.bio
        if error_number:
            bio.error = error_number
            fail(bio, OTHER_FAILURE)
        self.bio = NULL
        bio.channel = 0
        finish(self.kept, bio)

    def __repr__(self):
        if self.bio == NULL:
            return f"<{type(self).__name__}, not the event loop's any more>"
        return f"<{type(self).__name__} {self.operation} of {self.size_bytes} bytes at {self.offset_bytes}>"


cdef class HandedOver(TrioBio):
    """A bio that a receiver submitted, and the event loop goes on with."""


cdef class Request(TrioBio):
    """A bio of ours: `operation` of `data`, or of `size_bytes` for `punch`, at `offset_bytes`.

    `channel` is that of the thread which submits it, which no other uses meanwhile. On the event loop's, 0, `submit` is
    followed by `go_on` as long as that says HAS_MORE. `on_ended` is called by whoever empties the inbox, if the end
    comes on another thread.
    """

    def __init__(
        self, str operation not None, uint64_t offset_bytes, data=None, *, uint64_t size_bytes=0, bint is_async=False,
        bint is_urgent=False, int channel=0, on_ended=None
    ):
        cdef bint is_read = operation == "read"
        self.own.operation = OPERATIONS[operation]
        self.own.offset_bytes = offset_bytes
        self.own.size_bytes = size_bytes
        if data is not None:
            PyObject_GetBuffer(data, &self.view, PyBUF_WRITABLE if is_read else PyBUF_SIMPLE)
            self.own.data, self.own.size_bytes = <uint8_t *>self.view.buf, self.view.len
        self.own.is_async, self.own.is_urgent, self.own.channel = is_async, is_urgent, channel
        self.channel = channel
        self.own.end = end_request
        self.own.owner = <void *>self
        self.on_ended = on_ended

    def __dealloc__(self):
        PyBuffer_Release(&self.view)  # nothing, if there is no buffer

    def submit(self, Disk disk not None):
        """Submit it: an `Outcome`. It lives until it has ended."""
        cdef int outcome
        self.kept = disk
        self.bio = &self.own
        self.inbox = <void *>disk.layer.inbox
        self.state = IS_SUBMITTED
        Py_INCREF(self)
        with nogil:
            outcome = submit(disk, &self.own)
        if self.channel == 0 and outcome in (HAS_MORE, FOR_TRIO):
            return outcome
        self.await_end()
        return outcome

    cdef bint await_end(self):
        """Have the end told to the inbox, unless it has come already; whether it has."""
        self.bio = NULL
        if exchange_u64(<uint64_t *>&self.state, IS_AWAITED) != HAS_ENDED:
            return False
        self.state = HAS_ENDED
        Py_DECREF(self)
        return True

    def let_go(self):
        """It may have ended, or will."""
        self.await_end()

    def finish(self, int error_number=0):
        """End it here, with an errno or well."""
        TrioBio.finish(self, error_number)
        self.await_end()

    def tell(self):
        """Say that it has ended to whoever waits for that."""
        if self.on_ended is not None:
            self.on_ended()

    @property
    def has_ended(self):
        """Whether it has."""
        return load_i64(&self.state) == HAS_ENDED

    def wait(self):
        """Wait for the end on a thread of its own, without the GIL, and do a receiver's part meanwhile."""
        with nogil:
            while load_i64(&self.state) != HAS_ENDED:
                if not self.kept.layer.work(self.channel, 0):
                    sched_yield()

    def result(self):
        """Return how many bytes were read or written. PastTheEnd, MemoryLimitReached, CorruptPage, or ZramError."""
        if self.own.reason == NOTHING_FAILED:
            return self.own.size_bytes
        error_class, text = _ERROR_OF_REASON[self.own.reason]
        error = error_class(text.format(name=self.kept.name))
        if self.own.reason == OTHER_FAILURE:
            error.errno = self.own.error
        raise error


def take_bios(Inbox inbox not None):
    """Return what other threads left: each has ended (`has_ended`), or is to go on with."""
    cdef Bio *bio = inbox.pop_all()
    cdef Bio *following
    taken = []
    while bio != NULL:
        following = bio.next
        taken.append(trio_bio_of(bio))
        bio = following
    return taken


cdef TrioBio trio_bio_of(Bio *bio):
    """The object of a bio from the inbox: a Request that has ended, or one of somebody else's to go on with."""
    cdef HandedOver handed
    if bio.end == end_request and (<Request><object>bio.owner).state == HAS_ENDED:
        request = <Request><object>bio.owner
        Py_DECREF(request)
        return request
    handed = HandedOver.__new__(HandedOver)
    handed.bio = bio
    handed.kept = <Disk><object>bio.disk
    return handed


cdef void end_request(Bio *bio) noexcept nogil:
    """On whichever thread: the event loop is told if it waits already."""
    if exchange_state(bio) == IS_AWAITED:
        (<Inbox>(<Request>bio.owner).inbox).push(bio)


cdef inline uint64_t exchange_state(Bio *bio) noexcept nogil:
    return exchange_u64(<uint64_t *>&(<Request>bio.owner).state, HAS_ENDED)
