# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""`submit`: the one place where requests begin, on any thread and without the GIL.

It clips a bio and cuts it into whole pages and at most two partial ones (`edges`). What is small is done at once; large
bios are worked on bit by bit (`bio_work`). `completion` ends them.
"""

from libc.errno cimport ENOSPC
from libc.stdint cimport uint8_t, uint64_t
from libc.string cimport memset

from zramfs.atomic cimport add_i64, expect_write, load_u64, peek_u64
from zramfs.block.bio cimport (
    BEGUN,
    ENDED,
    FOR_TRIO,
    HAS_MORE,
    NOTHING_FAILED,
    PAGE_IS_CORRUPT,
    PAST_THE_END,
    READ,
    WRITE,
    fail,
    has_failed,
)
from zramfs.block.bio_work cimport (
    DISCARD_PAGES,
    IN_ORDER_PAGES,
    SHARED_READ_PAGES,
    SHARE_PAGES,
    commit,
    punch_some,
    read_share,
    resume_parked,
    write_run,
    write_share,
    write_some,
)
from zramfs.block.completion cimport settle
from zramfs.block.edges cimport patch_head, patch_tail
from zramfs.block.load cimport CORRUPT, ELSEWHERE, load_range
from zramfs.block.slots cimport Codecs
from zramfs.block.store cimport discard_pages
from zramfs.clock cimport boot_time, monotonic_ns
from zramfs.page cimport PAGE_BYTES
from zramfs.zcomp.zcomp cimport Choice


cdef int submit(Disk disk, Bio *bio) noexcept nogil:
    """Begin a bio, and end it if that needs no waiting: an `Outcome`."""
    cdef uint64_t size_bytes = 0
    bio.reason = NOTHING_FAILED
    bio.error = 0
    if disk.enter(bio.channel):
        size_bytes = load_u64(&disk.size_now)  # it stays as it is until this bio has ended
        if bio.offset_bytes >= size_bytes:
            disk.leave(bio.channel)
    if bio.offset_bytes >= size_bytes:
        bio.size_bytes = 0
        bio.error = ENOSPC if bio.operation == WRITE else 0
        bio.reason = PAST_THE_END if bio.operation == WRITE else NOTHING_FAILED
        bio.end(bio)
        return ENDED
    bio.size_bytes = min(bio.size_bytes, size_bytes - bio.offset_bytes)
    bio.disk = <void *>disk
    bio.began_ns = monotonic_ns()
    bio.submitted_ns = 0
    bio.parts = 1
    bio.is_elsewhere = False
    bio.edges_done = 0
    bio.work_share = NULL
    bio.work_on = NULL
    bio.page = (bio.offset_bytes + PAGE_BYTES - 1) // PAGE_BYTES
    bio.end_page = max(bio.page, (bio.offset_bytes + bio.size_bytes) // PAGE_BYTES)
    memset(bio.pages_by_kind, 0, sizeof(bio.pages_by_kind))
    disk.counts.note_busy(bio.began_ns, False)
    if bio.channel and not disk.any_thread:
        disk.layer.inbox.push(bio)
        return FOR_TRIO
    return resume(disk, bio)


cdef int resume(Disk disk, Bio *bio) noexcept nogil:
    """Begin with what is left of a bio: on its submitter's thread, or on the event loop's, which has fetched pages."""
    if bio.operation == READ:
        return read(disk, bio)
    if bio.operation == WRITE:
        return write(disk, bio)
    return punch(disk, bio)


cdef int read(Disk disk, Bio *bio) noexcept nogil:
    cdef uint64_t whole_pages = bio.end_page - bio.page
    cdef int result
    if bio.channel and whole_pages >= SHARED_READ_PAGES and whole_pages * PAGE_BYTES == bio.size_bytes:
        bio.work_share = read_share
        bio.share_pages = SHARE_PAGES
        return begin_work(disk, bio)
    result = load_range(
        disk.table, bio.offset_bytes, bio.size_bytes, <Codecs>disk.codecs[bio.channel], bio.data, boot_time()
    )
    if result == CORRUPT:
        fail(bio, PAGE_IS_CORRUPT)
    elif result == ELSEWHERE:
        bio.is_elsewhere = True
    return settle(disk, bio)


cdef int write(Disk disk, Bio *bio) noexcept nogil:
    """Write its pages in their order: at a limit, what is stored is what the kernel's zram stores."""
    cdef bint is_async = bio.is_async
    cdef uint64_t pages = bio.end_page - bio.page
    if not patch_head(disk, bio):
        return settle(disk, bio)
    if pages == 0 or bio.is_urgent or disk.zcomp.is_nowait(pages, is_async):
        write_at_once(disk, bio)
        patch_tail(disk, bio, bio.channel)
        return settle(disk, bio)
    if disk.zcomp.prefers_managed(is_async):
        bio.work_on = write_run
        bio.waiter.call = resume_parked
        bio.waiter.ticket = 0
    elif pages <= IN_ORDER_PAGES or peek_u64(&disk.table.limit_pages_now):
        bio.work_on = write_some
    else:
        bio.work_share = write_share
        bio.share_pages = SHARE_PAGES
    return begin_work(disk, bio)


cdef int punch(Disk disk, Bio *bio) noexcept nogil:
    cdef uint64_t pages = bio.end_page - bio.page
    if not patch_head(disk, bio) or not patch_tail(disk, bio, bio.channel):
        return settle(disk, bio)
    bio.page += discard_pages(disk.table, bio.channel, bio.page, pages, DISCARD_PAGES)
    if bio.page == bio.end_page:
        return settle(disk, bio)
    bio.work_on = punch_some
    return begin_work(disk, bio)


cdef int begin_work(Disk disk, Bio *bio) noexcept nogil:
    """Have the whole pages worked on, bit by bit: by whoever comes by, or by the event loop, which asked."""
    cdef uint64_t pages = bio.end_page - bio.page
    if bio.channel == 0:
        return HAS_MORE
    if bio.work_on == NULL or pages > <uint64_t>disk.zcomp.one_go_pages():
        disk.layer.queue(bio)
    else:
        while bio.work_on(bio, bio.channel):
            pass
    return BEGUN


cdef bint go_on(Disk disk, Bio *bio, int64_t ends_ns) noexcept nogil:
    """On the event loop's thread: work on a bio that has more, until then; whether there is still more."""
    cdef uint64_t page
    while True:
        if bio.work_on != NULL:
            if not bio.work_on(bio, 0):
                return False
        else:
            page = bio.page
            bio.page = min(page + bio.share_pages, bio.end_page)
            if bio.page == bio.end_page:
                bio.work_share(bio, 0, page, bio.end_page)
                return False
            add_i64(&bio.parts, 1)
            bio.work_share(bio, 0, page, bio.page)
        if monotonic_ns() > ends_ns:
            return True


cdef void write_at_once(Disk disk, Bio *bio) noexcept nogil:
    """Write the whole pages where they are: on polled managed streams, or on the CPU."""
    cdef Choice choice
    cdef const uint8_t *first
    while bio.page < bio.end_page and not has_failed(bio):
        first = bio.data + (bio.page * PAGE_BYTES - bio.offset_bytes)
        expect_write(&disk.table.slots[bio.page])  # 0.2 µs to wait for after compression
        disk.zcomp.choose(
            first, <int>min(bio.end_page - bio.page, <uint64_t>256), bio.is_async, False, NULL, NULL, 0, &choice
        )
        commit(disk, bio, bio.page, choice.stream)
        bio.pages_by_kind[choice.kind] += choice.taken
        bio.page += choice.taken
