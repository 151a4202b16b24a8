# cython: language_level=3
"""A stream of another package, held to its promises while it is taken, and the ledger of all such streams of a device.

`checked_streams` takes them and looks after them, `run_flaws` looks at their runs.
"""

from collections import deque

import trio

from cpython.bytes cimport PyBytes_FromStringAndSize
from cpython.pythread cimport PyThread_get_thread_ident
from cpython.ref cimport Py_INCREF
from libc.stdint cimport uint8_t

from zramfs.backends.run_flaws cimport clear_run, flaw_of, has_failed_pages
from zramfs.clock cimport NEVER_NS
from zramfs.codec.run cimport PageCodec
from zramfs.page cimport PAGE_BYTES

from zramfs.backends.promises import describe


cdef class CheckedStream(Stream):
    """A stream of another package from when it is taken until it is given back. It is always completed, and rightly so.

    It takes 0 pages if the package broke a promise, and then it is given back already.
    """

    cdef int compress_pages(self, const uint8_t *first_page, int pages) noexcept nogil:
        """Hand a copy of up to 64 pages over, to be compressed at once; how many were."""
        with gil:
            return self.begin(first_page, pages, True)

    cdef int submit_pages(self, const uint8_t *first_page, int pages, RunEnd end) noexcept nogil:
        """Hand a copy of up to 64 pages over; how many are taken."""
        with gil:
            self.end = end
            return self.begin(first_page, pages, False)

    cdef int begin(self, const uint8_t *first_page, int pages, bint is_polled) except -1:
        """Copy, hand over, and look at what there is; how many pages are taken, 0 if a promise was broken."""
        cdef CheckedStream own = self  # whoever is told of the end gives it back, and it may be nobody's then
        pages = min(pages, <int>MOST_PAGES)
        try:
            own.source = PyBytes_FromStringAndSize(<const char *>first_page, pages * PAGE_BYTES)
        except MemoryError:
            own.ledger.give_back(own)
            return 0
        clear_run(own.inner.run, pages)
        if not own.hand_over(pages, is_polled):
            return 0
        if is_polled:
            return own.check_at_once("submit_polled()")
        if not own.inner.is_complete:
            return own.await_completion()
        if own.check_at_once("submit()"):
            own.deliver()
            return own.taken
        return 0

    cdef int hand_over(self, int pages, bint is_polled) except -1:
        """Let the package begin; 0 if it did not."""
        promise = "submit_polled()" if is_polled else "submit()"
        inner = <object>self.inner  # called as Python, to see what is returned
        try:
            taken = (inner.submit_polled if is_polled else inner.submit)(self.source, 0, pages)
        except BaseException as error:  # whatever it is: the write goes on
            self.inner.is_complete = True  # nothing was begun
            self.ledger.give_back(self)
            self.ledger.gave_badly = True
            self.ledger.broken(promise, f"raised {describe(error)}")
            return 0
        if type(taken) is not int or not 1 <= taken <= pages:
            self.lose(promise, f"took {taken if type(taken) is int else type(taken).__name__} of {pages} pages")
            return 0
        self.taken = taken
        return taken

    cdef int check_at_once(self, str promise) except -1:
        """Whether what should be complete by now is; if not, the write need not know: 0."""
        cdef str flaw = flaw_of(self.inner, <const uint8_t *>self.source, self.taken)
        if flaw is not None:
            self.lose(promise, flaw)
            return 0
        self.state = COMPLETE
        if has_failed_pages(self.inner.run, self.taken):
            self.ledger.give_back(self)
            self.ledger.gave_badly = True
            return 0
        self.run = self.inner.run
        return self.taken

    cdef int await_completion(self) except -1:
        """Ask to be told of the run's end. It may have come already, and nobody may hear of it if the pages failed."""
        self.state = IN_FLIGHT
        self.ledger.in_flight += 1
        self.ledger.watching.unpark_all()
        self.is_beginning = True
        try:
            self.inner.when_complete(self.called_back)
        except BaseException as error:  # whatever it is: nobody would learn of the completion
            if self.state == IN_FLIGHT:
                self.ledger.in_flight -= 1
                self.lose("when_complete()", f"raised {describe(error)}")
                return 0
            self.ledger.broken("when_complete()", f"raised {describe(error)}")
        finally:
            self.is_beginning = False
        if self.state == COMPLETE and self.is_spoilt:
            self.ledger.give_back(self)
            self.ledger.gave_badly = True
        if self.is_spoilt:
            return 0
        if self.state == COMPLETE:
            self.deliver()
        return self.taken

    def called_back(self):
        """The package says that the run is complete."""
        if self.ledger.thread == PyThread_get_thread_ident():
            self.land()
        else:
            self.ledger.take_stray(self)

    cdef int land(self) except -1:
        """The run is complete, they say."""
        cdef str flaw
        if self.state == LOST:
            if self.is_unfinished:
                self.is_unfinished = False
                self.ledger.unfinished -= 1
            return 0
        if self.state != IN_FLIGHT:
            self.ledger.broken("when_complete()", "called back a second time")
            return 0
        self.ledger.in_flight -= 1
        flaw = flaw_of(self.inner, <const uint8_t *>self.source, self.taken)
        if flaw is not None:
            self.lose("when_complete()", f"called back, and {flaw}")
        else:
            self.state = COMPLETE
            self.is_spoilt = has_failed_pages(self.inner.run, self.taken)
            self.run = self.inner.run
        if not self.is_beginning:
            self.deliver()
        return 0

    cdef int give_up(self, str found) except -1:
        """It has been in flight for too long."""
        self.ledger.in_flight -= 1
        self.lose("a run", found)
        self.deliver()
        return 0

    cdef int deliver(self) except -1:
        """Tell of the run's end. Whoever is told commits at once: until then nobody else needs `repairs`."""
        cdef RunEnd end = self.end
        if self.is_spoilt:
            self.ledger.repairs.compress_pages(<const uint8_t *>self.source, self.taken, NEVER_NS)
            self.ledger.redone_pages += self.taken
            self.run = self.ledger.repairs.run
        self.ledger.ended += 1
        with nogil:
            end(<void *>self)
        return 0

    cdef int lose(self, str promise, str found) except -1:
        """Never use the stream again. It may be at work for all we know, so what it works on is never freed."""
        self.state = LOST
        self.is_spoilt = True
        self.ledger.gave_badly = True
        self.ledger.lost += 1
        Py_INCREF(self)
        if not self.inner.is_complete:
            self.is_unfinished = True
            self.ledger.unfinished += 1
            self.inner.is_complete = True  # for those who end when all streams are complete
        self.ledger.broken(promise, found)
        self.ledger.count_streams()
        return 0

    def __repr__(self):
        return f"<CheckedStream {type(self.inner).__name__}>"


cdef class StreamLedger(StreamManager):
    """Which streams of `inner` are in use, lost or at work, and what broke of its promises.

    `codec` compresses again what one of them has spoilt.
    """

    def __init__(self, StreamManager inner not None, promises, PageCodec codec not None):
        self.inner = inner
        self.promises = promises
        self.repairs = RunCompressor(codec, MOST_PAGES)
        self.in_use = {}
        self.strays = deque()
        self.watching = trio.lowlevel.ParkingLot()
        self.thread = PyThread_get_thread_ident()

    cdef int broken(self, str promise, str found) except -1:
        self.promises.broken(promise, found)
        return 0

    cdef int give_back(self, CheckedStream borrowed) except -1:
        cdef CheckedStream stream = borrowed  # `in_use` has the only other reference
        del self.in_use[id(stream.inner)]
        stream.state = PUT
        self.quiet_ticks = 0
        try:
            self.inner.put_stream(stream.inner)
        except BaseException as error:  # whatever it is: the pages are stored
            self.broken("put_stream()", f"raised {describe(error)}")
        if id(stream.inner) not in self.in_use and stream.inner.run is not None and stream.inner.run.count:
            stream.inner.run.release()
            self.broken("put_stream()", "left the run's data in use")
        return 0

    cdef int take_stray(self, thing) except -1:
        """Take what was called on another thread to the event loop: nothing here has a lock.

        `poll_completions` is the manager's.
        """
        self.strays.append(thing)
        if self.token is not None:
            self.token.run_sync_soon(self.poll_completions, idempotent=True)
        return 0

    def count_streams(self):
        """Give up if no stream is left."""
        if self.lost >= self.inner.stream_count:
            self.promises.give_up(f"none of its {self.inner.stream_count} managed streams can be used any more")
