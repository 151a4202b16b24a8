# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""What is done to the whole pages of a large bio, bit by bit, by whoever has time for it.

A bio of several *shares* is worked on by several threads at once, one with a `work_on` by one at a time. Its `parts`
count what has yet to end; whoever ends the last part ends the bio.
"""

from libc.stdint cimport uint8_t

from zramfs.atomic cimport add_i64, count_u64, expect_write, poke_int
from zramfs.block.bio cimport CODEC_FAILED, NO_ROOM_LEFT, PAGE_IS_CORRUPT, fail, has_failed
from zramfs.block.completion cimport end_parts
from zramfs.block.disk cimport Disk
from zramfs.block.load cimport CORRUPT, LOADED, load_page
from zramfs.block.slots cimport Codecs
from zramfs.block.store cimport KEPT, NO_ROOM, discard_pages, store_run
from zramfs.clock cimport BootTime, boot_time, monotonic_ns
from zramfs.page cimport PAGE_BYTES
from zramfs.streams cimport Stream
from zramfs.zcomp.zcomp cimport BEGUN_RUN, HAS_TO_WAIT, PERCPU, Choice, Zcomp


cdef void release_part(Bio *bio) noexcept nogil:
    """Count a part as ended. After the last one the bio is its submitter's, or the event loop's."""
    if add_i64(&bio.parts, -1) == 0:
        end_parts(<Disk>bio.disk, bio)


cdef inline const uint8_t *data_of(Bio *bio, uint64_t page) noexcept nogil:
    return bio.data + (page * PAGE_BYTES - bio.offset_bytes)


cdef void commit(Disk disk, Bio *bio, uint64_t page, void *stream) noexcept nogil:
    """Store a complete run from `page` on, and put its stream."""
    cdef int result = store_run(disk.table, bio.channel, page, (<Stream>stream).run, boot_time())
    disk.zcomp.put_stream(stream)
    if result != KEPT:
        fail(bio, NO_ROOM_LEFT if result == NO_ROOM else CODEC_FAILED)


# ---- shares -------------------------------------------------------------------------------------------------------


cdef void read_share(Bio *bio, int channel, uint64_t page, uint64_t end_page) noexcept nogil:
    """Load some pages of a read."""
    load_share(<Disk>bio.disk, bio, <Codecs>(<Disk>bio.disk).codecs[channel], page, end_page)
    release_part(bio)


cdef inline void load_share(Disk disk, Bio *bio, Codecs codecs, uint64_t page, uint64_t end_page) noexcept nogil:
    cdef BootTime now = boot_time()
    cdef int result
    while page < end_page and not has_failed(bio):
        result = load_page(disk.table, page, codecs, <uint8_t *>data_of(bio, page), now)
        if result == CORRUPT:
            fail(bio, PAGE_IS_CORRUPT)
        elif result != LOADED:
            poke_int(&bio.is_elsewhere, True)
            return
        page += 1


cdef void write_share(Bio *bio, int channel, uint64_t page, uint64_t end_page) noexcept nogil:
    """Write some pages on the per-CPU stream of this CPU."""
    compress_share(<Disk>bio.disk, bio, page, end_page)
    release_part(bio)


cdef inline void compress_share(Disk disk, Bio *bio, uint64_t page, uint64_t end_page) noexcept nogil:
    cdef Choice choice
    while page < end_page and not has_failed(bio):
        expect_write(&disk.table.slots[page])
        disk.zcomp.choose(data_of(bio, page), <int>(end_page - page), bio.is_async, False, NULL, NULL, 0, &choice)
        commit(disk, bio, page, choice.stream)
        count_u64(&bio.pages_by_kind[choice.kind], choice.taken)
        page += choice.taken


# ---- one at a time ------------------------------------------------------------------------------------------------


cdef bint write_run(Bio *bio, int channel) noexcept nogil:
    """Submit the next run of a write that prefers managed streams; whether there is more to submit now.

    A write that has to wait for a stream is parked: the bio is then whoever's who frees one. The part of the run that
    found none ends only when this thread has left the manager, which goes with its disk, if nothing is in flight.
    """
    return submit_run(<Disk>bio.disk, bio)


cdef inline bint submit_run(Disk disk, Bio *bio) noexcept nogil:
    cdef Choice choice
    cdef int pages = <int>min(bio.end_page - bio.page, <uint64_t>RUN_PAGES)
    cdef int answer
    cdef bint is_parked
    add_i64(&bio.parts, 1)
    add_i64(&disk.layer.runs_in_flight, 1)
    answer = disk.zcomp.choose(
        data_of(bio, bio.page), pages, bio.is_async, True, end_run, <void *>bio, bio.page, &choice
    )
    if answer == HAS_TO_WAIT:
        add_i64(&disk.layer.runs_in_flight, -1)
        is_parked = disk.zcomp.await_stream(&bio.waiter)
        release_part(bio)
        return not is_parked
    if answer != BEGUN_RUN:
        commit(disk, bio, bio.page, choice.stream)
        if choice.kind == PERCPU and bio.waiter.ticket:
            bio.waiter.ticket = 0
            pass_stream_on(disk.zcomp)
        add_i64(&disk.layer.runs_in_flight, -1)
        add_i64(&bio.parts, -1)
    count_u64(&bio.pages_by_kind[choice.kind], choice.taken)
    bio.page += choice.taken
    if bio.page < bio.end_page and not has_failed(bio):
        return True
    bio.submitted_ns = monotonic_ns()
    release_part(bio)
    return False


cdef inline void pass_stream_on(Zcomp zcomp) noexcept nogil:
    """Call the next who waits, in place of one that was called and wants no stream: the policy has changed meanwhile.

    Otherwise the manager would keep one for it, and if nothing were in flight those behind it would wait for ever.
    """
    cdef void *stream = zcomp.manager.take_stream()
    if stream != NULL:
        zcomp.manager.give_stream(stream)


cdef void end_run(void *stream) noexcept nogil:
    """A managed run is complete: commit it."""
    cdef Bio *bio = <Bio *>(<Stream>stream).owner
    end_run_of(<Disk>bio.disk, bio, (<Stream>stream).page, stream)


cdef inline void end_run_of(Disk disk, Bio *bio, uint64_t page, void *stream) noexcept nogil:
    add_i64(&disk.layer.runs_in_flight, -1)
    commit(disk, bio, page, stream)
    release_part(bio)


cdef void resume_parked(Waiter *waiter) noexcept nogil:
    """Submit the runs of a parked write where a stream was freed: by the time that anybody else looked, others would
    have it."""
    cdef Bio *bio = <Bio *>(<char *>waiter - <size_t>&(<Bio *>NULL).waiter)
    while write_run(bio, bio.channel):
        pass


cdef bint write_some(Bio *bio, int channel) noexcept nogil:
    """Write the next pages on per-CPU streams, in their order; whether there are more."""
    cdef uint64_t page = bio.page
    bio.page = min(page + SHARE_PAGES, bio.end_page)
    compress_share(<Disk>bio.disk, bio, page, bio.page)
    if bio.page < bio.end_page and not has_failed(bio):
        return True
    release_part(bio)
    return False


cdef bint punch_some(Bio *bio, int channel) noexcept nogil:
    """Free the next pages of a punched range; whether there are more."""
    bio.page += discard_pages((<Disk>bio.disk).table, bio.channel, bio.page, bio.end_page - bio.page, DISCARD_PAGES)
    if bio.page < bio.end_page:
        return True
    release_part(bio)
    return False
