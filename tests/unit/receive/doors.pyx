# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""Doors to what receivers consist of, for the tests beside it alone: buffers, entries, what is handed over, a ring, and
receivers themselves, step by step."""

from cpython.bytes cimport PyBytes_AS_STRING
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy, memset

from zramfs.events cimport eventfd_read
from zramfs.receive.buffers cimport Buffer, BufferPool, data_of, forget_tail, message_of
from zramfs.receive.entries cimport Entries, Entry
from zramfs.receive.handles cimport Handles
from zramfs.receive.handover cimport Handover, Origin, read_handed_over, send_reply
from zramfs.receive.protocol cimport errno, fuse_in_header, fuse_out_header, iovec
from zramfs.receive.queue_receiver cimport WAKE
from zramfs.receive.queue_ring cimport QueueRing
from zramfs.receive.receiver cimport KeptWrites, Receiver
from zramfs.receive.request cimport Reply, Request, make_reply, read_request
from zramfs.receive.uring cimport UringReceiver
from zramfs.receive.uring_protocol cimport EntryCommand, io_ring_cqe, io_ring_peek, io_ring_seen, io_ring_sqe
from zramfs.receive.uring_requests cimport EntryReceiver, reply_to_handed_over

cdef extern from "io_ring.h" nogil:
    struct WholeRing "io_ring":
        uint32_t sq_mask, tail, unsubmitted
        io_ring_sqe *sqes


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


def unsubmitted(QueueRing ring not None):
    """What the next `enter` submits: (operation, command, user_data, commit_id) each."""
    cdef WholeRing *whole = <WholeRing *>&ring.ring
    cdef io_ring_sqe *sqe
    cdef uint32_t place
    waiting = []
    for place in range(whole.tail - whole.unsubmitted, whole.tail):
        sqe = &whole.sqes[place & whole.sq_mask]
        waiting.append((sqe.opcode, sqe.command, sqe.user_data, (<EntryCommand *>sqe.arguments).commit_id))
    return waiting


def complete_at_once(QueueRing ring not None, uint64_t user_data):
    """Submit what completes at once, with 0, as a request does that is there."""
    ring.submission().user_data = user_data  # zeros are IORING_OP_NOP
    ring.enter(False, 0)


# ---- requests -------------------------------------------------------------------------------------------------------

def read_one(bytes message not None, Handles handles not None, bytes payload not None=b""):
    """What is to be done with a request: the Verdict, and its bio."""
    cdef Request request
    cdef char *words = PyBytes_AS_STRING(message)
    cdef uint8_t *data = <uint8_t *>PyBytes_AS_STRING(payload)
    memset(&request, 0, sizeof(request))
    verdict = read_request(&request, <fuse_in_header *>words, words + sizeof(fuse_in_header), data, handles)
    return verdict, {
        "operation": request.bio.operation,
        "offset_bytes": request.bio.offset_bytes,
        "size_bytes": request.bio.size_bytes,
        "is_async": bool(request.bio.is_async),
        "is_urgent": bool(request.bio.is_urgent),
        "error": request.bio.error,
        "has_payload": request.bio.data == data,
        "unique": request.unique,
        "found": request.found,
    }


def reply_to(uint32_t opcode, uint64_t unique, uint64_t size_bytes, int error, int64_t found=0):
    """The reply to a request whose bio has ended: its header, what follows that, and how much data is behind."""
    cdef Request request
    cdef Reply reply
    memset(&request, 0, sizeof(request))
    request.opcode, request.unique, request.found = opcode, unique, found
    request.bio.size_bytes, request.bio.error = size_bytes, error
    make_reply(&request, &reply)
    return reply.header, (<char *>&reply.argument)[:reply.argument_bytes], reply.data_bytes


# ---- receivers ------------------------------------------------------------------------------------------------------

def begin_thread(Receiver receiver not None, bytes name not None):
    receiver.begin_thread(name)


def follow_io_flusher(Receiver receiver not None):
    receiver.follow_io_flusher()


def clear_wake(Receiver receiver not None):
    receiver.clear_wake()


def wake_fd(Receiver receiver not None):
    return receiver.wake_fd


def wakes(Receiver receiver not None):
    """How often it was woken since somebody looked last."""
    cdef uint64_t times = 0
    eventfd_read(receiver.wake_fd, &times)
    return times


def hold(Receiver receiver not None, uint64_t size_bytes):
    receiver.hold(size_bytes)


def let_go(Receiver receiver not None, uint64_t size_bytes):
    receiver.let_go(size_bytes)


def kept_writes(KeptWrites kept not None):
    return kept.writes


def has_place_for_write(Receiver receiver not None, disk not None):
    return bool(receiver.has_place_for_write(<void *>disk))


def have_slice(Receiver receiver not None, int64_t now_ns):
    return bool(receiver.have_slice(now_ns))


def have_turn(Receiver receiver not None, int64_t now_ns):
    receiver.have_turn(now_ns)


def turn_ends_ns(Receiver receiver not None):
    return receiver.turn_ends_ns


def spin_end(Receiver receiver not None, int64_t now_ns, int64_t poll_ns):
    return receiver.spin_end(now_ns, poll_ns)


def next_event_ns(Receiver receiver not None):
    return receiver.layer.next_event_ns()


def await_near_event(Receiver receiver not None):
    with nogil:
        receiver.await_near_event()


def hand_over_with_patience(Receiver receiver not None, bytes message not None, bytes payload not None=b""):
    cdef char *words = PyBytes_AS_STRING(message)
    cdef uint64_t header_bytes = sizeof(fuse_in_header)
    ways[0].origin.reply = note_reply
    receiver.hand_over_with_patience(
        &ways[0].origin, <fuse_in_header *>words, words + header_bytes, len(message) - header_bytes,
        PyBytes_AS_STRING(payload), len(payload),
    )


# ---- requests in entries --------------------------------------------------------------------------------------------

def furnish(EntryReceiver receiver not None, QueueRing ring not None, Entries entries not None):
    """Give a receiver that has no thread its ring and its entries, as `uring` does."""
    cdef int number
    receiver.ring, receiver.entries = ring, entries
    for number in range(entries.count):
        entries.first[number].receiver = <void *>receiver
        entries.first[number].way_back.origin.reply = reply_to_handed_over


def lay(Entries entries not None, int number, bytes message not None, bytes payload not None=b""):
    """Write a request into an entry, as the kernel does: fuse_in_header, its first argument, and what follows that."""
    cdef Entry *entry = &entries.first[number]
    cdef char *words = PyBytes_AS_STRING(message)
    cdef uint64_t header_bytes = sizeof(fuse_in_header)
    memcpy(entry.header.in_out, words, header_bytes)
    (<fuse_in_header *>entry.header.in_out).len = <uint32_t>(len(message) + len(payload))
    memcpy(entry.header.arguments, words + header_bytes, len(message) - header_bytes)
    memcpy(entry.payload, PyBytes_AS_STRING(payload), len(payload))
    entry.header.entry.payload_bytes = <uint32_t>len(payload)


def take_entry(EntryReceiver receiver not None, int number):
    with nogil:
        receiver.take(&receiver.entries.first[number])


def take_ended(EntryReceiver receiver not None):
    return bool(receiver.take_ended())


def has_ended(EntryReceiver receiver not None):
    """Whether another thread is done with an entry."""
    return receiver.ended != NULL


def reply_in(Entries entries not None, int number):
    """The reply that an entry has: its fuse_out_header, and its payload."""
    cdef Entry *entry = &entries.first[number]
    cdef fuse_out_header *header = <fuse_out_header *>entry.header.in_out
    return header[0], entry.payload[:entry.header.entry.payload_bytes]


def is_ours(Entries entries not None, int number):
    return bool(entries.first[number].is_ours)


def handed_over_now(EntryReceiver receiver not None):
    return receiver.handed_over_now


def fall_asleep(EntryReceiver receiver not None):
    """Look as if its thread slept."""
    receiver.is_asleep = True


def is_asleep(EntryReceiver receiver not None):
    return bool(receiver.is_asleep)


def reply_in_parts(EntryReceiver receiver not None, int number, uint64_t unique, list parts not None):
    """Reply to what was handed over from an entry; what writev would return."""
    cdef iovec iov[8]
    cdef int i
    for i in range(len(parts)):
        iov[i].iov_base, iov[i].iov_len = PyBytes_AS_STRING(parts[i]), len(parts[i])
    return reply_to_handed_over(&receiver.entries.first[number].way_back.origin, unique, iov, len(parts))


def push_ended(EntryReceiver receiver not None, int first, int count):
    """Be done with entries whose replies are written, without the GIL, as other threads are."""
    cdef int number
    with nogil:
        for number in range(first, first + count):
            receiver.entries.first[number].is_handed_over = True
            receiver.push_ended(&receiver.entries.first[number])


# ---- a receiver of a queue ------------------------------------------------------------------------------------------

def open_receiver(UringReceiver receiver not None):
    return receiver.open()


def ring_of(UringReceiver receiver not None):
    return receiver.ring


def begin(UringReceiver receiver not None):
    receiver.begin()


def has_begun(UringReceiver receiver not None):
    return bool(receiver.has_begun)


def reap(UringReceiver receiver not None):
    with nogil:
        found = receiver.reap()
    return bool(found)


def complete(UringReceiver receiver not None, uint64_t which, int result, *, bint is_last=True, int times=1):
    """Let something complete, so often."""
    cdef int i
    with nogil:
        for i in range(times):
            receiver.complete(which, result, is_last, 0)


def pass_time(UringReceiver receiver not None):
    with nogil:
        receiver.pass_time()


def has_work(UringReceiver receiver not None):
    return bool(receiver.has_work())


def sleep(UringReceiver receiver not None):
    with nogil:
        receiver.sleep()


def is_done(UringReceiver receiver not None):
    return bool(receiver.is_done())


def give_no_more_time(UringReceiver receiver not None):
    """Let the time be over that pyfuse3 has for its answers."""
    receiver.answers_end_ns = 1


def end_second(UringReceiver receiver not None):
    receiver.end_second()


def wake_by_ring(UringReceiver receiver not None):
    """Let whoever wakes the receiver complete in its ring."""
    receiver.ring.watch(receiver.wake_fd, WAKE)
