# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""Doors to what receivers consist of, for the tests beside it: buffers, entries, what is handed over, and a ring."""

from cpython.bytes cimport PyBytes_AS_STRING
from libc.stdint cimport int64_t, uint64_t
from libc.string cimport memset

from zramfs.receive.buffers cimport Buffer, BufferPool, data_of, forget_tail, message_of
from zramfs.receive.entries cimport Entries, Entry
from zramfs.receive.handover cimport Handover, Origin, read_handed_over, send_reply
from zramfs.receive.protocol cimport errno, fuse_in_header, iovec
from zramfs.receive.queue_ring cimport QueueRing
from zramfs.receive.uring_protocol cimport io_ring_cqe, io_ring_peek, io_ring_seen


# ---- buffers --------------------------------------------------------------------------------------------------------

def take(BufferPool pool not None):
    """Take a buffer; its address."""
    return <uint64_t>pool.take()


def give(BufferPool pool not None, uint64_t buffer):
    pool.give(<Buffer *>buffer)


def trim(BufferPool pool not None):
    pool.trim()


def touch(uint64_t buffer, uint64_t size_bytes):
    """Write data into a buffer, as a request does."""
    memset(data_of(<Buffer *>buffer), 1, size_bytes)
    (<Buffer *>buffer).touched_bytes = size_bytes


def forget_behind(uint64_t buffer, uint64_t size_bytes):
    """Give back what is behind so many bytes of data; what is still touched, and the first byte behind."""
    forget_tail(<Buffer *>buffer, size_bytes)
    return (<Buffer *>buffer).touched_bytes, data_of(<Buffer *>buffer)[(<Buffer *>buffer).touched_bytes]


def places(uint64_t buffer):
    """Where a message is received, and where its data is."""
    return <uint64_t>message_of(<Buffer *>buffer), <uint64_t>data_of(<Buffer *>buffer)


# ---- entries --------------------------------------------------------------------------------------------------------

def map_all(Entries entries not None):
    return bool(entries.map_all())


def touch_entry(Entries entries not None, int number, uint64_t size_bytes, *, bint is_ours=False):
    """Write so much into a payload."""
    cdef Entry *entry = &entries.first[number]
    memset(entry.payload, 1, size_bytes)
    entry.is_ours = is_ours
    entries.touch(entry, size_bytes)


def forget_entry(Entries entries not None, int number, uint64_t size_bytes):
    entries.forget(&entries.first[number], size_bytes)


def make_room(Entries entries not None, int number, uint64_t reply_bytes):
    entries.first[number].header.entry.payload_bytes = reply_bytes
    entries.make_room(&entries.first[number])


def trim_entries(Entries entries not None):
    entries.trim()


def payload_of(Entries entries not None, int number):
    return <uint64_t>entries.first[number].payload


def byte_of(Entries entries not None, int number, uint64_t at):
    return entries.first[number].payload[at]


# ---- what is handed over --------------------------------------------------------------------------------------------

cdef struct Way:
    Origin origin
    uint64_t unique
    uint64_t replies
    uint64_t reply_bytes

cdef Way ways[4]


cdef ssize_t note_reply(Origin *origin, uint64_t unique, const iovec *iov, int count) noexcept nogil:
    cdef Way *noted = <Way *>origin
    cdef int i
    noted.unique = unique
    noted.replies += 1
    noted.reply_bytes = 0
    for i in range(count):
        noted.reply_bytes += iov[i].iov_len
    return noted.reply_bytes


def hand_over(Handover handover not None, bytes message not None, bytes payload not None=b"", *, int way=0):
    """Hand a request over: a fuse_in_header with its arguments, and a payload that is elsewhere."""
    cdef char *words = PyBytes_AS_STRING(message)
    cdef uint64_t header_bytes = sizeof(fuse_in_header)
    ways[way].origin.reply = note_reply
    return bool(handover.hand_over(
        &ways[way].origin, <fuse_in_header *>words, words + header_bytes, len(message) - header_bytes,
        PyBytes_AS_STRING(payload), len(payload),
    ))


def read(Handover handover not None, uint64_t room_bytes=1 << 16):
    """What libfuse reads: a request, or the errno."""
    cdef bytearray room = bytearray(room_bytes)
    cdef char *begin = room
    cdef ssize_t size_bytes = read_handed_over(-1, begin, room_bytes, <void *>handover)
    return errno if size_bytes < 0 else bytes(room[:size_bytes])


def reply(Handover handover not None, bytes header not None, bytes body not None=b""):
    """What libfuse says; how many bytes were taken, and the body as it was sent."""
    cdef iovec parts[2]
    cdef bytearray sent = bytearray(body)
    cdef char *begin = sent
    parts[0].iov_base, parts[0].iov_len = PyBytes_AS_STRING(header), len(header)
    parts[1].iov_base, parts[1].iov_len = begin, len(body)
    taken = send_reply(-1, parts, 2 if body else 1, <void *>handover)
    return taken, bytes(sent)


def replied(int way=0):
    """The last reply that went back by a way: unique, bytes, and how many there were since the last call."""
    told = ways[way].unique, ways[way].reply_bytes, ways[way].replies
    ways[way].replies = 0
    return told


def end(Handover handover not None, int error):
    handover.end(error)


# ---- a ring ---------------------------------------------------------------------------------------------------------

def open_ring(QueueRing ring not None, int entries, uint64_t anchor):
    return ring.open(entries, anchor)


def close_ring(QueueRing ring not None):
    ring.close()


def tell_in(QueueRing ring not None, int64_t seconds, uint64_t user_data):
    ring.tell_in(seconds, user_data)


def watch(QueueRing ring not None, int fd, uint64_t user_data):
    ring.watch(fd, user_data)


def answer(QueueRing ring not None, uint64_t number, uint64_t unique):
    ring.answer(number, unique)


def enter(QueueRing ring not None, bint waits, int64_t timeout_ns):
    """Enter the ring; what has completed, as (user_data, result)."""
    cdef const io_ring_cqe *cqe
    ring.enter(waits, timeout_ns)
    completed = []
    while True:
        cqe = io_ring_peek(&ring.ring)
        if cqe == NULL:
            return completed
        completed.append((cqe.user_data, cqe.result))
        io_ring_seen(&ring.ring)
