# cython: language_level=3
"""Managed streams of another package, each step held against the contract: a filter in front of its manager.

To the block layer it is what `streams` promises in its compiled half, on the event loop's thread only; the package sees
the Python half. What it breaks costs time, never data: a per-CPU stream takes the pages, or they are compressed again
here. `checked` adds what runs in the background.
"""

from collections import deque

import trio

from cpython.bytes cimport PyBytes_FromStringAndSize
from cpython.object cimport PyObject
from cpython.pythread cimport PyThread_get_thread_ident
from cpython.ref cimport Py_INCREF
from libc.stdint cimport int64_t, uint8_t, uint64_t

from zramfs.clock cimport NEVER_NS
from zramfs.codec.run cimport (
    FAILED,
    PAGE_BYTES,
    SAME_FILLED,
    SCRATCH_BYTES,
    CompressedPage,
    CompressedRun,
    PageCodec,
    is_same_filled,
)

from zramfs.backends.promises import describe

cdef enum:
    MOST_PAGES = 64             # of a run; the device cuts its own so
    NOT_COMPRESSED = -0x7fffffff  # the length of a page that nobody has compressed yet
    MOST_FUTILE_CALLS = 1000    # of those who wait, one after the other
    MOST_TICKS = 10             # for a run, or for those who wait. Ticks and not time: a daemon that was stopped has none

cdef enum:
    GIVEN       # by take_stream
    IN_FLIGHT
    COMPLETE
    PUT
    LOST        # never used again: nobody knows what it still does

TICK_S = 0.5
LIMIT_S = TICK_S * MOST_TICKS


cdef class CheckedStream(Stream):
    """A stream of another package from when it is taken until it is given back, and complete sooner or later, rightly so.

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
            own.manager.give_back(own)
            return 0
        own.clear_run(pages)
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
            self.manager.give_back(self)
            self.manager.gave_badly = True
            self.manager.broken(promise, f"raised {describe(error)}")
            return 0
        if type(taken) is not int or not 1 <= taken <= pages:
            self.lose(promise, f"took {taken if type(taken) is int else type(taken).__name__} of {pages} pages")
            return 0
        self.taken = taken
        return taken

    cdef int check_at_once(self, str promise) except -1:
        """Whether what should be complete by now is; if not, the write need not know: 0."""
        cdef str flaw = self.flaw()
        if flaw is not None:
            self.lose(promise, flaw)
            return 0
        self.state = COMPLETE
        if self.has_failed_pages():
            self.manager.give_back(self)
            self.manager.gave_badly = True
            return 0
        self.run = self.inner.run
        return self.taken

    cdef int await_completion(self) except -1:
        """Ask to be told of the run's end. It may have come already, and nobody may hear of it if the pages failed."""
        self.state = IN_FLIGHT
        self.manager.in_flight += 1
        self.manager.watching.unpark_all()
        self.is_beginning = True
        try:
            self.inner.when_complete(self.called_back)
        except BaseException as error:  # whatever it is: nobody would learn of the completion
            if self.state == IN_FLIGHT:
                self.manager.in_flight -= 1
                self.lose("when_complete()", f"raised {describe(error)}")
                return 0
            self.manager.broken("when_complete()", f"raised {describe(error)}")
        finally:
            self.is_beginning = False
        if self.state == COMPLETE and self.is_spoilt:
            self.manager.give_back(self)
            self.manager.gave_badly = True
        if self.is_spoilt:
            return 0
        if self.state == COMPLETE:
            self.deliver()
        return self.taken

    def called_back(self):
        """The package says that the run is complete."""
        if self.manager.thread == PyThread_get_thread_ident():
            self.land()
        else:
            self.manager.take_stray(self)

    cdef int land(self) except -1:
        """The run is complete, they say."""
        cdef str flaw
        if self.state == LOST:
            if self.is_unfinished:
                self.is_unfinished = False
                self.manager.unfinished -= 1
            return 0
        if self.state != IN_FLIGHT:
            self.manager.broken("when_complete()", "called back a second time")
            return 0
        self.manager.in_flight -= 1
        flaw = self.flaw()
        if flaw is not None:
            self.lose("when_complete()", f"called back, and {flaw}")
        else:
            self.state = COMPLETE
            self.is_spoilt = self.has_failed_pages()
            self.run = self.inner.run
        if not self.is_beginning:
            self.deliver()
        return 0

    cdef int give_up(self, str found) except -1:
        """It has been in flight for too long."""
        self.manager.in_flight -= 1
        self.lose("a run", found)
        self.deliver()
        return 0

    cdef int deliver(self) except -1:
        """Tell of the run's end. Whoever is told commits at once: until then nobody else needs `repairs`."""
        cdef RunEnd end = self.end
        if self.is_spoilt:
            self.manager.repairs.compress_pages(<const uint8_t *>self.source, self.taken, NEVER_NS)
            self.manager.redone_pages += self.taken
            self.run = self.manager.repairs.run
        self.manager.ended += 1
        with nogil:
            end(<void *>self)
        return 0

    cdef int lose(self, str promise, str found) except -1:
        """Never use the stream again. It may be at work for all we know, so what it works on is never freed."""
        self.state = LOST
        self.is_spoilt = True
        self.manager.gave_badly = True
        self.manager.lost += 1
        Py_INCREF(self)
        if not self.inner.is_complete:
            self.is_unfinished = True
            self.manager.unfinished += 1
            self.inner.is_complete = True  # for those who end when all streams are complete
        self.manager.broken(promise, found)
        self.manager.count_streams()
        return 0

    cdef int clear_run(self, int pages) noexcept:
        """Let nothing of an earlier run pass for a page of this one."""
        cdef CompressedRun run = self.inner.run
        cdef int i
        for i in range(min(pages, run.capacity) if run is not None else 0):
            run.pages[i].page = NULL
            run.pages[i].length = NOT_COMPRESSED
        return 0

    cdef str flaw(self):
        """What keeps the run from being stored; None if nothing does. Its bytes are the codec's business."""
        cdef CompressedRun run = self.inner.run
        cdef const uint8_t *source = <const uint8_t *>self.source
        cdef CompressedPage *page
        cdef uint64_t fill
        cdef int i
        if not self.inner.is_complete:
            return "the run is not complete"
        if run is None or run.count != self.taken or run.capacity < self.taken:
            return f"the run has {0 if run is None else run.count} pages of the {self.taken} that were taken"
        for i in range(self.taken):
            page = &run.pages[i]
            if page.page == NULL or page.length == NOT_COMPRESSED:
                return f"page {i} of the run is not compressed yet"
            if page.page != source + i * PAGE_BYTES:
                return f"page {i} of the run is of other memory"
            if not FAILED <= page.length <= SCRATCH_BYTES or (page.length > 0 and page.data == NULL):
                return f"page {i} of the run has the length {page.length}"
            if page.length == SAME_FILLED and not (is_same_filled(page.page, &fill) and fill == page.fill):
                return f"page {i} of the run is called same-filled, and is not"
        return None

    cdef bint has_failed_pages(self) noexcept:
        cdef CompressedRun run = self.inner.run
        cdef int i
        for i in range(self.taken):
            if run.pages[i].length == FAILED:
                return True
        return False

    def __repr__(self):
        return f"<CheckedStream {type(self.inner).__name__}>"


cdef class CheckedStreams(StreamManager):
    """The managed streams of another package, as far as they keep their promises.

    `codec` compresses again what one of them has spoilt. `tick` is called every `TICK_S` while there are runs in flight
    or callers that wait.
    """

    def __init__(self, StreamManager inner not None, promises, PageCodec codec not None):
        self.inner = inner
        self.promises = promises
        self.repairs = RunCompressor(codec, MOST_PAGES)
        self.stream_count = inner.stream_count
        self.polled_run_pages = min(inner.polled_run_pages, <int>MOST_PAGES)
        self.in_use = {}
        self.strays = deque()
        self.watching = trio.lowlevel.ParkingLot()
        self.thread = PyThread_get_thread_ident()
        self.may_wait = True
        promises.on_verdict = self.switch_off

    # ---- streams ------------------------------------------------------------------------------------------------

    cdef void *take_stream(self) noexcept nogil:
        """A stream that the package has free, and is right to give; NULL otherwise."""
        with gil:
            return <void *>self.ask_for_stream()

    cdef PyObject *ask_for_stream(self) except? NULL:
        """Have the package give a stream, which `in_use` holds; NULL if there is none."""
        cdef Stream inner
        cdef CheckedStream stream
        self.gave_badly = False
        if self.is_off or self.has_ended:
            return NULL
        try:
            inner = self.inner.get_stream()
        except BaseException as error:  # whatever it is: there is no stream
            self.gave_badly = True
            self.broken("get_stream()", f"raised {describe(error)}")
            return NULL
        if inner is None:
            return NULL
        if inner.run is None or id(inner) in self.in_use:
            self.gave_badly = True
            self.broken("get_stream()", "gave a stream that " + ("has no run" if inner.run is None else "is in use"))
            return NULL
        stream = CheckedStream.__new__(CheckedStream)
        stream.manager, stream.inner, stream.run = self, inner, inner.run
        self.in_use[id(inner)] = stream
        self.quiet_ticks = self.futile_calls = 0
        return <PyObject *>stream

    cdef void give_stream(self, void *stream) noexcept nogil:
        """Take a stream back whose pages are committed."""
        with gil:
            if (<CheckedStream>stream).state != LOST:
                self.give_back(<CheckedStream>stream)

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

    cdef bint may_poll(self, int pages) noexcept nogil:
        """Whether the package says so."""
        if self.is_off:
            return False
        with gil:
            try:
                return bool(self.inner.can_poll(pages))
            except BaseException as error:  # whatever it is: nobody polls
                self.broken("can_poll()", f"raised {describe(error)}")
                return False

    cdef int broken(self, str promise, str found) except -1:
        self.promises.broken(promise, found)
        return 0

    def count_streams(self):
        """Give up if no stream is left."""
        if self.lost >= self.inner.stream_count:
            self.promises.give_up(f"none of its {self.inner.stream_count} managed streams can be used any more")

    def switch_off(self):
        """Give out no stream any more. Those who wait need not; what is in flight is completed, here if need be."""
        self.is_off = True
        self.stream_count = self.polled_run_pages = 0
        self.call_all_waiters()

    # ---- waiting ------------------------------------------------------------------------------------------------

    cdef bint must_wait(self) noexcept nogil:
        """Whether the package says so, and waiting for it was of use so far."""
        if self.is_off or self.has_ended or self.gave_badly or not self.may_wait:
            return False
        with gil:
            try:
                return bool(self.inner.should_wait())
            except BaseException as error:  # whatever it is: nobody waits
                self.broken("should_wait()", f"raised {describe(error)}")
                return False

    cdef bint await_stream(self, Waiter *waiter) noexcept nogil:
        """Have `waiter` called when the package says so, or when there is no use in waiting; False if there is none now."""
        with gil:
            return self.ask_to_be_called() and self.add_waiter(waiter)

    cdef bint ask_to_be_called(self) except -1:
        self.is_registering = True
        try:
            self.inner.when_free(self.freed)
        except BaseException as error:  # whatever it is: nobody would be called
            self.stop_waiting(f"raised {describe(error)}")
        finally:
            self.is_registering = False
        return self.may_wait and not (self.is_off or self.has_ended)

    cdef bint add_waiter(self, Waiter *waiter) except -1:
        waiter.next = NULL
        if self.first_waiter == NULL:
            self.first_waiter = waiter
            self.quiet_ticks = 0
        else:
            self.last_waiter.next = waiter
        self.last_waiter = waiter
        self.watching.unpark_all()
        return True

    def freed(self):
        """The package says that it is worth asking for a stream again."""
        if self.thread != PyThread_get_thread_ident():
            self.take_stray(None)
        elif self.is_registering:
            self.stop_waiting("called back before it returned")
        elif self.first_waiter != NULL:
            self.call_waiter()
        elif self.may_wait and not self.is_off:
            self.broken("when_free()", "called back though nobody waits")

    cdef int call_waiter(self) except -1:
        """Call the first of those who wait."""
        cdef Waiter *waiter
        self.futile_calls += 1
        if self.futile_calls > MOST_FUTILE_CALLS and self.may_wait:
            self.stop_waiting(f"called back {MOST_FUTILE_CALLS} times, and there was no stream")
        waiter = self.first_waiter
        if waiter != NULL:
            self.first_waiter = waiter.next
            with nogil:
                waiter.call(waiter)
        return 0

    cdef int call_all_waiters(self) except -1:
        while self.first_waiter != NULL:
            self.call_waiter()
        return 0

    cdef int stop_waiting(self, str found) except -1:
        """Do without waiting from now on."""
        self.may_wait = False
        self.broken("when_free()", found)
        self.call_all_waiters()
        return 0

    # ---- completion ---------------------------------------------------------------------------------------------

    cdef int64_t next_event(self) noexcept nogil:
        """When the package has something to do, if anything is in flight."""
        if self.in_flight == 0:
            return NEVER_NS
        with gil:
            return self.ask_for_next_event()

    cdef int64_t ask_for_next_event(self) except? -1:
        cdef int64_t next_ns
        try:
            next_ns = self.inner.next_event_ns()
        except BaseException as error:  # whatever it is: only a signal can tell
            self.broken("next_event_ns()", f"raised {describe(error)}")
            return NEVER_NS
        return max(next_ns, 0)

    cdef bint reap(self) noexcept nogil:
        """Let the package complete its streams, if anybody waits for one; whether a run has ended."""
        cdef uint64_t ended_before = self.ended
        if self.is_idle_now():
            return False
        with gil:
            self.poll_completions()
        return self.ended != ended_before

    def poll_completions(self):
        """The same; and what was called back on another thread has its turn."""
        while self.strays:
            stray = self.strays.popleft()
            if stray is None:
                self.broken("when_free()", "called back on another thread")
                self.freed()
            else:
                self.broken("when_complete()", "called back on another thread")
                (<CheckedStream>stray).land()
        if self.is_idle_now():
            return
        try:
            self.inner.poll_completions()
        except BaseException as error:  # whatever it is: `tick` goes on
            self.broken("poll_completions()", f"raised {describe(error)}")

    cdef bint lend_hand(self) noexcept nogil:
        """Let the package work on what is in flight, on the caller's thread."""
        if self.in_flight == 0:
            return False
        with gil:
            try:
                return bool(self.inner.help())
            except BaseException as error:  # whatever it is: there is nothing to help with
                self.broken("help()", f"raised {describe(error)}")
                return False

    cdef int take_stray(self, thing) except -1:
        """Take what was called on another thread to the event loop: nothing here has a lock."""
        self.strays.append(thing)
        if self.token is not None:
            self.token.run_sync_soon(self.poll_completions, idempotent=True)
        return 0

    @property
    def is_idle(self):
        """Whether nothing is in flight, and nobody waits."""
        return self.is_idle_now()

    cdef bint is_idle_now(self) noexcept nogil:
        return self.in_flight == 0 and self.first_waiter == NULL

    def tick(self):
        """Give up what has taken `LIMIT_S`: a run, or a wait in which no stream has moved."""
        cdef CheckedStream stream
        self.poll_completions()
        self.quiet_ticks += 1
        if self.first_waiter != NULL and self.quiet_ticks >= MOST_TICKS:
            self.stop_waiting(f"has let writes wait for {LIMIT_S:g} s")
        for stream in list(self.in_use.values()):
            if stream.state == IN_FLIGHT:
                stream.ticks += 1
                if stream.ticks >= MOST_TICKS:
                    stream.give_up(f"has not been completed for {LIMIT_S:g} s")

    async def await_work(self):
        """Return when there is something to watch."""
        if self.is_idle_now():
            await self.watching.park()

    def end(self):
        """Give out no more streams."""
        self.has_ended = True
        self.watching.unpark_all()
        self.call_all_waiters()

    def abandon(self):
        """Complete what is in flight, here if need be: the daemon ends."""
        cdef CheckedStream stream
        self.end()
        self.poll_completions()
        for stream in list(self.in_use.values()):
            if stream.state == IN_FLIGHT:
                stream.give_up("is in flight while the daemon ends")

    def failure(self):
        """Why there are no streams any more."""
        return self.promises.verdict

    def __repr__(self):
        return f"<CheckedStreams {type(self.inner).__name__}, {self.promises!r}>"
