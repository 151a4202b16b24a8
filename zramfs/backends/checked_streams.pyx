# cython: language_level=3
"""Managed streams of another package, each step held against the contract: a filter in front of its manager.

To the block layer it is what `streams` promises in its compiled half, on the event loop's thread only; the package sees
the Python half. What it breaks costs time, never data: a per-CPU stream takes the pages, or they are compressed again
here (`checked_stream`). `checked` adds what runs in the background.
"""

from cpython.pythread cimport PyThread_get_thread_ident

from zramfs.clock cimport NEVER_NS
from zramfs.codec.run cimport PageCodec

from zramfs.backends.promises import describe

cdef enum:
    MOST_FUTILE_CALLS = 1000    # of those who wait, one after the other
    MOST_TICKS = 10             # for a run, or for those who wait: a daemon that is stopped has time, but no ticks

TICK_S = 0.5
LIMIT_S = TICK_S * MOST_TICKS


cdef class CheckedStreams(StreamLedger):
    """The managed streams of another package, as far as they keep their promises.

    `codec` compresses again what one of them has spoilt. `tick` is called every `TICK_S` while there are runs in flight
    or callers that wait.
    """

    def __init__(self, StreamManager inner not None, promises, PageCodec codec not None):
        super().__init__(inner, promises, codec)
        self.stream_count = inner.stream_count
        self.polled_run_pages = min(inner.polled_run_pages, <int>MOST_PAGES)
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
        stream.ledger, stream.inner, stream.run = self, inner, inner.run
        self.in_use[id(inner)] = stream
        self.quiet_ticks = self.futile_calls = 0
        return <PyObject *>stream

    cdef void give_stream(self, void *stream) noexcept nogil:
        """Take a stream back whose pages are committed."""
        with gil:
            if (<CheckedStream>stream).state != LOST:
                self.give_back(<CheckedStream>stream)

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
        """Have `waiter` called when the package says so, or waiting is of no use; False if it is of no use by now."""
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
                return bool(self.inner.work_for_device())
            except BaseException as error:  # whatever it is: there is nothing to work on
                self.broken("work_for_device()", f"raised {describe(error)}")
                return False

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
