# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""A disk's requests as numbers: how many came and went, how much they moved, how long they took, and how many failed.

Each channel counts in memory of its own, so whoever counts waits for nobody; whoever asks adds the channels up.
"""

from libc.string cimport memset

from zramfs.atomic cimport compare_exchange_u64, count_u64, load_u64, peek_u64, poke_u64
from zramfs.block.bio cimport READ, WRITE
from zramfs.block.latency cimport edge_ns, latency_bin
from zramfs.clock cimport monotonic_ns

cdef enum:
    OPERATIONS = 3
    SECTOR_BYTES = 512
    NS_PER_MS = 1000000

assert sizeof(ChannelCounts) == 8192


cdef class IoCounts:
    """The counts of so many channels, all of them 0."""

    def __cinit__(self, int channel_count):
        self.channel_count = channel_count
        self.memory = LazyMemory(channel_count * sizeof(ChannelCounts))
        self.channels = <ChannelCounts *>self.memory.start
        self.forget()

    cdef void finish(self, const Bio *bio, int64_t now_ns) noexcept nogil:
        """Count a bio that is complete; it is still in flight."""
        cdef ChannelCounts *counts = &self.channels[bio.channel]
        if bio.error:
            if bio.operation == READ:
                count_u64(&counts.failed_reads, 1)
            elif bio.operation == WRITE:
                count_u64(&counts.failed_writes, 1)
        count_u64(&counts.bins[bio.operation][latency_bin(now_ns - bio.began_ns)], 1)
        count_u64(&counts.sectors[bio.operation], bio.size_bytes // SECTOR_BYTES)
        count_u64(&counts.time_ns[bio.operation], now_ns - bio.began_ns)
        self.note_busy(now_ns, True)

    cdef void note_busy(self, int64_t now_ns, bint is_end) noexcept nogil:
        """Estimate how long a request was in flight as update_io_ticks() does: by what is, each millisecond."""
        cdef int64_t now_ms = now_ns // NS_PER_MS
        cdef uint64_t stamp_ms = peek_u64(&self.busy_stamp_ms)
        if now_ms <= <int64_t>stamp_ms or not compare_exchange_u64(&self.busy_stamp_ms, &stamp_ms, now_ms):
            return
        if is_end or self.in_flight() > 1:
            count_u64(&self.busy_ms_now, now_ms - <int64_t>stamp_ms)

    cdef int64_t in_flight(self) noexcept nogil:
        """How many requests have begun, and not ended."""
        cdef uint64_t begun = 0
        cdef uint64_t ended = 0
        cdef int channel
        for channel in range(self.channel_count):
            ended += load_u64(&self.channels[channel].ended)  # first: what begins meanwhile must not end unseen
        for channel in range(self.channel_count):
            begun += load_u64(&self.channels[channel].begun)
        return <int64_t>(begun - ended)

    cdef void add_up_latencies(self, int operation, uint64_t *total) noexcept nogil:
        """Requests of an Operation that have finished, by the bin of their latency: of all channels, and since ever."""
        cdef int channel, each
        memset(total, 0, LATENCY_BINS * sizeof(uint64_t))
        for channel in range(self.channel_count):
            for each in range(LATENCY_BINS):
                total[each] += peek_u64(&self.channels[channel].bins[operation][each])

    # ---- for the event loop -----------------------------------------------------------------------------------------

    @property
    def failed_reads(self):
        """Reads that ended with an error."""
        return sum(peek_u64(&self.channels[channel].failed_reads) for channel in range(self.channel_count))

    @property
    def failed_writes(self):
        """Writes that ended with an error."""
        return sum(peek_u64(&self.channels[channel].failed_writes) for channel in range(self.channel_count))

    @property
    def flushes(self):
        """Flushes so far."""
        return peek_u64(&self.channels[0].flushes)

    @property
    def busy_ms(self):
        """How long at least one request was in flight, about (io_ticks)."""
        return peek_u64(&self.busy_ms_now)

    def begun_by(self, int channel):
        """Return how many requests a channel has begun; only tests ask."""
        return peek_u64(&self.channels[channel].begun)

    def finished(self, int operation):
        """Return how many requests of an Operation have ended, their sectors of 512 bytes, and their time in ns."""
        cdef uint64_t by_latency[LATENCY_BINS]
        cdef int each
        self.add_up_latencies(operation, by_latency)
        ios = sum([by_latency[each] for each in range(LATENCY_BINS)])
        sectors = sum(peek_u64(&self.channels[channel].sectors[operation]) for channel in range(self.channel_count))
        time_ns = sum(peek_u64(&self.channels[channel].time_ns[operation]) for channel in range(self.channel_count))
        return ios, sectors, time_ns

    def latencies(self, int operation):
        """Requests of an Operation since `reset_latencies`: how many stayed below each latency in ns, if any did."""
        cdef uint64_t total[LATENCY_BINS]
        cdef int each
        self.add_up_latencies(operation, total)
        before = self.latency_before[operation]
        since = [total[each] - before[each] for each in range(LATENCY_BINS)]
        return {edge_ns(each + 1): count for each, count in enumerate(since) if count}

    def reset_latencies(self):
        """Let `latencies` begin anew. What receivers count goes on, and nothing that they count meanwhile is lost."""
        cdef uint64_t total[LATENCY_BINS]
        cdef int operation, each
        for operation in range(OPERATIONS):
            self.add_up_latencies(operation, total)
            self.latency_before[operation] = [total[each] for each in range(LATENCY_BINS)]

    def forget(self):
        """Begin to count anew; the disk is closed. Requests that it refuses may come and go meanwhile."""
        cdef ChannelCounts *counts
        cdef int channel, operation, each
        self.latency_before = [[0] * LATENCY_BINS for _ in range(OPERATIONS)]
        for channel in range(self.channel_count):
            counts = &self.channels[channel]
            if peek_u64(&counts.begun) == 0 and peek_u64(&counts.flushes) == 0:
                continue  # what nobody wrote to takes no memory
            for operation in range(OPERATIONS):
                for each in range(LATENCY_BINS):
                    poke_u64(&counts.bins[operation][each], 0)
                poke_u64(&counts.sectors[operation], 0)
                poke_u64(&counts.time_ns[operation], 0)
            poke_u64(&counts.flushes, 0)
            poke_u64(&counts.failed_reads, 0)
            poke_u64(&counts.failed_writes, 0)
        poke_u64(&self.busy_stamp_ms, monotonic_ns() // NS_PER_MS)
        poke_u64(&self.busy_ms_now, 0)

    def __repr__(self):
        return f"<IoCounts of {self.channel_count} channels, {self.in_flight()} in flight>"
