from libc.stdint cimport uint8_t, uint64_t

from zramfs.codec.run cimport RunCompressor
from zramfs.streams cimport RunEnd, Stream, StreamManager

# All of it belongs to the event loop's thread.

cdef enum:
    MOST_PAGES = 64             # of a run; the device cuts its own so

# What a stream is.
cdef enum:
    GIVEN       # by take_stream
    IN_FLIGHT
    COMPLETE
    PUT
    LOST        # never used again: nobody knows what it still does

cdef class CheckedStream(Stream):
    cdef StreamLedger ledger
    cdef readonly Stream inner
    cdef bytes source           # a copy of the pages: the package may read on, whatever became of the write
    cdef RunEnd end
    cdef int taken
    cdef int state
    cdef bint is_beginning      # whoever submits it has not been told that it was taken
    cdef bint is_spoilt         # the package's run is worth nothing
    cdef bint is_unfinished     # it is lost, and perhaps at work
    cdef int ticks              # in flight

    cdef int begin(self, const uint8_t *first_page, int pages, bint is_polled) except -1
    cdef int hand_over(self, int pages, bint is_polled) except -1
    cdef int check_at_once(self, str promise) except -1
    cdef int await_completion(self) except -1
    cdef int land(self) except -1
    cdef int give_up(self, str found) except -1
    cdef int deliver(self) except -1
    cdef int lose(self, str promise, str found) except -1

cdef class StreamLedger(StreamManager):
    cdef readonly StreamManager inner
    cdef readonly object promises
    cdef RunCompressor repairs      # compresses what a stream has spoilt; each run of it is committed at once
    cdef dict in_use                # by identity of the package's stream; those that are lost stay
    cdef object strays              # what was called back on another thread
    cdef public object token        # trio's, once completions are served
    cdef object watching            # ParkingLot
    cdef unsigned long thread       # the event loop's
    cdef readonly int in_flight     # runs
    cdef uint64_t ended             # runs
    cdef readonly int lost
    cdef readonly int unfinished    # streams that are lost and perhaps at work
    cdef readonly uint64_t redone_pages
    cdef bint gave_badly            # the stream that was taken last, or asked for, was of no use
    cdef int quiet_ticks            # in which no stream was given out or put

    cdef int broken(self, str promise, str found) except -1
    cdef int give_back(self, CheckedStream stream) except -1
    cdef int take_stray(self, thing) except -1
