# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""Disk.submit: the one place that begins and ends requests, on any thread and without the GIL.

It counts and clips a bio and cuts it into whole pages and at most two partial ones; `bio_work` has what is done to the
whole pages. A disk lives as long as its device, and has a table of slots and streams while that is initialised.
"""

from libc.errno cimport EIO, ENOSPC
from libc.stdlib cimport calloc, free
from libc.string cimport memset

from zramfs.atomic cimport (
    add_i64,
    add_u64,
    check_int,
    compare_exchange_u64,
    count_u64,
    expect_write,
    fence,
    load_i64,
    load_u64,
    pause,
    peek_int,
    peek_u64,
    poke_int,
    poke_u64,
    store_int,
    store_u64,
)
from zramfs.block.bio cimport (
    BEGUN,
    CODEC_FAILED,
    ENDED,
    FOR_TRIO,
    HAS_MORE,
    HEAD,
    NOTHING_FAILED,
    NO_ROOM_LEFT,
    PAGE_IS_CORRUPT,
    PAST_THE_END,
    READ,
    TAIL,
    WRITE,
)
from zramfs.block.bio_work cimport (
    DISCARD_PAGES,
    IN_ORDER_PAGES,
    SHARE_PAGES,
    SHARED_READ_PAGES,
    commit,
    punch_some,
    read_share,
    resume_parked,
    write_run,
    write_share,
    write_some,
)
from zramfs.block.latency cimport LATENCY_BINS, edge_ns, latency_bin
from zramfs.block.load cimport CORRUPT, ELSEWHERE, LOADED, load_range
from zramfs.block.slots cimport Codecs
from zramfs.block.store cimport IS_ELSEWHERE, KEPT, NO_ROOM, NOT_LOADED, discard_pages, patch_page
from zramfs.block.trace cimport TraceRecord
from zramfs.clock cimport boot_time, monotonic_ns
from zramfs.codec.run cimport PAGE_BYTES
from zramfs.streams cimport Stream
from zramfs.threads cimport (
    pthread_mutex_destroy,
    pthread_mutex_init,
    pthread_mutex_lock,
    pthread_mutex_unlock,
    sched_yield,
)
from zramfs.zcomp.zcomp cimport Choice

from zramfs.errors import DeviceBusy

cdef enum:
    SECTOR_BYTES = 512
    NS_PER_MS = 1000000

cdef enum Life:
    CLOSED = 0      # no bio gets in
    OPEN = 1
    CLOSING = 2     # it is being found out whether anything is in flight

assert sizeof(IoCounts) == 8192


cdef void fail(Bio *bio, int reason) noexcept nogil:
    """Note why a bio fails: that which is noted last, of several."""
    poke_int(&bio.reason, reason)


cdef bint has_failed(Bio *bio) noexcept nogil:
    return peek_int(&bio.reason) != NOTHING_FAILED


cdef inline uint32_t head_bytes_of(const Bio *bio) noexcept nogil:
    """How much of a bio lies in a partial page at its head."""
    cdef uint32_t skip_bytes = bio.offset_bytes % PAGE_BYTES
    return <uint32_t>min(PAGE_BYTES - skip_bytes, bio.size_bytes) if skip_bytes else 0


cdef inline uint32_t tail_bytes_of(const Bio *bio) noexcept nogil:
    """How much of a bio lies in another partial page, at its tail."""
    return (bio.offset_bytes + bio.size_bytes) % PAGE_BYTES if head_bytes_of(bio) < bio.size_bytes else 0


cdef class Disk:
    """A disk of the layer's, closed until `open`: it has no size then, reads give nothing, and writes ENOSPC."""

    def __cinit__(self, str name not None, BlockLayer layer not None):
        self.name = name
        self.layer = layer
        pthread_mutex_init(&self.tail_lock, NULL)
        self.codecs = <void **>calloc(layer.channel_count, sizeof(void *))
        if self.codecs == NULL:
            raise MemoryError
        self.io_memory = LazyMemory(layer.channel_count * sizeof(IoCounts))
        self.io = <IoCounts *>self.io_memory.start
        self.forget_counts()

    def __dealloc__(self):
        pthread_mutex_destroy(&self.tail_lock)
        free(self.codecs)

    # ---- life -----------------------------------------------------------------------------------------------------

    def open(self, SlotTable table not None, Zcomp zcomp not None, codecs):
        """Let bios in: to these slots, by these streams. `codecs` decompress, one for each channel."""
        if len(codecs) != self.layer.channel_count or table.channel_count != self.layer.channel_count:
            raise ValueError(f"{self.layer.channel_count} channels, {len(codecs)} codecs")
        self.codecs_kept = list(codecs)
        for channel, each in enumerate(self.codecs_kept):
            self.codecs[<int>channel] = <void *>(<Codecs?>each)
        self.table = table
        self.zcomp = zcomp
        self.any_thread = zcomp.any_thread and not any([each.needs_gil for each in self.codecs_kept])
        self.layer.add_zcomp(zcomp)
        store_int(&self.life, OPEN)
        store_u64(&self.size_now, table.page_count * PAGE_BYTES)

    def close(self):
        """Let no bio in any more, and let slots and streams go; DeviceBusy while a bio is in flight.

        Whoever comes meanwhile waits for the outcome, which is known at once.
        """
        if self.life == CLOSED:
            return
        poke_int(&self.life, CLOSING)
        fence()  # before `begun` is looked at, as `enter` looks at `life` after counting
        if self.in_flight_now():
            store_int(&self.life, OPEN)
            raise DeviceBusy(f"{self.name} is in use")
        store_u64(&self.size_now, 0)
        store_int(&self.life, CLOSED)
        self.layer.remove_zcomp(self.zcomp)
        self.table = self.zcomp = None
        self.codecs_kept = None

    cdef bint enter(self, Bio *bio) noexcept nogil:
        """Count a bio as begun, and let it in if the disk is open."""
        cdef IoCounts *io = &self.io[bio.channel]
        add_u64(&io.begun, 1)
        while check_int(&self.life) == CLOSING:
            pause()
        if check_int(&self.life) == OPEN:
            return True
        add_u64(&io.ended, 1)
        return False

    # ---- requests -------------------------------------------------------------------------------------------------

    cdef int submit(self, Bio *bio) noexcept nogil:
        """Begin a bio, and end it if that needs no waiting: an `Outcome`."""
        cdef uint64_t size_bytes = 0
        bio.reason = NOTHING_FAILED
        bio.error = 0
        if self.enter(bio):
            size_bytes = load_u64(&self.size_now)  # it stays as it is until this bio has ended
            if bio.offset_bytes >= size_bytes:
                add_u64(&self.io[bio.channel].ended, 1)
        if bio.offset_bytes >= size_bytes:
            bio.size_bytes = 0
            bio.error = ENOSPC if bio.operation == WRITE else 0
            bio.reason = PAST_THE_END if bio.operation == WRITE else NOTHING_FAILED
            bio.end(bio)
            return ENDED
        bio.size_bytes = min(bio.size_bytes, size_bytes - bio.offset_bytes)
        bio.disk = <void *>self
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
        self.note_busy(bio.began_ns, False)
        if bio.channel and not self.any_thread:
            self.layer.inbox.push(bio)
            return FOR_TRIO
        return self.resume(bio)

    cdef int resume(self, Bio *bio) noexcept nogil:
        """Begin with what is left of a bio: on its submitter's thread, or on the event loop's, which has fetched pages."""
        if bio.operation == READ:
            return self.read(bio)
        if bio.operation == WRITE:
            return self.write(bio)
        return self.punch(bio)

    cdef int read(self, Bio *bio) noexcept nogil:
        cdef uint64_t whole_pages = bio.end_page - bio.page
        cdef int result
        if bio.channel and whole_pages >= SHARED_READ_PAGES and whole_pages * PAGE_BYTES == bio.size_bytes:
            bio.work_share = read_share
            bio.share_pages = SHARE_PAGES
            return self.begin_work(bio)
        result = load_range(
            self.table, bio.offset_bytes, bio.size_bytes, <Codecs>self.codecs[bio.channel], bio.data, boot_time()
        )
        if result == CORRUPT:
            fail(bio, PAGE_IS_CORRUPT)
        elif result == ELSEWHERE:
            bio.is_elsewhere = True
        return self.settle(bio)

    cdef int write(self, Bio *bio) noexcept nogil:
        """Write its pages in their order: at a limit, what is stored is what the kernel's zram stores."""
        cdef bint is_async = bio.is_async
        cdef uint64_t pages = bio.end_page - bio.page
        if not self.patch_head(bio):
            return self.settle(bio)
        if pages == 0 or bio.is_urgent or self.zcomp.is_nowait(pages, is_async):
            self.write_at_once(bio)
            self.patch_tail(bio, bio.channel)
            return self.settle(bio)
        if self.zcomp.prefers_managed(is_async):
            bio.work_on = write_run
            bio.waiter.call = resume_parked
            bio.waiter.ticket = 0
        elif pages <= IN_ORDER_PAGES or peek_u64(&self.table.limit_pages_now):
            bio.work_on = write_some
        else:
            bio.work_share = write_share
            bio.share_pages = SHARE_PAGES
        return self.begin_work(bio)

    cdef int punch(self, Bio *bio) noexcept nogil:
        cdef uint64_t pages = bio.end_page - bio.page
        if not self.patch_head(bio) or not self.patch_tail(bio, bio.channel):
            return self.settle(bio)
        bio.page += discard_pages(self.table, bio.channel, bio.page, pages, DISCARD_PAGES)
        if bio.page == bio.end_page:
            return self.settle(bio)
        bio.work_on = punch_some
        return self.begin_work(bio)

    cdef int begin_work(self, Bio *bio) noexcept nogil:
        """Have the whole pages worked on, bit by bit: by whoever comes by, or by the event loop, which asked."""
        cdef uint64_t pages = bio.end_page - bio.page
        if bio.channel == 0:
            return HAS_MORE
        if bio.work_on == NULL or pages > <uint64_t>self.zcomp.one_go_pages():
            self.layer.queue(bio)
        else:
            while bio.work_on(bio, bio.channel):
                pass
        return BEGUN

    cdef bint go_on(self, Bio *bio, int64_t ends_ns) noexcept nogil:
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

    cdef void write_at_once(self, Bio *bio) noexcept nogil:
        """Write the whole pages where they are: on polled managed streams, or on the CPU."""
        cdef Choice choice
        cdef const uint8_t *first
        while bio.page < bio.end_page and not has_failed(bio):
            first = bio.data + (bio.page * PAGE_BYTES - bio.offset_bytes)
            expect_write(&self.table.slots[bio.page])  # 0.2 µs to wait for after compression
            self.zcomp.choose(
                first, <int>min(bio.end_page - bio.page, <uint64_t>256), bio.is_async, False, NULL, NULL, 0, &choice
            )
            commit(self, bio, bio.page, choice.stream)
            bio.pages_by_kind[choice.kind] += choice.taken
            bio.page += choice.taken

    # ---- partial pages --------------------------------------------------------------------------------------------

    cdef bint patch_head(self, Bio *bio) noexcept nogil:
        """Patch the partial page at its head, if that is left to patch; False if it is in the backing device, or fails."""
        cdef uint32_t skip_bytes = bio.offset_bytes % PAGE_BYTES
        cdef uint32_t head_bytes = head_bytes_of(bio)
        cdef const uint8_t *data = bio.data if bio.operation == WRITE else NULL
        if head_bytes == 0 or bio.edges_done & HEAD:
            return True
        if not self.patch(bio, bio.channel, bio.offset_bytes // PAGE_BYTES, skip_bytes, data, head_bytes, NULL, 0):
            return False
        bio.edges_done |= HEAD
        return True

    cdef bint patch_tail(self, Bio *bio, int channel) noexcept nogil:
        """Likewise at its tail, on this channel; not after a failure."""
        cdef uint32_t tail_bytes = tail_bytes_of(bio)
        cdef uint64_t page = (bio.offset_bytes + bio.size_bytes) // PAGE_BYTES
        cdef const uint8_t *data = bio.data + (bio.size_bytes - tail_bytes) if bio.operation == WRITE else NULL
        if tail_bytes == 0 or bio.edges_done & TAIL or has_failed(bio):
            return True
        if not self.patch(bio, channel, page, 0, data, tail_bytes, NULL, 0):
            return False
        bio.edges_done |= TAIL
        return True

    cdef bint patch(
        self, Bio *bio, int channel, uint64_t page, uint32_t skip_bytes, const uint8_t *patch, uint32_t size_bytes,
        const uint8_t *contents, uint64_t block
    ) noexcept nogil:
        """Patch one page on the per-CPU stream of this CPU, whatever the policy; False if it is elsewhere, or fails."""
        cdef void *stream = self.zcomp.lock_percpu()
        cdef int result = patch_page(
            self.table, channel, page, skip_bytes, patch, size_bytes, <Codecs>self.codecs[channel],
            <Stream>stream, boot_time(), contents, block
        )
        self.zcomp.put_stream(stream)
        bio.pages_by_kind[0] += 1
        if result == IS_ELSEWHERE:
            bio.is_elsewhere = True
        elif result != KEPT:
            fail(bio, reason_of(result))
        return result == KEPT

    # ---- the end --------------------------------------------------------------------------------------------------

    cdef void end_parts(self, Bio *bio) noexcept nogil:
        """The last part of a bio's whole pages has ended, on whichever thread: patch its tail, and settle it."""
        cdef int channel = bio.channel
        if bio.operation == WRITE and tail_bytes_of(bio):
            pthread_mutex_lock(&self.tail_lock)
            self.patch_tail(bio, self.layer.channel_count - 1)
            pthread_mutex_unlock(&self.tail_lock)
        if self.settle(bio) == FOR_TRIO and channel == 0:
            self.layer.inbox.push(bio)

    cdef int settle(self, Bio *bio) noexcept nogil:
        """End a bio of which nothing is in flight; or leave it to the event loop, if a page has to be fetched.

        The event loop begins with a read anew, and goes on with a write.
        """
        if not bio.is_elsewhere or has_failed(bio):
            self.finish(bio)
            return ENDED
        bio.is_elsewhere = False
        bio.work_share = NULL
        bio.work_on = NULL
        if bio.operation == READ:
            bio.page = (bio.offset_bytes + PAGE_BYTES - 1) // PAGE_BYTES
        bio.parts = 1
        if bio.channel:
            self.layer.inbox.push(bio)
        return FOR_TRIO

    cdef void finish(self, Bio *bio) noexcept nogil:
        """Count a bio, and end it: from then on it is its submitter's, and the disk may be closed."""
        cdef IoCounts *io = &self.io[bio.channel]
        cdef int64_t now_ns = monotonic_ns()
        cdef bint is_traced = self.tracer is not None
        cdef TraceRecord record
        if has_failed(bio):
            if bio.error == 0:
                bio.error = EIO
            if bio.operation == READ:
                count_u64(&io.failed_reads, 1)
            elif bio.operation == WRITE:
                count_u64(&io.failed_writes, 1)
        count_u64(&io.bins[bio.operation][latency_bin(now_ns - bio.began_ns)], 1)
        count_u64(&io.sectors[bio.operation], bio.size_bytes // SECTOR_BYTES)
        count_u64(&io.time_ns[bio.operation], now_ns - bio.began_ns)
        self.note_busy(now_ns, True)
        if is_traced:
            self.tracer.describe(bio, now_ns, &record)
            add_i64(&self.noting, 1)
            bio.end(bio)
            record.reply_ns = monotonic_ns()
            self.tracer.note(&record)
            add_u64(&io.ended, 1)
            add_i64(&self.noting, -1)
        else:
            add_u64(&io.ended, 1)
            bio.end(bio)

    cdef void note_busy(self, int64_t now_ns, bint is_end) noexcept nogil:
        """Estimate how long a request was in flight as update_io_ticks() does: by what is, each millisecond."""
        cdef int64_t now_ms = now_ns // NS_PER_MS
        cdef uint64_t stamp_ms = peek_u64(&self.busy_stamp_ms)
        if now_ms <= <int64_t>stamp_ms or not compare_exchange_u64(&self.busy_stamp_ms, &stamp_ms, now_ms):
            return
        if is_end or self.in_flight_now() > 1:
            count_u64(&self.busy_ms_now, now_ms - <int64_t>stamp_ms)

    # ---- for the event loop -----------------------------------------------------------------------------------------

    cdef int64_t find(self, uint64_t offset_bytes, bint data) noexcept nogil:
        """The offset of the first data, or hole, at or after this one; the disksize is a hole. -1 if there is none."""
        cdef uint64_t size_bytes = load_u64(&self.size_now)
        cdef uint64_t found
        if offset_bytes >= size_bytes:
            return -1
        found = max(offset_bytes, min(self.table.find_page(offset_bytes // PAGE_BYTES, data) * PAGE_BYTES, size_bytes))
        return -1 if data and found == size_bytes else <int64_t>found

    def find_offset(self, uint64_t offset_bytes, *, bint data):
        """Return the offset of the first data, or hole, at or after `offset_bytes`; None if there is none."""
        cdef int64_t found
        with nogil:
            found = self.find(offset_bytes, data)
        return None if found < 0 else found

    def flush(self):
        """Count a flush. There is nothing to do: a write is ended only once it is stored."""
        count_u64(&self.io[0].flushes, 1)

    def read_nowait(self, uint64_t offset_bytes, uint8_t[::1] out not None):
        """Fill `out` with what is in memory, without counting a request; why not, as a `Loaded`, or 0."""
        cdef int result = LOADED
        if out.shape[0]:
            result = load_range(
                self.table, offset_bytes, out.shape[0], <Codecs>self.codecs[0], &out[0], boot_time()
            )
        return result

    @property
    def own_codecs(self):
        """The Codecs of the event loop's channel; the disk is open."""
        return self.codecs_kept[0]

    @property
    def is_open(self):
        """Whether bios get in."""
        return self.life != CLOSED

    @property
    def size_bytes(self):
        """The disksize; 0 while it is closed."""
        return load_u64(&self.size_now)

    @property
    def in_flight(self):
        """Requests that have begun, and not ended.

        One that is traced ends when its record is kept, a moment after its answer: whoever asks waits for that.
        """
        with nogil:
            while load_i64(&self.noting):
                sched_yield()
        return self.in_flight_now()

    cdef int64_t in_flight_now(self) noexcept nogil:
        cdef uint64_t begun = 0
        cdef uint64_t ended = 0
        cdef int channel
        for channel in range(self.layer.channel_count):
            ended += load_u64(&self.io[channel].ended)  # first: what begins meanwhile must not end unseen
        for channel in range(self.layer.channel_count):
            begun += load_u64(&self.io[channel].begun)
        return <int64_t>(begun - ended)

    @property
    def failed_reads(self):
        """Reads that ended with an error."""
        return sum(peek_u64(&self.io[channel].failed_reads) for channel in range(self.layer.channel_count))

    @property
    def failed_writes(self):
        """Writes that ended with an error."""
        return sum(peek_u64(&self.io[channel].failed_writes) for channel in range(self.layer.channel_count))

    @property
    def flushes(self):
        """Flushes so far."""
        return peek_u64(&self.io[0].flushes)

    @property
    def busy_ms(self):
        """How long at least one request was in flight, about (io_ticks)."""
        return peek_u64(&self.busy_ms_now)

    def finished(self, int operation):
        """Return how many requests of an Operation have ended, their sectors of 512 bytes, and their time in ns."""
        cdef uint64_t by_latency[LATENCY_BINS]
        cdef int each
        self.add_up_latencies(operation, by_latency)
        ios = sum([by_latency[each] for each in range(LATENCY_BINS)])
        sectors = sum(peek_u64(&self.io[channel].sectors[operation]) for channel in range(self.layer.channel_count))
        time_ns = sum(peek_u64(&self.io[channel].time_ns[operation]) for channel in range(self.layer.channel_count))
        return ios, sectors, time_ns

    cdef void add_up_latencies(self, int operation, uint64_t *total) noexcept nogil:
        """Requests of an Operation that have finished, by the bin of their latency: of all channels, and since ever."""
        cdef int channel, each
        memset(total, 0, LATENCY_BINS * sizeof(uint64_t))
        for channel in range(self.layer.channel_count):
            for each in range(LATENCY_BINS):
                total[each] += peek_u64(&self.io[channel].bins[operation][each])

    def latencies(self, int operation):
        """Requests of an Operation that have finished since `reset_latencies`: {latency in ns that they stayed below: how many}."""
        cdef uint64_t total[LATENCY_BINS]
        cdef int each
        self.add_up_latencies(operation, total)
        before = self.latency_before[operation]
        return {edge_ns(each + 1): total[each] - before[each] for each in range(LATENCY_BINS) if total[each] > before[each]}

    def reset_latencies(self):
        """Let `latencies` begin anew. What receivers count goes on, and nothing that they count meanwhile is lost."""
        cdef uint64_t total[LATENCY_BINS]
        cdef int operation, each
        for operation in range(3):
            self.add_up_latencies(operation, total)
            self.latency_before[operation] = [total[each] for each in range(LATENCY_BINS)]

    def requests_of(self, int channel):
        """How many requests a channel has begun: a receiver's share."""
        return peek_u64(&self.io[channel].begun)

    def forget_counts(self):
        """Begin to count anew; the disk is closed. Requests that it refuses may come and go meanwhile."""
        cdef IoCounts *io
        cdef int channel, operation, each
        self.latency_before = [[0] * LATENCY_BINS for _ in range(3)]
        for channel in range(self.layer.channel_count):
            io = &self.io[channel]
            if peek_u64(&io.begun) == 0:
                continue  # what nobody wrote to takes no memory
            for operation in range(3):
                for each in range(LATENCY_BINS):
                    poke_u64(&io.bins[operation][each], 0)
                poke_u64(&io.sectors[operation], 0)
                poke_u64(&io.time_ns[operation], 0)
            poke_u64(&io.flushes, 0)
            poke_u64(&io.failed_reads, 0)
            poke_u64(&io.failed_writes, 0)
        poke_u64(&self.busy_stamp_ms, monotonic_ns() // NS_PER_MS)
        poke_u64(&self.busy_ms_now, 0)

    def __repr__(self):
        return f"<Disk {self.name} {self.size_bytes} bytes, {self.in_flight} in flight>"


cdef int reason_of(int stored) noexcept nogil:
    """Why a bio fails whose page was not kept."""
    if stored == NO_ROOM:
        return NO_ROOM_LEFT
    return PAGE_IS_CORRUPT if stored == NOT_LOADED else CODEC_FAILED
