# What receivers know of open files, by their handle.

from libc.stdint cimport uint64_t

cdef enum:
    CHUNK_SHIFT = 10
    CHUNK_HANDLES = 1 << CHUNK_SHIFT    # open files for which memory is taken at a time; it never moves
    MOST_CHUNKS = 1 << 10

cdef struct OpenDisk:
    void *disk                  # a block.disk.Disk, or NULL: no block file is open by this handle
    int open_flags

cdef class Handles:
    cdef OpenDisk *chunks[MOST_CHUNKS]
    cdef list disks             # keeps each alive while its file is open
    cdef list free
    cdef readonly uint64_t next_other

    cdef uint64_t new_handle(self) except -1
    cdef OpenDisk *find(self, uint64_t handle) noexcept nogil     # NULL: no block file is open by it
