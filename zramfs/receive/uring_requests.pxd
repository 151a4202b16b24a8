# What becomes of the requests in entries.

from libc.stdint cimport uint64_t

from zramfs.receive.entries cimport Entries, Entry
from zramfs.receive.handover cimport Origin
from zramfs.receive.protocol cimport iovec
from zramfs.receive.queue_ring cimport QueueRing
from zramfs.receive.receiver cimport Receiver

cdef class EntryReceiver(Receiver):
    cdef QueueRing ring
    cdef readonly Entries entries
    cdef int handed_over_now    # requests that pyfuse3 has yet to answer
    cdef char apart[64]
    cdef Entry *ended           # those that other threads are done with: atomic, and so is `is_asleep`
    cdef int is_asleep

    cdef void take(self, Entry *entry) noexcept nogil
    cdef void hand_over(self, Entry *entry) noexcept nogil
    cdef void submit(self, Entry *entry) noexcept nogil
    cdef bint may_be_kept(self, Entry *entry) noexcept nogil
    cdef void keep(self, Entry *entry) noexcept nogil
    cdef void push_ended(self, Entry *entry) noexcept nogil
    cdef bint take_ended(self) noexcept nogil
    cdef void finish(self, Entry *entry) noexcept nogil
    cdef void answer(self, Entry *entry) noexcept nogil
    cdef void commit(self, Entry *entry) noexcept nogil

cdef ssize_t reply_to_handed_over(Origin *origin, uint64_t unique, const iovec *iov, int count) noexcept nogil
