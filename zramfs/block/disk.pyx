# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""A disk: the slots and streams that it has while it is initialised, and who is let in to them.

It lives as long as its device. `submission` begins its bios, `completion` ends them.
"""

from libc.stdint cimport uint8_t
from libc.stdlib cimport calloc, free

from zramfs.atomic cimport (
    add_u64,
    check_int,
    count_u64,
    fence,
    load_i64,
    load_u64,
    pause,
    poke_int,
    store_int,
    store_u64,
)
from zramfs.block.load cimport LOADED, load_range
from zramfs.block.slots cimport Codecs
from zramfs.clock cimport boot_time
from zramfs.page cimport PAGE_BYTES
from zramfs.threads cimport pthread_mutex_destroy, pthread_mutex_init, sched_yield

from zramfs.errors import DeviceBusy

cdef enum Life:
    CLOSED = 0      # no bio gets in
    OPEN = 1
    CLOSING = 2     # it is being found out whether anything is in flight


cdef class Disk:
    """A disk of the layer's, closed until `open`: it has no size then, reads give nothing, and writes ENOSPC."""

    def __cinit__(self, str name not None, BlockLayer layer not None):
        self.name = name
        self.layer = layer
        self.counts = IoCounts(layer.channel_count)
        pthread_mutex_init(&self.tail_lock, NULL)
        self.codecs = <void **>calloc(layer.channel_count, sizeof(void *))
        if self.codecs == NULL:
            raise MemoryError

    def __dealloc__(self):
        pthread_mutex_destroy(&self.tail_lock)
        free(self.codecs)

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
        if self.counts.in_flight():
            store_int(&self.life, OPEN)
            raise DeviceBusy(f"{self.name} is in use")
        store_u64(&self.size_now, 0)
        store_int(&self.life, CLOSED)
        self.layer.remove_zcomp(self.zcomp)
        self.table = self.zcomp = None
        self.codecs_kept = None

    cdef bint enter(self, int channel) noexcept nogil:
        """Count a bio as begun, and let it in if the disk is open. It is in flight until `leave`."""
        add_u64(&self.counts.channels[channel].begun, 1)
        while check_int(&self.life) == CLOSING:
            pause()
        if check_int(&self.life) == OPEN:
            return True
        self.leave(channel)
        return False

    cdef void leave(self, int channel) noexcept nogil:
        """Count a bio as ended: the disk may be closed from then on."""
        add_u64(&self.counts.channels[channel].ended, 1)

    # ---- what it has ------------------------------------------------------------------------------------------------

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
        count_u64(&self.counts.channels[0].flushes, 1)

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
        return self.counts.in_flight()

    def __repr__(self):
        return f"<Disk {self.name} {self.size_bytes} bytes, {self.in_flight} in flight>"
