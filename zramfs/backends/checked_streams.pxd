from libc.stdint cimport uint64_t

from zramfs.codec.run cimport RunCompressor
from zramfs.streams cimport Stream, StreamManager

cdef class CheckedStream(Stream):
    cdef CheckedStreams manager
    cdef readonly Stream inner
    cdef bytes source           # the pages, in memory of their own: the package may read on, whatever became of the write
    cdef int taken
    cdef int state
    cdef bint is_spoilt         # the package's run is worth nothing
    cdef bint is_unfinished     # it is lost, and perhaps at work
    cdef int ticks              # in flight
    cdef object callback

    cdef int begin(self, object source, uint64_t offset_bytes, int pages, bint is_polled) except -1
    cdef int hand_over(self, int pages, bint is_polled) except -1
    cdef int check_at_once(self, str promise) except -1
    cdef int await_completion(self) except -1
    cdef int land(self) except -1
    cdef int give_up(self, str found) except -1
    cdef int finish(self) except -1
    cdef int lose(self, str promise, str found) except -1
    cdef int deliver(self, callback) except -1
    cdef int clear_run(self, int pages) noexcept
    cdef str flaw(self)
    cdef bint has_failed_pages(self) noexcept

cdef class CheckedStreams(StreamManager):
    cdef readonly StreamManager inner
    cdef readonly object promises
    cdef RunCompressor repairs      # compresses what a stream has spoilt; each run of it is committed at once
    cdef dict in_use                # by identity of the package's stream; those that are lost stay
    cdef object waiters             # callbacks
    cdef object strays              # what was called back on another thread
    cdef public object token        # trio's, once completions are served
    cdef object watching            # ParkingLot
    cdef unsigned long thread       # the event loop's
    cdef readonly int in_flight     # runs
    cdef readonly int lost
    cdef readonly int unfinished    # streams that are lost and perhaps at work
    cdef readonly uint64_t redone_pages
    cdef readonly bint has_ended
    cdef bint may_wait
    cdef bint gave_badly            # the last get_stream
    cdef bint is_registering
    cdef int futile_calls
    cdef int quiet_ticks            # in which no stream was given out or put

    cdef int give_back(self, CheckedStream stream) except -1
    cdef int broken(self, str promise, str found) except -1
    cdef int call_waiter(self) except -1
    cdef int stop_waiting(self, str found) except -1
    cdef int take_stray(self, thing) except -1
