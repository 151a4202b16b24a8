# cython: language_level=3, cdivision=True
"""What a device with a size consists of, and what is done to it in one step: nothing here awaits.

Compiled because it is the way of every 4K request; `device` has what may wait.
"""

from zramfs.device.long_writes import LongWrites
from zramfs.errors import CorruptPage, ZramError
from zramfs.units import PAGE_SHIFT as _PAGE_SHIFT

cdef enum:
    PAGE_SHIFT = 12
    PAGE_BYTES = 1 << PAGE_SHIFT

assert PAGE_SHIFT == _PAGE_SHIFT


cdef class PageStore:
    """The slots of a device, the streams that fill them, and the count of requests.

    `read_helper` shares large reads; None on a single CPU. `secondaries` are the per-CPU streams of
    recompression, by the priority of their algorithm. `tracer` makes a `TracedRequest` for each request, if there is a trace.
    """

    def __init__(
        self,
        SlotTable slots not None,
        Zcomp zcomp not None,
        IoAccounting accounting not None,
        ReadHelper read_helper,
        secondaries=None,
    ):
        self.slots = slots
        self.zcomp = zcomp
        self.secondaries = dict(secondaries or {})
        self.codecs = Codecs(zcomp.codec, {priority: each.codec for priority, each in self.secondaries.items()})
        self.accounting = accounting
        self.read_helper = read_helper
        self.long_writes = LongWrites(zcomp)
        self.tracer = None

    cpdef bint read_into(self, uint64_t offset_bytes, object out) except -1:
        """Fill `out` with what is stored from `offset_bytes` on; CorruptPage at a page that does not decompress.

        False: a page is in the backing device, which has to be waited for; nothing is done.
        """
        cdef uint64_t size_bytes = len(out)
        cdef bint is_done = True
        start_ns = self.accounting.begin()
        request = None if self.tracer is None else self.tracer("read", size_bytes, start_ns)
        try:
            is_done = self.slots.read_into(offset_bytes, out, self.codecs, self.read_helper)
        except CorruptPage:
            self.accounting.failed_reads += 1
            raise
        finally:
            if is_done:
                self.accounting.end(self.accounting.read, size_bytes, start_ns)
            else:
                self.accounting.abandon()
            if request is not None and is_done:
                request.answer()
        return is_done

    cpdef bint write_nowait(self, WriteBio bio) except -1:
        """Store the bio if that needs no waiting: a few whole pages. False: nothing is done."""
        cdef uint64_t size_bytes = len(bio.data)
        if (bio.offset_bytes | size_bytes) & (PAGE_BYTES - 1):
            return False
        if not self.zcomp.is_nowait(size_bytes >> PAGE_SHIFT, bio.is_async):
            return False
        self._write(bio, True)
        return True

    cpdef bint write_at_once(self, WriteBio bio) except -1:
        """Store the bio on the per-CPU path, whatever that takes: nothing of it can be kept. False: it has partial pages."""
        if (bio.offset_bytes | <uint64_t>len(bio.data)) & (PAGE_BYTES - 1):
            return False
        self._write(bio, False)
        return True

    cdef int _write(self, WriteBio bio, bint may_choose) except -1:
        cdef uint64_t size_bytes = len(bio.data)
        start_ns = self.accounting.begin()
        request = None if self.tracer is None else self.tracer("write", size_bytes, start_ns, bio.is_async)
        try:
            self._write_pages(bio, size_bytes >> PAGE_SHIFT, may_choose)
        except ZramError:
            self.accounting.failed_writes += 1
            raise
        finally:
            self.accounting.end(self.accounting.write, size_bytes, start_ns)
            if request is not None:
                request.answer()
        return 0

    cdef int _write_pages(self, WriteBio bio, uint64_t pages, bint may_choose) except -1:
        cdef uint64_t page = bio.offset_bytes >> PAGE_SHIFT
        cdef uint64_t done = 0
        while done < pages:
            if may_choose:
                stream = self.zcomp.choose(bio.data, done << PAGE_SHIFT, <int>(pages - done), bio.is_async, False)
            else:
                stream = self.zcomp.submit_here(bio.data, done << PAGE_SHIFT, <int>(pages - done), True)
            taken = self.zcomp.taken
            self.commit(page + done, stream)
            done += taken
        return 0

    cpdef int commit(self, uint64_t page, Stream stream) except -1:
        """Store a complete run from `page` on, and give its stream back whatever happens."""
        try:
            self.slots.store(page, stream.run)
        finally:
            self.zcomp.put_stream(stream)
        return 0

    def help(self):
        """Go on a little with what is begun, long writes before the accelerator's work; False if there is nothing."""
        return self.long_writes.work() or self.zcomp.help()

    def patch_page(self, uint64_t page, Py_ssize_t skip, patch, bytearray contents=None):
        """Read, patch, compress and store one page, in one step for everybody else.

        `contents` are those of a page that is in the backing device.
        """
        if contents is None:
            contents = bytearray(PAGE_BYTES)
            self.slots.read_into(page << PAGE_SHIFT, contents, self.codecs)
        contents[skip:skip + len(patch)] = patch
        self.commit(page, self.zcomp.submit_patched_page(contents))

    def close(self):
        """Stop the streams and give all memory back. Nothing is in flight."""
        if self.read_helper is not None:
            self.read_helper.close()
        self.long_writes.close()
        self.zcomp.close()
        self.slots.close()

    def __repr__(self):
        return f"<PageStore {self.slots!r} {self.zcomp!r}>"
