# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""A pool in the hands of tests: objects are bytes, and compaction tells what moved instead of a table of slots."""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.stdlib cimport free, realloc
from libc.string cimport memcpy

from zramfs.page cimport PAGE_BYTES
from zramfs.pool.zspool cimport NO_HANDLE, ZsPool


def put(ZsPool pool not None, bytes payload not None, uint64_t owner=0):
    """Store a copy of 1 to 4096 bytes and return its handle; MemoryError when there is no room."""
    cdef const uint8_t *source = payload
    cdef uint32_t size_bytes = <uint32_t>len(payload)
    cdef uint64_t handle
    if not 1 <= len(payload) <= PAGE_BYTES:
        raise ValueError(f"an object has 1 to {PAGE_BYTES} bytes, not {len(payload)}")
    with nogil:
        handle = pool.allocate(size_bytes, owner)
        if handle != NO_HANDLE:
            pool.note_peak()
            memcpy(pool.payload(handle), source, size_bytes)
    if handle == NO_HANDLE:
        raise MemoryError("the pool cannot grow")
    return handle


def get(ZsPool pool not None, uint64_t handle, uint32_t payload_bytes):
    """Return a copy of the first `payload_bytes` of a live object, which nobody moves meanwhile."""
    copy = PyBytes_FromStringAndSize(NULL, payload_bytes)
    cdef char *start = PyBytes_AS_STRING(copy)
    with nogil:
        memcpy(start, pool.payload(handle), payload_bytes)
    return copy


def discard(ZsPool pool not None, uint64_t handle):
    """Free a live object."""
    with nogil:
        pool.free(handle)


def compact(ZsPool pool not None, uint64_t max_objects=NO_HANDLE):
    """Compact and return the moves as ``(owner, new handle)``."""
    cdef MoveList moves
    cdef uint64_t i
    moves.pairs = NULL
    moves.count = moves.room = 0
    with nogil:
        pool.compact_some(max_objects, reserve_move, note_move, &moves)
    try:
        return [(moves.pairs[2 * i], moves.pairs[2 * i + 1]) for i in range(moves.count)]
    finally:
        free(moves.pairs)


cdef struct MoveList:
    uint64_t *pairs
    uint64_t count
    uint64_t room


cdef bint reserve_move(void *owners, uint64_t owner, uint64_t handle) noexcept nogil:
    """False when a move could not be noted."""
    cdef MoveList *moves = <MoveList *>owners
    cdef uint64_t *grown
    if moves.count == moves.room:
        grown = <uint64_t *>realloc(moves.pairs, (2 * moves.room + 64) * 2 * sizeof(uint64_t))
        if grown == NULL:
            return False
        moves.pairs = grown
        moves.room = 2 * moves.room + 64
    return True


cdef void note_move(void *owners, uint64_t owner, uint64_t handle) noexcept nogil:
    cdef MoveList *moves = <MoveList *>owners
    moves.pairs[2 * moves.count] = owner
    moves.pairs[2 * moves.count + 1] = handle
    moves.count += 1
