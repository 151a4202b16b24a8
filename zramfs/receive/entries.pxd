# The room for the requests of one of the kernel's queues: entries, which the kernel or the receiver has.

cimport cython
from libc.stdint cimport uint8_t, uint64_t

from zramfs.atomic cimport poke_u64
from zramfs.receive.handover cimport Origin
from zramfs.receive.protocol cimport iovec
from zramfs.receive.request cimport Request
from zramfs.receive.uring_protocol cimport EntryHeader

cdef enum:
    # What the payloads of a queue may hold of memory: touching 1 MiB anew costs 0.1 ms, as much as copying it.
    MOST_TOUCHED_BYTES = 32 << 20
    FORGOTTEN_BYTES = 64 << 10  # payloads that touched less are not worth a system call

# `origin` comes first: a reply finds its entry by it.
cdef struct EntryOrigin:
    Origin origin
    Entry *entry

# Room for one request. `request` comes first: a Bio's address is its entry's.
cdef struct Entry:
    Request request
    EntryOrigin way_back        # of what is handed over
    void *receiver
    Entry *next                 # among those that have ended
    EntryHeader *header
    uint8_t *payload
    iovec room[2]               # header and payload, as the kernel is told
    uint64_t touched_bytes      # of the payload, at the most: what may be resident
    uint64_t held_bytes         # as counted by the request memory, for a write that ends later
    bint is_ours                # not the kernel's
    bint is_handed_over         # its reply is written already
    bint is_kept                # a write that ends later

@cython.final
cdef class Entries:
    cdef readonly int count
    cdef Entry *first
    cdef EntryHeader *headers
    cdef uint8_t *payloads
    cdef uint64_t touched_bytes     # of all payloads; others read it

    cdef bint map_all(self) noexcept nogil      # False: there is no memory
    cdef void trim(self) noexcept nogil
    cdef void forget(self, Entry *entry, uint64_t size_bytes) noexcept nogil

    # Note that so much of a payload is written to.
    cdef inline void touch(self, Entry *entry, uint64_t size_bytes) noexcept nogil:
        if size_bytes > entry.touched_bytes:
            poke_u64(&self.touched_bytes, self.touched_bytes + size_bytes - entry.touched_bytes)
            entry.touched_bytes = size_bytes

    # Give back what a request has touched beyond its reply, if all payloads together hold too much.
    cdef inline void make_room(self, Entry *entry) noexcept nogil:
        if self.touched_bytes > MOST_TOUCHED_BYTES:
            self.forget(entry, max(<uint64_t>FORGOTTEN_BYTES, entry.header.entry.payload_bytes))
