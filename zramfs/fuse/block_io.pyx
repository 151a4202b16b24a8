# cython: language_level=3
"""The reads and writes of an open block file: checks each range, once for all levels below, and makes Bios of writes.

Compiled because every 4K request passes through.
"""

from zramfs.bio cimport WriteBio
from zramfs.device.page_store cimport PageStore

from zramfs.errors import PastTheEnd

cdef enum:
    HAS_TO_WAIT = -1


cdef class BlockIo:
    """Reads and writes of `device`. `opened_async`: what the open flags say of a write, where nothing else does."""

    def __init__(self, device, *, bint opened_async):
        self.device = device
        self.opened_async = opened_async

    cpdef Py_ssize_t read_into(self, uint64_t offset_bytes, object out) except -1:
        """Fill `out` with what lies before the end; how many bytes of it."""
        cdef uint64_t disksize = self.device.disksize
        cdef uint64_t size_bytes = len(out)
        if offset_bytes >= disksize:
            return 0
        if size_bytes > disksize - offset_bytes:
            size_bytes = disksize - offset_bytes
            out = out[:size_bytes]
        (<PageStore?>self.device.store).read_into(offset_bytes, out)
        return size_bytes

    cpdef Py_ssize_t write_nowait(self, uint64_t offset_bytes, object data, object is_async) except -2:
        """Store what lies before the end if that needs no waiting; how many bytes, or -1: nothing is done.

        `is_async`: whether nobody waits for this write by itself; None: as the open flags say. PastTheEnd when all of
        it is.
        """
        cdef WriteBio bio = self.bio(offset_bytes, data, is_async)
        if (<PageStore?>self.device.store).write_nowait(bio):
            return len(bio.data)
        return HAS_TO_WAIT

    async def write(self, offset_bytes, data, is_async):
        """Store what lies before the end, however long that takes, as `write_nowait` does."""
        bio = self.bio(offset_bytes, data, is_async)
        await self.device.write(bio)
        return len(bio.data)

    cdef object bio(self, uint64_t offset_bytes, object data, object is_async):
        cdef uint64_t disksize = self.device.disksize
        if offset_bytes + <uint64_t>len(data) > disksize:
            if offset_bytes >= disksize:
                raise PastTheEnd(f"{offset_bytes} is past the end of {self.device.name}")
            data = data[:disksize - offset_bytes]
        return WriteBio(offset_bytes, data, self.opened_async if is_async is None else is_async)
