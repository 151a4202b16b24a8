# cython: language_level=3, boundscheck=False, wraparound=False
"""The files that are open, by their handle: a table that receivers look into without a lock.

The event loop fills a handle in before it answers the open, and empties it when the kernel says that nobody uses it any
more; in between requests for it arrive, and only then.
"""

import errno

from libc.stdint cimport uint64_t
from libc.stdlib cimport calloc
from libc.stdlib cimport free as give_back

from zramfs.atomic cimport load_pointer, store_pointer
from zramfs.block.disk cimport Disk

from zramfs.errors import ZramError

# Handles of files that are no block files begin here: receivers know them by that.
FIRST_OTHER_HANDLE = 1 << 32


class TooManyOpenFiles(ZramError):  # noqa: N818
    """A million block files are open."""

    errno = errno.ENFILE


cdef class Handles:
    """Gives handles for files that are opened, and takes them back. Only those of block files are given again."""

    def __init__(self):
        self.disks = []
        self.free = []
        self.next_other = FIRST_OTHER_HANDLE

    def __dealloc__(self):
        for chunk in range(MOST_CHUNKS):
            give_back(self.chunks[chunk])

    def open_disk(self, Disk disk not None, int open_flags):
        """Return the handle of a block file that is opened with these flags."""
        cdef uint64_t handle = self.free.pop() if self.free else self.new_handle()
        cdef OpenDisk *entry = &self.chunks[handle >> CHUNK_SHIFT][handle & (CHUNK_HANDLES - 1)]
        self.disks[handle] = disk
        entry.open_flags = open_flags
        store_pointer(&entry.disk, <void *>disk)
        return handle

    def open_other(self):
        """Return the handle of any other file: its requests are handed over."""
        handle = self.next_other
        self.next_other += 1
        return handle

    def close(self, uint64_t handle):
        """Take a handle back. No request of it is under way."""
        cdef OpenDisk *entry = self.find(handle)
        if entry == NULL:
            return
        store_pointer(&entry.disk, NULL)
        self.disks[handle] = None
        self.free.append(handle)

    def disk(self, uint64_t handle):
        """Return the disk of a block file, and the flags that it was opened with; None for any other file's handle."""
        cdef OpenDisk *entry = self.find(handle)
        return None if entry == NULL else (<Disk>entry.disk, entry.open_flags)

    cdef uint64_t new_handle(self) except -1:
        cdef uint64_t handle = len(self.disks)
        cdef uint64_t chunk = handle >> CHUNK_SHIFT
        cdef void *fresh
        if chunk == MOST_CHUNKS:
            raise TooManyOpenFiles("too many open block files")
        if self.chunks[chunk] == NULL:
            fresh = calloc(CHUNK_HANDLES, sizeof(OpenDisk))
            if fresh == NULL:
                raise MemoryError
            store_pointer(<void **>&self.chunks[chunk], fresh)
        self.disks.append(None)
        return handle

    cdef OpenDisk *find(self, uint64_t handle) noexcept nogil:
        """What is open by a handle; NULL if that is no block file."""
        cdef OpenDisk *chunk
        if handle >= <uint64_t>MOST_CHUNKS << CHUNK_SHIFT:
            return NULL
        chunk = <OpenDisk *>load_pointer(<void **>&self.chunks[handle >> CHUNK_SHIFT])
        if chunk == NULL or load_pointer(&chunk[handle & (CHUNK_HANDLES - 1)].disk) == NULL:
            return NULL
        return &chunk[handle & (CHUNK_HANDLES - 1)]

    def __repr__(self):
        return f"<Handles of {len(self.disks) - len(self.free)} open block files>"
