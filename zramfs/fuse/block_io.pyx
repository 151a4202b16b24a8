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

    cpdef Py_ssize_t read_into(self, uint64_t offset_bytes, object out) except -2:
        """Fill `out` with what lies before the end; how many bytes of it, or -1: nothing is done, it has to wait."""
        cdef Py_ssize_t size_bytes = self.bytes_before_end(offset_bytes, len(out))
        if size_bytes == 0:
            return 0
        if size_bytes < len(out):
            out = out[:size_bytes]
        if (<PageStore?>self.device.store).read_into(offset_bytes, out):
            return size_bytes
        return HAS_TO_WAIT

    async def read(self, offset_bytes, out):
        """Fill `out` with what lies before the end, however long that takes; how many bytes of it."""
        size_bytes = self.bytes_before_end(offset_bytes, len(out))
        if size_bytes:
            await self.device.read(offset_bytes, out[:size_bytes])
        return size_bytes

    cdef Py_ssize_t bytes_before_end(self, uint64_t offset_bytes, Py_ssize_t size_bytes):
        cdef uint64_t disksize = self.device.disksize
        if offset_bytes >= disksize:
            return 0
        return <Py_ssize_t>min(<uint64_t>size_bytes, disksize - offset_bytes)

    cpdef Py_ssize_t write_nowait(self, uint64_t offset_bytes, object data, object is_async) except -2:
        """Store what lies before the end if that needs no waiting; how many bytes, or -1: nothing is done.

        `is_async`: whether nobody waits for this write by itself; None: as the open flags say. PastTheEnd when all of
        it is.
        """
        cdef WriteBio bio = self.bio(offset_bytes, data, is_async)
        if (<PageStore?>self.device.store).write_nowait(bio):
            return len(bio.data)
        return HAS_TO_WAIT

    cpdef Py_ssize_t write_at_once(self, uint64_t offset_bytes, object data, object is_async) except -2:
        """Store what lies before the end, where it is; how many bytes, or -1: it has partial pages, and nothing is done."""
        cdef WriteBio bio = self.bio(offset_bytes, data, is_async)
        if (<PageStore?>self.device.store).write_at_once(bio):
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
