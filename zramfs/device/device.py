"""A zram device: its life from disksize to reset, and the way of those requests that may have to wait.

`page_store` has those that never do.
"""

import errno
import logging
import os
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from time import monotonic_ns
from typing import Final

import trio

from zramfs.bio import WriteBio
from zramfs.contracts import Accelerator, Backend, StreamPolicy
from zramfs.device.accounting import IoAccounting
from zramfs.device.algorithms import PRIMARY, ActiveAlgorithm, Algorithms, release_secondaries
from zramfs.device.lineage import OwnMount
from zramfs.device.long_writes import Landing
from zramfs.device.page_store import PageStore
from zramfs.device.page_write import PageWrite
from zramfs.device.recompression import Recompression, recompress
from zramfs.device.scan import describe_some, described_bytes, mark_idle_some
from zramfs.device.slots import Codecs, ReadHelper, SlotTable
from zramfs.device.statistics import IoStat, MmStat
from zramfs.device.trace import RequestTrace, TracedRequest
from zramfs.device.writeback import Selection, Writeback
from zramfs.errors import BackendBroken, DeviceBusy, Interrupted, InvalidValue, NotInitialised, ZramError
from zramfs.units import PAGE_SIZE, BytesLike, round_up_to_page
from zramfs.zcomp.statistics import StreamStatistics
from zramfs.zcomp.zcomp import PercpuStream, Zcomp

_log: Final = logging.getLogger(__name__)

_COMPACT_SLICE_OBJECTS: Final = 512
"""Objects moved before others have their turn: about 0.2 ms."""

_DISCARD_SLICE_PAGES: Final = 2048
"""Pages freed before others have their turn: about 0.2 ms."""

_MAX_DISKSIZE: Final = 1 << 60


@dataclass(slots=True)
class DeviceConfig:
    """What can be set before a device is initialised; reset puts the kernel's defaults back."""

    backend: Backend
    accelerator: Accelerator | None
    mem_limit_pages: int = 0
    policy: StreamPolicy = StreamPolicy.AUTO


class ZramDevice:
    """One zram device. All methods belong to the event loop; those that commit do not await.

    `nursery` runs what the streams need in the background, `config` is what the device starts with. Every request is
    noted in `trace`, if there is one. `own_mount` is where it shows, if it does: it must not be backed by that.
    """

    def __init__(
        self,
        name: str,
        *,
        nursery: trio.Nursery,
        config: DeviceConfig,
        trace: RequestTrace | None = None,
        own_mount: OwnMount | None = None,
    ) -> None:
        self.name = name
        self._trace = trace
        self._nursery = nursery
        self._config = config
        self.algorithms = Algorithms(config.backend)
        """What compresses its pages: chosen by priority, with parameters."""
        self.active_algorithms: Mapping[int, ActiveAlgorithm] = {}
        """Those set up, by priority; none until it is initialised."""
        self.store: PageStore | None = None
        """Its pages, and whatever is done to them without waiting; None until it is initialised."""
        self.disksize = 0
        """Size in bytes; 0 until it is initialised."""
        self.writeback = Writeback(own_mount or OwnMount())
        """Its backing device, and what may be written to it."""
        self._post_processing = trio.Lock()
        self._interruption = trio.CancelScope()
        self.openers = 0
        """How many have the block file open; a loop device is one."""
        self.block_device = "0:0"
        """major:minor of the block device that stands for it in the kernel, if one does."""
        self._awaiting_last_release = trio.lowlevel.ParkingLot()
        self._forget_statistics()

    def _forget_statistics(self) -> None:
        self.accounting = IoAccounting()

    # ---- state --------------------------------------------------------------------------------------------------

    @property
    def is_initialised(self) -> bool:
        """Whether it has a disksize."""
        return self.store is not None

    @property
    def backend(self) -> Backend:
        """The primary algorithm, in use or that will be."""
        return self.algorithms.backends[PRIMARY]

    @property
    def policy(self) -> StreamPolicy:
        """Which streams writes use."""
        return self._config.policy

    @property
    def manager_error(self) -> str:
        """Why there are no managed streams though they were wanted; empty otherwise."""
        return self.store.zcomp.manager_error if self.store else ""

    def initialise(self, disksize: int) -> None:
        """Give the device its size, rounded up to a page, and set its streams up (disksize_store)."""
        if self.store is not None:
            raise DeviceBusy(f"{self.name} is initialised already")
        if self._post_processing.locked():
            raise DeviceBusy(f"{self.name} is being given a backing device")
        if not 0 < disksize <= _MAX_DISKSIZE:
            raise InvalidValue(f"{disksize} is not a size for {self.name}")
        size_bytes = round_up_to_page(disksize)
        config = self._config
        try:
            slots = SlotTable(size_bytes // PAGE_SIZE, config.mem_limit_pages, self.writeback.blocks)
        except MemoryError as error:
            raise _NoAddressSpace(f"{self.name}: {error}") from error
        zcomp = self._activate_algorithms()
        read_helper = _start_read_helper(self.active_algorithms)
        self.store = PageStore(slots, zcomp, self.accounting, read_helper, self._secondary_streams())
        self._nursery.start_soon(zcomp.serve_completions, name=f"{self.name} completions")
        self._nursery.start_soon(self.store.long_writes.serve, name=f"{self.name} long writes")
        if self._trace is not None:
            self.store.tracer = partial(TracedRequest, self._trace, self.name, zcomp.page_counts)
        self.disksize = size_bytes

    def _activate_algorithms(self) -> Zcomp:
        """Set the algorithms up, and return the primary one's streams; InvalidValue for parameters it cannot take."""
        secondaries = self.algorithms.activate_secondaries()
        try:
            zcomp = Zcomp(
                self.backend,
                algorithm_params=self.algorithms.params(PRIMARY),
                accelerator=self._config.accelerator,
                policy=self._config.policy,
            )
        except BaseException:
            release_secondaries(secondaries)
            raise
        primary = ActiveAlgorithm(zcomp.backend, zcomp.params, zcomp.codec)
        self.active_algorithms = {PRIMARY: primary, **secondaries}
        return zcomp

    def _secondary_streams(self) -> dict[int, PercpuStream]:
        """Make a stream for each algorithm of recompression: that of the CPU which runs the loop."""
        algorithms = self.active_algorithms.items()
        return {priority: PercpuStream(each.codec) for priority, each in algorithms if priority != PRIMARY}

    def reset(self) -> None:
        """Forget everything and give the memory back (zram_reset_device); DeviceBusy while anybody has it open."""
        self.require_unused()
        self.close()
        self.algorithms.reset()
        self._config.mem_limit_pages = 0
        self._forget_statistics()

    def require_unused(self) -> None:
        """Return if nobody has it open, and nothing is being done to its pages; or DeviceBusy."""
        if self.openers or self.accounting.in_flight or self._post_processing.locked():
            raise DeviceBusy(f"{self.name} is in use")

    def close(self) -> None:
        """Stop the streams and give all memory back. Nothing is in flight."""
        if self.store is not None:
            self.store.close()
            release_secondaries(self.active_algorithms)
            self.active_algorithms = {}
        self.store = None
        self.disksize = 0
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

    def set_policy(self, policy: StreamPolicy) -> None:
        """Choose which streams writes use, from the next write on."""
        self._config.policy = policy
        if self.store is not None:
            self.store.zcomp.policy = policy

    def set_mem_limit(self, limit_bytes: int) -> None:
        """Limit the pool's memory, rounded up to a page; 0 for no limit. Holds from the next write on."""
        self._config.mem_limit_pages = round_up_to_page(limit_bytes) // PAGE_SIZE
        if self.store is not None:
            self.store.slots.limit_pages = self._config.mem_limit_pages

    def reset_mem_used_max(self) -> None:
        """Let the peak be what is used now."""
        if self.store is not None:
            self.store.slots.reset_peak()

    async def compact(self) -> None:
        """Move objects together and give the memory that falls empty back; others have their turn between."""
        slots = self._initialised().slots
        while self.is_initialised and slots.compact_some(_COMPACT_SLICE_OBJECTS):
            await trio.lowlevel.checkpoint()

    async def mark_idle(self, age_s: int | None = None) -> None:
        """Mark pages idle that were not accessed for `age_s` seconds, or all; others have their turn between."""
        slots = self._initialised().slots
        page = 0
        while self.is_initialised and page < slots.page_count:
            page = mark_idle_some(slots, page, age_s)
            await trio.lowlevel.checkpoint()

    async def choose_backing(self, path: str | None) -> None:
        """Choose the backing device, or none; only before the device is initialised, which it cannot be meanwhile."""
        async with self._post_processing:
            if self.is_initialised:
                raise DeviceBusy(f"{self.name} is initialised: its backing device cannot change")
            await self.writeback.choose_backing(path)

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
            await recompress(self._initialised(), wanted)

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
        if self.store is not None:
            self.store.zcomp.abandon()
        self.writeback.abandon()

    def block_state(self) -> Iterator[str]:
        """Tell of each page in use, in the kernel's lines, some pages at a time."""
        page = 0
        while page * PAGE_SIZE < self.disksize:
            lines, page = describe_some(self._initialised().slots, page)
            yield lines

    def block_state_bytes(self) -> int:
        """How long the text of `block_state` is."""
        return described_bytes(self._initialised().slots) if self.is_initialised else 0

    # ---- I/O ----------------------------------------------------------------------------------------------------

    async def read(self, offset_bytes: int, out: memoryview) -> None:
        """Fill `out` with what is stored from `offset_bytes` on, some of it perhaps in the backing device.

        What needs no waiting, the store's `read_into` takes faster. Raises CorruptPage or BackingDeviceFailed.
        """
        store = self._initialised()
        start_ns = self.accounting.begin()
        request = store.tracer and store.tracer("read", len(out), start_ns)
        try:
            await self.writeback.read_into(store, offset_bytes, out)
        except ZramError:
            self.accounting.failed_reads += 1
            raise
        finally:
            self.accounting.end(self.accounting.read, len(out), start_ns)
            if request is not None:
                request.answer(monotonic_ns())

    async def write(self, bio: WriteBio) -> None:
        """Store the whole of the bio, or raise: then some of its pages may be stored, and none is torn.

        What needs no waiting, the store's `write_nowait` takes faster.
        """
        store = self._initialised()
        start_ns = self.accounting.begin()
        request = store.tracer and store.tracer("write", len(bio.data), start_ns, bio.is_async)
        try:
            await self._write_parts(store, bio, request)
        except ZramError:
            self.accounting.failed_writes += 1
            raise
        finally:
            self.accounting.end(self.accounting.write, len(bio.data), start_ns)
            if request is not None:
                request.answer(monotonic_ns())

    def help(self) -> bool:
        """Do a little of what is begun, if there is anything: whoever calls has nothing else to do."""
        return self.store is not None and self.store.help()

    async def _write_parts(self, store: PageStore, bio: WriteBio, request: TracedRequest | None) -> None:
        """Cut a bio into a partial page at its head, a run of whole pages, and a partial page at its tail."""
        page, skip = divmod(bio.offset_bytes, PAGE_SIZE)
        begin = 0
        if skip:
            begin = min(PAGE_SIZE - skip, len(bio.data))
            await self._patch(store, page, skip, bio.data[:begin], request)
            page += 1
        pages, tail_bytes = divmod(len(bio.data) - begin, PAGE_SIZE)
        if pages:
            landing = Landing()
            write = PageWrite(
                store,
                bio.data,
                offset_bytes=begin,
                page=page,
                pages=pages,
                is_async=bio.is_async,
                on_done=landing.note,
                request=request,
            )
            store.long_writes.begin_and_serve(write)
            await landing.land()
        if tail_bytes:
            await self._patch(store, page + pages, 0, bio.data[-tail_bytes:], request)

    async def _patch(
        self, store: PageStore, page: int, skip: int, patch: BytesLike, request: TracedRequest | None = None
    ) -> None:
        """Patch a page, wherever it is, and note on which stream, if there is a trace."""
        contents = await self.writeback.contents_of(store, page)
        if request is not None:
            request.resume()
        store.patch_page(page, skip, patch, contents)
        if request is not None:
            request.pause()

    async def discard(self, offset_bytes: int, size_bytes: int) -> None:
        """Free the whole pages within the range; its partial edges stay as they are (zram_bio_discard)."""
        store = self._initialised()
        slots = store.slots
        start_ns = self.accounting.begin()
        request = store.tracer and store.tracer("discard", size_bytes, start_ns)
        try:
            page = round_up_to_page(offset_bytes) // PAGE_SIZE
            end = (offset_bytes + size_bytes) // PAGE_SIZE
            while page < end:
                page += slots.discard_some(page, end - page, _DISCARD_SLICE_PAGES)
                if page < end:
                    await trio.lowlevel.checkpoint()
        finally:
            self.accounting.end(self.accounting.discard, size_bytes, start_ns)
            if request is not None:
                request.answer()

    async def punch(self, offset_bytes: int, size_bytes: int) -> None:
        """Make the range read as zeros, as a file's hole does: discard its whole pages, and zero the partial ones."""
        store = self._initialised()
        end_bytes = offset_bytes + size_bytes
        for begin, end in _partial_pages(offset_bytes, end_bytes):
            await self._patch(store, begin // PAGE_SIZE, begin % PAGE_SIZE, bytes(end - begin))
        await self.discard(offset_bytes, size_bytes)

    def find(self, offset_bytes: int, *, data: bool) -> int:
        """Return the offset of the first data, or hole, at or after `offset_bytes`; disksize if there is none."""
        page = self._initialised().slots.find(offset_bytes // PAGE_SIZE, data)
        return max(offset_bytes, min(page * PAGE_SIZE, self.disksize))

    def flush(self) -> None:
        """Count a flush. There is nothing to do: a write is acknowledged only once it is stored."""
        start_ns = self.accounting.begin()
        self.accounting.end(self.accounting.flush, 0, start_ns)

    def _initialised(self) -> PageStore:
        if self.store is None:
            raise NotInitialised(f"{self.name} is not initialised")
        return self.store

    # ---- statistics ---------------------------------------------------------------------------------------------

    def mm_stat(self) -> MmStat:
        """Memory, in the kernel's terms; zeros on an uninitialised device, but for the limit."""
        limit_bytes = self._config.mem_limit_pages * PAGE_SIZE
        if self.store is None:
            return MmStat(0, 0, 0, limit_bytes, 0, 0, 0, 0, 0)
        slots = self.store.slots
        return MmStat(
            orig_data_size=slots.stored_pages * PAGE_SIZE,
            compr_data_size=slots.compressed_bytes,
            mem_used_total=slots.used_pages * PAGE_SIZE,
            mem_limit=limit_bytes,
            mem_used_max=slots.peak_pages * PAGE_SIZE,
            same_pages=slots.same_pages,
            pages_compacted=slots.compacted_pages,
            huge_pages=slots.huge_pages,
            huge_pages_since=slots.huge_pages_since,
        )

    def io_stat(self) -> IoStat:
        """Failures, and pages freed by discards."""
        freed = self.store.slots.freed_notifications if self.store else 0
        return IoStat(self.accounting.failed_reads, self.accounting.failed_writes, freed)

    def stream_statistics(self) -> StreamStatistics:
        """Pages by kind of stream; zeros on an uninitialised device."""
        return self.store.zcomp.statistics() if self.store else StreamStatistics()

    @property
    def accelerator(self) -> Accelerator | None:
        """The accelerator, whether the device is initialised or not."""
        return self._config.accelerator

    def accelerator_statistics(self) -> Mapping[str, float]:
        """What the accelerator did since the device was initialised; empty without one."""
        return self.store.zcomp.accelerator_statistics() if self.store else {}

    def __repr__(self) -> str:
        state = f"{self.disksize} bytes" if self.is_initialised else "uninitialised"
        return f"<ZramDevice {self.name} {state}, {self.openers} openers, {self.accounting.in_flight} in flight>"


class _NoAddressSpace(ZramError):  # noqa: N818
    """The tables of a device this large cannot be reserved (ENOMEM)."""

    errno = errno.ENOMEM


def _start_read_helper(algorithms: Mapping[int, ActiveAlgorithm]) -> ReadHelper | None:
    """Start the second thread of large reads, where there is a second CPU for it; they also work without it.

    1M reads at depth 4, medians of six interleaved rounds: 2.50 GB/s with it, 2.08 without, the kernel's zram 2.40.
    """
    if len(os.sched_getaffinity(0)) < 2:
        return None
    try:
        codecs = {priority: each.create_codec() for priority, each in algorithms.items()}
        return ReadHelper(Codecs(codecs.pop(PRIMARY), codecs))
    except (RuntimeError, BackendBroken) as error:
        _log.warning("large reads have one thread only: %s", error)
        return None


def _partial_pages(begin: int, end: int) -> list[tuple[int, int]]:
    """Return the parts of the range from `begin` to `end`, in bytes, that are less than their page; two at the most."""
    head_end = min(end, round_up_to_page(begin))
    tail_begin = max(head_end, end // PAGE_SIZE * PAGE_SIZE)
    return [(first, last) for first, last in ((begin, head_end), (tail_begin, end)) if first < last]
