# cython: language_level=3, cdivision=True
"""Whole pages on their way through the streams: submitted run by run, committed as each run completes.

Compiled because every asynchronous 4K write takes this way when its accelerator has a time of its own.
"""

from functools import partial

from libc.stdint cimport uint64_t

from zramfs.bio cimport WriteBio
from zramfs.clock cimport monotonic_ns
from zramfs.device.page_store cimport PageStore
from zramfs.streams cimport Stream

cdef enum:
    PAGE_SHIFT = 12
    PAGE_BYTES = 1 << PAGE_SHIFT
    # The longest run that one stream gets: a large bio is cut, so that the first pages are committed, and their
    # descriptors free again, while the engines work on the next.
    RUN_PAGES = 64


cdef class PageWrite:
    """Stores `pages` whole pages of `data`, those from `offset_bytes` on, to the pages from `page` on.

    `on_done` is called once, when every page is stored, with None, or with the first error: then some pages may be
    stored, and none is torn. `data` stays as it is until then. `request` is its record, if there is a trace.
    """

    def __init__(
        self, PageStore store not None, data, *, uint64_t offset_bytes, uint64_t page, uint64_t pages, bint is_async, on_done,
        request=None
    ):
        self.store = store
        self.data = data
        self.offset_bytes = offset_bytes
        self.page, self.end = page, page + pages
        self.is_async = is_async
        self.on_done = on_done
        self.request = request

    cpdef bint submit_run(self):
        """Submit the next run. False if the managed stream that it needs is not free: `zcomp.when_free` tells."""
        cdef uint64_t page = self.page
        cdef Stream stream
        if self.request is not None:
            self.request.resume()
        try:
            stream = self.store.zcomp.choose(
                self.data, self.offset_bytes, <int>min(self.end - page, <uint64_t>RUN_PAGES), self.is_async, True
            )
            if stream is None:
                return False
            self.page += self.store.zcomp.taken
            self.offset_bytes += self.store.zcomp.taken * <uint64_t>PAGE_BYTES
            if stream.is_complete:
                self.store.commit(page, stream)
            else:
                self.in_flight += 1
                stream.when_complete(partial(self._commit, page, stream))
        except Exception as error:
            self.failure = self.failure or error
        if self.request is not None:
            self.request.pause()
        return True

    @property
    def has_more(self):
        """Whether there are runs left to submit. After an error there are not."""
        return self.page < self.end and self.failure is None

    cpdef submit_all(self):
        """Submit every run, now and whenever a stream is free."""
        while self.has_more:
            if not self.submit_run():
                self.store.zcomp.when_free(self.submit_all)
                return
        self.close()

    def close(self):
        """Submit nothing more; `on_done` is called when what is in flight has landed, or now."""
        self.is_submitted = True
        if self.in_flight == 0:
            self._finish()

    def _commit(self, page, Stream stream):
        try:
            self.store.commit(page, stream)
        except Exception as error:
            self.failure = self.failure or error
        self.in_flight -= 1
        if self.is_submitted and self.in_flight == 0:
            self._finish()

    def _finish(self):
        self.data = None
        on_done, self.on_done = self.on_done, None
        on_done(self.failure)

    def __repr__(self):
        return f"<PageWrite of {self.end - self.page} more pages at {self.page}, {self.in_flight} runs in flight>"


cpdef bint can_write_later(uint64_t offset_bytes, uint64_t size_bytes) noexcept:
    """Whether a bio is one for `write_later`: whole pages."""
    return (offset_bytes | size_bytes) & (PAGE_BYTES - 1) == 0


def write_later(PageStore store not None, WriteBio bio not None, on_done):
    """Begin to store a bio for which `can_write_later` holds, and return; `on_done` is `PageWrite`'s."""
    start_ns = store.accounting.begin()
    size_bytes = len(bio.data)
    request = None if store.tracer is None else store.tracer("write", size_bytes, start_ns, bio.is_async)

    def finish(failure):
        complete_ns = monotonic_ns()
        if failure is not None:
            store.accounting.failed_writes += 1
        store.accounting.end(store.accounting.write, size_bytes, start_ns)
        on_done(failure)
        if request is not None:
            request.answer(complete_ns)

    write = PageWrite(
        store,
        bio.data,
        offset_bytes=0,
        page=bio.offset_bytes >> PAGE_SHIFT,
        pages=size_bytes >> PAGE_SHIFT,
        is_async=bio.is_async,
        on_done=finish,
        request=request,
    )
    if size_bytes >> PAGE_SHIFT <= store.zcomp.one_go_pages():  # the per-CPU streams may have to compress all of it
        write.submit_all()
    else:
        store.long_writes.begin(write)
