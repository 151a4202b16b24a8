# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""What becomes of a request in an entry: a bio, an answer, or pyfuse3's; and how its reply comes into the same entry.

An entry that another thread is done with is put on a list, from which the thread of its queue answers it.
"""

cimport cython
from libc.errno cimport EIO
from libc.stdint cimport uint32_t
from libc.string cimport memcpy

from zramfs.atomic cimport (
    compare_exchange_u64,
    exchange_int,
    exchange_u64,
    fence,
    load_u64,
    peek_int,
    peek_u64,
    poke_i64,
)
from zramfs.block.bio cimport ENDED, READ, WRITE, Bio
from zramfs.receive.entries cimport EntryOrigin
from zramfs.receive.protocol cimport DATA_BYTES, fuse_in_header, fuse_out_header
from zramfs.receive.request cimport ANSWER, SUBMIT, Reply, Verdict, make_reply, read_request, submit_request


cdef class EntryReceiver(Receiver):
    """A receiver of what is in `entries`, which replies by `ring`. `uring` has its thread."""

    cdef void take(self, Entry *entry) noexcept nogil:
        """Deal with the request in an entry."""
        cdef Verdict verdict
        self.entries.touch(entry, entry.header.entry.payload_bytes)
        entry.is_ours = True
        entry.is_handed_over = entry.is_kept = False
        verdict = read_request(
            &entry.request, <fuse_in_header *>entry.header.in_out, entry.header.arguments, entry.payload, self.handles
        )
        if verdict == SUBMIT:
            self.submit(entry)
        elif verdict == ANSWER:
            self.answer(entry)
        else:
            self.hand_over(entry)

    @cython.final
    cdef void hand_over(self, Entry *entry) noexcept nogil:
        """Leave a request to pyfuse3. Its first argument is not in the payload."""
        cdef fuse_in_header *header = <fuse_in_header *>entry.header.in_out
        cdef uint64_t payload_bytes = entry.header.entry.payload_bytes
        cdef uint64_t argument_bytes = header.len - sizeof(fuse_in_header) - payload_bytes
        entry.request.unique = header.unique
        entry.is_handed_over = True
        self.handed_over_now += 1
        self.hand_over_with_patience(
            &entry.way_back.origin, header, entry.header.arguments, argument_bytes, entry.payload, payload_bytes
        )

    @cython.final
    cdef void submit(self, Entry *entry) noexcept nogil:
        """Submit the bio; its entry waits until it ends."""
        cdef Bio *bio = &entry.request.bio
        bio.end = end_bio
        if not self.prepare(bio, entry.payload):
            self.answer(entry)
            return
        if bio.operation == WRITE:
            bio.is_urgent = not self.may_be_kept(entry)
        elif bio.operation == READ:
            self.entries.touch(entry, bio.size_bytes)
        poke_i64(&self.begun, self.begun + 1)
        if submit_request(&entry.request) != ENDED:
            self.keep(entry)

    @cython.final
    cdef bint may_be_kept(self, Entry *entry) noexcept nogil:
        """Whether a write may end later: there is memory for its data, and room for reads beside it."""
        if not self.memory.has_room(entry.touched_bytes):
            self.entries.forget(entry, entry.request.bio.size_bytes)
            if not self.memory.has_room(entry.touched_bytes):
                return False
        return self.has_place_for_write(entry.request.disk)  # synchronous ones have entries as well

    @cython.final
    cdef void keep(self, Entry *entry) noexcept nogil:
        """Count a write that ends later."""
        if entry.request.bio.operation == WRITE:
            entry.is_kept = True
            entry.held_bytes = entry.touched_bytes
            self.hold(entry.held_bytes)

    # ---- replies --------------------------------------------------------------------------------------------------

    cdef void push_ended(self, Entry *entry) noexcept nogil:
        """Give an entry to the thread that answers it. On any thread."""
        cdef uint64_t first = load_u64(<uint64_t *>&self.ended)
        entry.next = <Entry *>first
        while not compare_exchange_u64(<uint64_t *>&self.ended, &first, <uint64_t>entry):
            entry.next = <Entry *>first
        fence()
        if peek_int(&self.is_asleep) and exchange_int(&self.is_asleep, False):
            self.wake()

    cdef bint take_ended(self) noexcept nogil:
        """Answer what has ended; False if there is nothing."""
        cdef Entry *entry
        cdef Entry *next_one
        if peek_u64(<uint64_t *>&self.ended) == 0:
            return False
        entry = <Entry *>exchange_u64(<uint64_t *>&self.ended, 0)
        while entry != NULL:
            next_one = entry.next
            self.finish(entry)
            entry = next_one
        return True

    @cython.final
    cdef void finish(self, Entry *entry) noexcept nogil:
        if entry.is_handed_over:
            self.handed_over_now -= 1
            self.entries.touch(entry, entry.header.entry.payload_bytes)
            self.commit(entry)
            return
        if entry.is_kept:
            self.let_go(entry.held_bytes)
        self.answer(entry)
        poke_i64(&self.begun, self.begun - 1)

    @cython.final
    cdef void answer(self, Entry *entry) noexcept nogil:
        """Write the reply into the entry, and let it leave when the ring is entered."""
        cdef Reply reply
        make_reply(&entry.request, &reply)
        memcpy(entry.header.in_out, &reply.header, sizeof(reply.header))
        memcpy(entry.payload, &reply.argument, reply.argument_bytes)
        entry.header.entry.payload_bytes = <uint32_t>(reply.argument_bytes + reply.data_bytes)
        self.commit(entry)

    @cython.final
    cdef void commit(self, Entry *entry) noexcept nogil:
        self.entries.make_room(entry)
        entry.is_ours = False
        self.ring.answer(entry - self.entries.first, entry.request.unique)


cdef void end_bio(Bio *bio) noexcept nogil:
    (<EntryReceiver>bio.owner).push_ended(<Entry *>bio)


cdef ssize_t reply_to_handed_over(Origin *origin, uint64_t unique, const iovec *iov, int count) noexcept nogil:
    """Write pyfuse3's reply into the entry of its request, and let the queue's thread send it."""
    cdef Entry *entry = (<EntryOrigin *>origin).entry
    cdef fuse_out_header *header = <fuse_out_header *>entry.header.in_out
    cdef uint64_t payload_bytes = 0
    cdef ssize_t length
    cdef int i
    memcpy(header, iov[0].iov_base, sizeof(fuse_out_header))
    for i in range(1, count):
        payload_bytes += iov[i].iov_len
    if payload_bytes > DATA_BYTES:
        header.error = -EIO
        count = 1
    payload_bytes = 0
    for i in range(1, count):
        memcpy(entry.payload + payload_bytes, iov[i].iov_base, iov[i].iov_len)
        payload_bytes += iov[i].iov_len
    entry.header.entry.payload_bytes = <uint32_t>payload_bytes
    length = sizeof(fuse_out_header) + payload_bytes
    header.len = <uint32_t>length
    (<EntryReceiver>entry.receiver).push_ended(entry)  # the entry is its thread's from here on
    return length
