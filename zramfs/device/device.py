"""A zram device: its life from disksize to reset, its settings, and the upkeep of its pages.

Its disk takes the requests (`block/`), on any thread; what is here belongs to the event loop.
"""

import errno
import logging
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Final

import trio

from zramfs.abi import NEWEST, ZramAbi
from zramfs.block.disk import Disk
from zramfs.block.request import Request
from zramfs.block.scan import describe_some, described_bytes, mark_idle_some
from zramfs.block.slots import Codecs, SlotTable
from zramfs.contracts import Accelerator, AlgorithmParams, Backend, StreamPolicy
from zramfs.device.algorithms import PRIMARY, ActiveAlgorithm, Algorithms, codecs_of_channels, release_secondaries
from zramfs.device.lineage import OwnMount
from zramfs.device.recompression import Recompression, recompress
from zramfs.device.serving import BioServer
from zramfs.device.statistics import (
    IoStat,
    LimitStat,
    MmStat,
    RequestCounts,
    latencies,
    request_counts,
    total_times_ns,
)
from zramfs.device.trace import RequestTrace
from zramfs.device.writeback import Selection, Writeback
from zramfs.errors import DeviceBusy, Interrupted, InvalidValue, NotInitialised, NotSupported, ReadOnlyDevice, ZramError
from zramfs.latencies import Latencies
from zramfs.units import PAGE_SIZE, BytesLike, format_bytes, round_up_to_page
from zramfs.zcomp.statistics import StreamStatistics
from zramfs.zcomp.zcomp import PercpuStream, Zcomp

_log: Final = logging.getLogger(__name__)

_COMPACT_SLICE_OBJECTS: Final = 512
"""Objects moved before others have their turn: about 0.2 ms."""

_MAX_DISKSIZE: Final = 1 << 60
"""Bytes. The tables of a larger one cannot be had anyway; up to here all numbers of it fit."""


@dataclass(slots=True)
class DeviceConfig:
    """What can be set before a device is initialised; reset puts the kernel's defaults back."""

    backend: Backend
    accelerator: Accelerator | None
    mem_limit_pages: int = 0
    policy: StreamPolicy = StreamPolicy.AUTO
    abi: ZramAbi = NEWEST
    """Which kernel's rules it keeps; reset leaves that as it is."""
    is_read_only: bool = False


class ZramDevice:
    """One zram device. All methods belong to the event loop.

    `server` goes on with the bios that receivers leave to the event loop, and has the layer that the disk is of.
    `nursery` runs what the streams need in the background, `config` is what the device starts with. Every request is
    noted in `trace`, if there is one. `own_mount` is where it shows, if it does: it must not be backed by that.
    """

    def __init__(
        self,
        name: str,
        *,
        server: BioServer,
        nursery: trio.Nursery,
        config: DeviceConfig,
        trace: RequestTrace | None = None,
        own_mount: OwnMount | None = None,
    ) -> None:
        self.name = name
        self.disk = Disk(name, server.layer)
        """Its pages and their requests; it lives as long as the device, and is open while that is initialised."""
        self._server = server
        self._trace = trace
        self._nursery = nursery
        self._config = config
        self.algorithms = Algorithms(config.backend)
        """What compresses its pages: chosen by priority, with parameters."""
        self.active_algorithms: Mapping[int, ActiveAlgorithm] = {}
        """Those set up, by priority; none until it is initialised."""
        self._secondary_streams: Mapping[int, PercpuStream] = {}
        self._streams_before = StreamStatistics()
        """What they had done when `reset_stream_statistics` was called."""
        self._times_before_ns: Mapping[str, int] = {}
        """How long requests had taken when `reset_latencies` was called."""
        self.writeback = Writeback(own_mount or OwnMount(), config.abi)
        """Its backing device, and what may be written to it."""
        self._post_processing = trio.Lock()
        self._interruption = trio.CancelScope()
        self.openers = 0
        """How many have the block file open; a loop device is one."""
        self.block_device = "0:0"
        """major:minor of the block device that stands for it in the kernel, if one does."""
        self._awaiting_last_release = trio.lowlevel.ParkingLot()

    # ---- state --------------------------------------------------------------------------------------------------

    @property
    def is_initialised(self) -> bool:
        """Whether it has a disksize."""
        return self.disk.is_open

    @property
    def disksize(self) -> int:
        """Size in bytes; 0 until it is initialised."""
        return self.disk.size_bytes

    @property
    def backend(self) -> Backend:
        """The primary algorithm, in use or that will be."""
        return self.algorithms.backends[PRIMARY]

    @property
    def abi(self) -> ZramAbi:
        """Which kernel's rules it keeps."""
        return self._config.abi

    @property
    def is_read_only(self) -> bool:
        """Whether nobody can write."""
        return self._config.is_read_only

    @property
    def policy(self) -> StreamPolicy:
        """Which streams writes use."""
        return self._config.policy

    @property
    def manager_error(self) -> str:
        """Why there are no managed streams though they were wanted; empty otherwise."""
        return self.disk.zcomp.manager_error if self.is_initialised else ""

    @property
    def lock_waits(self) -> int:
        """How often a thread waited for a lock of its slots, its pool or its streams."""
        table, zcomp = self.disk.table, self.disk.zcomp
        return table.lock_waits + table.pool.lock_waits() + zcomp.lock_waits() if self.is_initialised else 0

    def initialise(self, disksize: int) -> None:
        """Give the device its size, rounded up to a page, and set its streams up (disksize_store)."""
        if self.is_initialised:
            raise DeviceBusy(f"{self.name} is initialised already")
        if self._post_processing.locked():
            raise DeviceBusy(f"{self.name} is being given a backing device")
        if disksize <= 0:
            raise InvalidValue(f"{disksize} is not a size for {self.name}")
        table = self._make_table(round_up_to_page(disksize) // PAGE_SIZE)
        zcomp, codecs = self._activate_algorithms()
        if self._trace is not None:
            self.disk.tracer = self._trace.tracer(self.name)
        self._server.add(self.disk, self.writeback)
        self.disk.open(table, zcomp, codecs)
        self._nursery.start_soon(zcomp.serve_completions, name=f"{self.name} completions")
        self._nursery.start_soon(self._report_limit, table, name=f"{self.name} mem_limit")

    def _make_table(self, page_count: int) -> SlotTable:
        if page_count > _MAX_DISKSIZE // PAGE_SIZE:
            size_bytes = page_count * PAGE_SIZE
            raise _NoAddressSpace(f"{self.name}: there is no address space for the tables of {size_bytes} bytes")
        try:
            return SlotTable(
                page_count,
                self._config.mem_limit_pages,
                self.writeback.blocks,
                self._server.layer.channel_count,
                in_fractions=not self.abi.counts_access_in_seconds,
            )
        except MemoryError as error:
            raise _NoAddressSpace(f"{self.name}: {error}") from error

    def _activate_algorithms(self) -> tuple[Zcomp, list[Codecs]]:
        """Set the algorithms up; the primary one's streams, and what decompresses on each channel.

        InvalidValue for parameters that one of them cannot take.
        """
        active = self.algorithms.activate_secondaries()
        zcomp: Zcomp | None = None
        try:
            zcomp = Zcomp(
                self.backend,
                algorithm_params=self.algorithms.params(PRIMARY),
                accelerator=self._config.accelerator,
                policy=self._config.policy,
            )
            streams = {priority: PercpuStream(each.codec) for priority, each in active.items()}
            active = {PRIMARY: ActiveAlgorithm(zcomp.backend, zcomp.params, zcomp.codec), **active}
            codecs = codecs_of_channels(active, self._server.layer.channel_count)
        except BaseException:
            if zcomp is not None:
                zcomp.close()
            release_secondaries(active)
            raise
        self.active_algorithms, self._secondary_streams = active, streams
        return zcomp, codecs

    def reset(self) -> None:
        """Forget everything and give the memory back (zram_reset_device); DeviceBusy while anybody has it open.

        ReadOnlyDevice if it is that: its readers' contents stay.
        """
        if self.is_read_only:
            raise ReadOnlyDevice(f"{self.name} is read-only")
        self.require_unused()
        self.close()
        self.algorithms.reset()
        self._config.mem_limit_pages = 0
        self.disk.forget_counts()
        self._times_before_ns = {}

    def require_unused(self) -> None:
        """Return if nobody has it open, and nothing is being done to its pages; or DeviceBusy."""
        if self.openers or self.disk.in_flight or self._post_processing.locked():
            raise DeviceBusy(f"{self.name} is in use")

    def close(self) -> None:
        """Stop the streams and give all memory back; DeviceBusy while a request is in flight."""
        if self.is_initialised:
            table, zcomp = self.disk.table, self.disk.zcomp
            self.disk.close()
            trio.lowlevel.notify_closing(table.limit_fd)
            self._server.remove(self.disk)
            zcomp.close()
            table.close()
            release_secondaries(self.active_algorithms)
            self.active_algorithms = {}
            self._secondary_streams = {}
            self._streams_before = StreamStatistics()
            if self._trace is not None and self.disk.tracer is not None:
                self._trace.forget(self.disk.tracer)
                self.disk.tracer = None
        self.writeback.reset()

    def open(self) -> None:
        """Note that somebody opened the block file."""
        self.openers += 1

    def release(self) -> None:
        """Note that somebody closed it."""
        self.openers -= 1
        if self.openers == 0:
            self._awaiting_last_release.unpark_all()

    async def wait_for_last_release(self) -> None:
        """Return when nobody has it open."""
        while self.openers:
            await self._awaiting_last_release.park()

    # ---- settings -----------------------------------------------------------------------------------------------

    def set_backend(self, backend: Backend, priority: int = PRIMARY) -> None:
        """Choose the primary algorithm, or one to recompress with; only before the device is initialised."""
        if self.is_initialised:
            raise DeviceBusy(f"{self.name} is initialised: its algorithms cannot change")
        self.algorithms.choose(priority, backend)
        if self.abi.resets_params_with_algorithm:
            self.algorithms.set_params(priority, AlgorithmParams())

    def set_policy(self, policy: StreamPolicy) -> None:
        """Choose which streams writes use, from the next write on."""
        self._config.policy = policy
        if self.is_initialised:
            self.disk.zcomp.policy = policy

    def set_mem_limit(self, limit_bytes: int) -> None:
        """Limit the pool's memory, rounded up to a page; 0 for no limit. Holds from the next write on."""
        self._config.mem_limit_pages = round_up_to_page(limit_bytes) // PAGE_SIZE
        if self.is_initialised:
            self.disk.table.limit_pages = self._config.mem_limit_pages
            self.disk.table.rearm_limit()

    async def _report_limit(self, table: SlotTable) -> None:
        """Log that mem_limit keeps pages out: once, until another limit is set or its hits are counted anew."""
        with suppress(trio.ClosedResourceError):
            while table.limit_fd >= 0:
                await trio.lowlevel.wait_readable(table.limit_fd)
                table.heed_limit()
                limit = format_bytes(self._config.mem_limit_pages * PAGE_SIZE)
                _log.warning("%s: mem_limit (%s) is reached; writes that need more memory fail (EIO)", self.name, limit)

    def reset_mem_used_max(self) -> None:
        """Let the peak be what is used now."""
        if self.is_initialised:
            self.disk.table.reset_peak()

    async def compact(self) -> None:
        """Move objects together and give the memory that falls empty back; others have their turn between."""
        table = self._initialised().table
        while self.is_initialised and table.compact_some(_COMPACT_SLICE_OBJECTS):
            await trio.lowlevel.checkpoint()

    async def mark_idle(self, age_s: int | None = None) -> None:
        """Mark pages idle that were not accessed for `age_s` seconds, or all; others have their turn between."""
        table = self._initialised().table
        page = 0
        while self.is_initialised and page < table.page_count:
            page = mark_idle_some(table, page, age_s)
            await trio.lowlevel.checkpoint()

    async def choose_backing(self, path: str | None) -> None:
        """Choose the backing device, or none; only before the device is initialised, which it cannot be meanwhile."""
        async with self._post_processing:
            if self.is_initialised:
                raise DeviceBusy(f"{self.name} is initialised: its backing device cannot change")
            await self.writeback.choose_backing(path)

    def compress_writeback(self, *, wanted: bool) -> None:
        """Have objects written back as they are, or decompressed; only before the device is initialised."""
        if self.is_initialised:
            raise DeviceBusy(f"{self.name} is initialised: its pages are written back in one form")
        self.writeback.is_compressed = wanted

    async def write_back(self, selections: Sequence[Selection]) -> None:
        """Move the selected pages to the backing device (`Writeback.write_back`)."""
        async with self._alone():
            await self.writeback.write_back(self._initialised(), selections)

    @property
    def secondaries(self) -> Mapping[int, Backend]:
        """The algorithms of recompression, by priority."""
        return {priority: each for priority, each in self.algorithms.backends.items() if priority != PRIMARY}

    async def recompress(self, wanted: Recompression) -> None:
        """Make objects smaller by the algorithms of recompression (`recompress`)."""
        async with self._alone():
            await recompress(self._initialised(), self._secondary_streams, wanted)

    @asynccontextmanager
    async def _alone(self) -> AsyncIterator[None]:
        """Let one post-processing run at a time; Interrupted if it does not come to its end."""
        async with self._post_processing:
            with trio.CancelScope() as self._interruption:
                yield
            if self._interruption.cancelled_caught:
                raise Interrupted(f"{self.name}: the daemon ends")

    def interrupt(self) -> None:
        """End the post-processing that runs after the pages that it has in hand."""
        self._interruption.cancel()

    def abandon_waiting(self) -> None:
        """Let nobody wait any more: software does the work of streams, and the backing device's waiters get EIO."""
        if self._config.accelerator is not None:
            self._config.accelerator.abandon()
        if self.is_initialised:
            self.disk.zcomp.abandon()
        self.writeback.abandon()

    def block_state(self) -> Iterator[str]:
        """Tell of each page in use, in the kernel's lines, some pages at a time."""
        page = 0
        while page * PAGE_SIZE < self.disksize:
            lines, page = describe_some(self._initialised().table, page)
            yield lines

    def block_state_bytes(self) -> int:
        """How long the text of `block_state` is."""
        return described_bytes(self._initialised().table) if self.is_initialised else 0

    # ---- the event loop's own requests --------------------------------------------------------------------------

    async def read(self, offset_bytes: int, out: bytearray | memoryview) -> int:
        """Fill `out` with what is stored from `offset_bytes` on; how many bytes of it lie before the end.

        Raises CorruptPage or BackingDeviceFailed.
        """
        return await self._server.perform(self._initialised(), Request("read", offset_bytes, out))

    async def write(self, offset_bytes: int, data: BytesLike, *, is_async: bool = False) -> int:
        """Store what lies before the end, and return how many bytes that is; PastTheEnd if all lies behind it.

        After any other ZramError some pages may be stored, and none is torn. `is_async`: nobody waits for this write by
        itself, so that it may take a managed stream.
        """
        return await self._server.perform(self._initialised(), Request("write", offset_bytes, data, is_async=is_async))

    async def punch(self, offset_bytes: int, size_bytes: int) -> int:
        """Let the range read as zeros, as a file's hole does: whole pages are freed, partial ones are zeroed."""
        return await self._server.perform(self._initialised(), Request("punch", offset_bytes, size_bytes=size_bytes))

    def find(self, offset_bytes: int, *, data: bool) -> int | None:
        """Return the offset of the first data, or hole, at or after `offset_bytes`; None if there is none."""
        return self._initialised().find_offset(offset_bytes, data=data)

    def flush(self) -> None:
        """Count a flush. There is nothing to do: a write is acknowledged only once it is stored."""
        self.disk.flush()

    def _initialised(self) -> Disk:
        if not self.is_initialised:
            raise NotInitialised(f"{self.name} is not initialised")
        return self.disk

    # ---- statistics ---------------------------------------------------------------------------------------------

    def mm_stat(self) -> MmStat:
        """Memory, in the kernel's terms; zeros on an uninitialised device, but for the limit."""
        limit_bytes = self._config.mem_limit_pages * PAGE_SIZE
        table = self.disk.table
        if table is None:
            return MmStat(0, 0, 0, limit_bytes, 0, 0, 0, 0, 0)
        return MmStat(
            orig_data_size=table.stored_pages * PAGE_SIZE,
            compr_data_size=table.compressed_bytes,
            mem_used_total=table.used_pages * PAGE_SIZE,
            mem_limit=limit_bytes,
            mem_used_max=table.peak_pages * PAGE_SIZE,
            same_pages=table.same_pages,
            pages_compacted=table.compacted_pages,
            huge_pages=table.huge_pages,
            huge_pages_since=table.huge_pages_since,
        )

    def io_stat(self) -> IoStat:
        """Failures, and pages freed by discards."""
        freed = self.disk.table.freed_notifications if self.is_initialised else 0
        return IoStat(self.disk.failed_reads, self.disk.failed_writes, freed)

    def request_counts(self) -> RequestCounts:
        """Requests so far, by kind, and those in flight."""
        return request_counts(self.disk)

    def latencies(self) -> dict[str, Latencies]:
        """How long requests took, by operation."""
        return latencies(self.disk, self._times_before_ns)

    def reset_latencies(self) -> None:
        """Let `latencies` begin anew."""
        self.disk.reset_latencies()
        self._times_before_ns = total_times_ns(self.disk)

    def limit_stat(self) -> LimitStat:
        """What mem_limit does; no hits on an uninitialised device."""
        memory = self.mm_stat()
        hits = self.disk.table.limit_hits if self.is_initialised else 0
        return LimitStat(memory.mem_limit, memory.mem_used_total, hits)

    def reset_limit_hits(self) -> None:
        """Count them anew, and log the next one."""
        if self.is_initialised:
            self.disk.table.reset_limit_hits()
            self.disk.table.rearm_limit()

    def stream_statistics(self) -> StreamStatistics:
        """Pages by kind of stream; zeros on an uninitialised device."""
        return self.disk.zcomp.statistics().since(self._streams_before) if self.is_initialised else StreamStatistics()

    def reset_stream_statistics(self) -> None:
        """Let the counts of `stream_statistics` begin anew."""
        if self.is_initialised:
            self._streams_before = self.disk.zcomp.statistics()

    @property
    def accelerator(self) -> Accelerator | None:
        """The accelerator, whether the device is initialised or not."""
        return self._config.accelerator

    def accelerator_statistics(self) -> Mapping[str, float]:
        """What the accelerator did since the device was initialised; empty without one."""
        return self.disk.zcomp.accelerator_statistics() if self.is_initialised else {}

    def reset_accelerator_statistics(self) -> None:
        """Let them begin anew; NotSupported if the streams are another package's."""
        if self.is_initialised and not self.disk.zcomp.reset_accelerator_statistics():
            raise NotSupported(f"the streams of {self.name} cannot count anew")

    def __repr__(self) -> str:
        state = f"{self.disksize} bytes" if self.is_initialised else "uninitialised"
        return f"<ZramDevice {self.name} {state}, {self.openers} openers, {self.disk.in_flight} in flight>"


class _NoAddressSpace(ZramError):  # noqa: N818
    """The tables of a device this large cannot be reserved (ENOMEM)."""

    errno = errno.ENOMEM
