# cython: language_level=3
"""What another package's run may lack. Each page is looked at, but not its bytes, which are the codec's business."""

from libc.stdint cimport uint64_t

from zramfs.codec.run cimport FAILED, SAME_FILLED, SCRATCH_BYTES, CompressedPage, is_same_filled
from zramfs.page cimport PAGE_BYTES

cdef enum:
    NOT_COMPRESSED = -0x7fffffff  # the length of a page that nobody has compressed yet


cdef int clear_run(CompressedRun run, int pages) noexcept:
    """Let nothing of an earlier run pass for a page of this one."""
    cdef int i
    for i in range(min(pages, run.capacity) if run is not None else 0):
        run.pages[i].page = NULL
        run.pages[i].length = NOT_COMPRESSED
    return 0


cdef str flaw_of(Stream stream, const uint8_t *source, int taken):
    """What keeps the run of the `taken` pages of `source` from being stored; None if nothing does."""
    cdef CompressedRun run = stream.run
    cdef int i
    if not stream.is_complete:
        return "the run is not complete"
    if run is None or run.count != taken or run.capacity < taken:
        return f"the run has {0 if run is None else run.count} pages of the {taken} that were taken"
    for i in range(taken):
        flaw = flaw_of_page(&run.pages[i], source + i * PAGE_BYTES)
        if flaw is not None:
            return f"page {i} of the run {flaw}"
    return None


cdef str flaw_of_page(CompressedPage *page, const uint8_t *source):
    cdef uint64_t fill
    if page.page == NULL or page.length == NOT_COMPRESSED:
        return "is not compressed yet"
    if page.page != source:
        return "is of other memory"
    if not FAILED <= page.length <= SCRATCH_BYTES or (page.length > 0 and page.data == NULL):
        return f"has the length {page.length}"
    if page.length == SAME_FILLED and not (is_same_filled(page.page, &fill) and fill == page.fill):
        return "is called same-filled, and is not"
    return None


cdef bint has_failed_pages(CompressedRun run, int taken) noexcept:
    cdef int i
    for i in range(taken):
        if run.pages[i].length == FAILED:
            return True
    return False
