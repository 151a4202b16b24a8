"""A zram device: its life from disksize to reset, and the way of those requests that may have to wait.

`page_store` has those that never do.
"""

import errno
import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from time import monotonic_ns
from typing import Final

import trio

from zramfs.bio import WriteBio
from zramfs.contracts import Accelerator, Backend, StreamPolicy
from zramfs.device.accounting import IoAccounting
from zramfs.device.page_store import PageStore
from zramfs.device.page_write import PageWrite
from zramfs.device.slots import ReadHelper, SlotTable
from zramfs.device.trace import RequestTrace, TracedRequest
from zramfs.errors import DeviceBusy, InvalidValue, NotInitialised, ZramError
from zramfs.units import PAGE_SIZE, BytesLike, round_up_to_page
from zramfs.zcomp.statistics import StreamStatistics
from zramfs.zcomp.zcomp import Zcomp

_log: Final = logging.getLogger(__name__)

_COMPACT_SLICE_OBJECTS: Final = 512
"""Objects moved before others have their turn: about 0.2 ms."""

_TURN_NS: Final = 200_000
"""How long a large bio may hold the event loop before others have their turn, which costs it about 10 µs."""

_DISCARD_SLICE_PAGES: Final = 2048
"""Pages freed before others have their turn: about 0.2 ms."""

_MAX_DISKSIZE: Final = 1 << 60


@dataclass(frozen=True, slots=True)
class MmStat:
    """`mm_stat`: bytes, but for the last four, which count pages. Names are the kernel's."""

    orig_data_size: int
    compr_data_size: int
    mem_used_total: int
    mem_limit: int
    mem_used_max: int
    same_pages: int
    pages_compacted: int
    huge_pages: int
    huge_pages_since: int


@dataclass(frozen=True, slots=True)
class IoStat:
    """`io_stat`: requests that failed, and pages freed by discards."""

    failed_reads: int
    failed_writes: int
    notify_free: int


@dataclass(slots=True)
class DeviceConfig:
    """What can be set before a device is initialised; reset puts the kernel's defaults back."""

    backend: Backend
    accelerator: Accelerator | None
    level: int | None = None
    mem_limit_pages: int = 0
    policy: StreamPolicy = StreamPolicy.AUTO


class ZramDevice:
    """One zram device. All methods belong to the event loop; those that commit do not await.

    `nursery` runs what the streams need in the background, `config` is what the device starts with. Every request is
    noted in `trace`, if there is one.
    """

    def __init__(
        self, name: str, *, nursery: trio.Nursery, config: DeviceConfig, trace: RequestTrace | None = None
    ) -> None:
        self.name = name
        self._trace = trace
        self._nursery = nursery
        self._config = config
        self._default_backend = config.backend
        self.store: PageStore | None = None
        """Its pages, and whatever is done to them without waiting; None until it is initialised."""
        self.disksize = 0
        """Size in bytes; 0 until it is initialised."""
        self.openers = 0
        """How many have the block file open; a loop device is one."""
        self.block_device = "0:0"
        """major:minor of the block device that stands for it in the kernel, if one does."""
        self._long_bios = trio.Lock()
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
        """The algorithm in use, or that will be."""
        return self._config.backend

    @property
    def policy(self) -> StreamPolicy:
        """Which streams writes use."""
        return self._config.policy

    @property
    def manager_error(self) -> str:
        """Why there are no managed streams though they were wanted; empty otherwise."""
        return self.store.zcomp.params.manager_error if self.store else ""

    def initialise(self, disksize: int) -> None:
        """Give the device its size, rounded up to a page, and set its streams up (disksize_store)."""
        if self.store is not None:
            raise DeviceBusy(f"{self.name} is initialised already")
        if not 0 < disksize <= _MAX_DISKSIZE:
            raise InvalidValue(f"{disksize} is not a size for {self.name}")
        size_bytes = round_up_to_page(disksize)
        config = self._config
        try:
            slots = SlotTable(size_bytes // PAGE_SIZE, config.mem_limit_pages)
        except MemoryError as error:
            raise _NoAddressSpace(f"{self.name}: {error}") from error
        zcomp = Zcomp(config.backend, level=config.level, accelerator=config.accelerator, policy=config.policy)
        self._nursery.start_soon(zcomp.serve_completions, name=f"{self.name} completions")
        self.store = PageStore(slots, zcomp, self.accounting, _start_read_helper(zcomp))
        if self._trace is not None:
            self.store.tracer = partial(TracedRequest, self._trace, self.name, zcomp.page_counts)
        self.disksize = size_bytes

    def reset(self) -> None:
        """Forget everything and give the memory back (zram_reset_device); DeviceBusy while anybody has it open."""
        self.require_unused()
        self.close()
        self._config.backend = self._default_backend
        self._config.level = None
        self._config.mem_limit_pages = 0
        self._forget_statistics()

    def require_unused(self) -> None:
        """Return if nobody has it open, or DeviceBusy."""
        if self.openers or self.accounting.in_flight:
            raise DeviceBusy(f"{self.name} is in use")

    def close(self) -> None:
        """Stop the streams and give all memory back. Nothing is in flight."""
        if self.store is not None:
            self.store.close()
        self.store = None
        self.disksize = 0

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

    def set_backend(self, backend: Backend) -> None:
        """Choose the algorithm; only before the device is initialised."""
        if self.is_initialised:
            raise DeviceBusy(f"{self.name} is initialised: its algorithm cannot change")
        self._config.backend = backend

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

    # ---- I/O ----------------------------------------------------------------------------------------------------

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
        """Do a little of the accelerator's work, if there is any: whoever calls has nothing else to do."""
        return self.store is not None and self.store.zcomp.help()

    async def _write_parts(self, store: PageStore, bio: WriteBio, request: TracedRequest | None) -> None:
        """Cut a bio into a partial page at its head, a run of whole pages, and a partial page at its tail."""
        page, skip = divmod(bio.offset_bytes, PAGE_SIZE)
        begin = 0
        if skip:
            begin = min(PAGE_SIZE - skip, len(bio.data))
            _patch(store, page, skip, bio.data[:begin], request)
            page += 1
        pages, tail_bytes = divmod(len(bio.data) - begin, PAGE_SIZE)
        if pages:
            await self._write_run(store, bio, first_page=page, begin=begin, pages=pages, request=request)
        if tail_bytes:
            _patch(store, page + pages, 0, bio.data[-tail_bytes:], request)

    async def _write_run(
        self,
        store: PageStore,
        bio: WriteBio,
        *,
        first_page: int,
        begin: int,
        pages: int,
        request: TracedRequest | None,
    ) -> None:
        """Compress and commit whole pages, those at `begin` in the bio's data, stream by stream.

        What the accelerator takes is compressed while the CPU does the rest, and whatever it has finished is committed
        between two runs on the CPU, so that its descriptors are free for the next.

        Of the bios that are not done with their first turn one goes on at a time: were each to take its turns, the next
        request would wait for all of them. A synchronous 4K writer beside 1M writes at depth 8 (p50, p99): 3.5 and
        6.2 ms so, 0.01 and 0.9 ms one at a time; on per-CPU streams 9.4 and 11.5 ms, and 0.02 and 1.2 ms.
        """
        zcomp = store.zcomp
        landing = _Landing()
        write = PageWrite(
            store,
            bio.data,
            offset_bytes=begin,
            page=first_page,
            pages=pages,
            is_async=bio.is_async,
            on_done=landing.note,
            request=request,
        )
        turn_ends_ns = monotonic_ns() + (0 if self._long_bios.locked() else _TURN_NS)
        is_long = False
        try:
            while write.has_more:
                if not write.submit_run():
                    await _free_stream(zcomp)
                zcomp.poll_completions()
                if monotonic_ns() < turn_ends_ns:
                    continue
                if is_long:
                    await trio.lowlevel.checkpoint()
                else:
                    await self._long_bios.acquire()
                    is_long = True
                turn_ends_ns = monotonic_ns() + _TURN_NS
        finally:
            if is_long:
                self._long_bios.release()
            write.close()
            await landing.land()

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
            store.patch_page(begin // PAGE_SIZE, begin % PAGE_SIZE, bytes(end - begin))
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


def _start_read_helper(zcomp: Zcomp) -> ReadHelper | None:
    """Start the second thread of large reads, where there is a second CPU for it; they work without it, too.

    1M reads at depth 4, medians of six interleaved rounds: 2.50 GB/s with it, 2.08 without, the kernel's zram 2.40.
    """
    if len(os.sched_getaffinity(0)) < 2:
        return None
    try:
        return ReadHelper(zcomp.backend.create_context(zcomp.params))
    except RuntimeError as error:
        _log.warning("large reads have one thread only: %s", error)
        return None


class _Landing:
    """Where a bio's own task waits for its last run."""

    def __init__(self) -> None:
        self._has_landed = False
        self._failure: Exception | None = None
        self._waiter: trio.lowlevel.Task | None = None

    def note(self, failure: Exception | None) -> None:
        """Take the outcome."""
        self._has_landed, self._failure = True, failure
        if self._waiter is not None:
            trio.lowlevel.reschedule(self._waiter)

    async def land(self) -> None:
        """Return when every run is committed, or raise the first failure.

        Not cancellable: the device still reads the bio's data, and will be done soon.
        """
        if not self._has_landed:
            self._waiter = trio.lowlevel.current_task()
            await trio.lowlevel.wait_task_rescheduled(lambda _: trio.lowlevel.Abort.FAILED)
        if self._failure is not None:
            raise self._failure


def _patch(store: PageStore, page: int, skip: int, patch: BytesLike, request: TracedRequest | None) -> None:
    """Patch a page, and note on which stream, if there is a trace."""
    if request is not None:
        request.resume()
    store.patch_page(page, skip, patch)
    if request is not None:
        request.pause()


async def _free_stream(zcomp: Zcomp) -> None:
    """Return when it is worth asking for a managed stream again. Not cancellable: that is soon."""
    zcomp.when_free(partial(trio.lowlevel.reschedule, trio.lowlevel.current_task()))
    await trio.lowlevel.wait_task_rescheduled(lambda _: trio.lowlevel.Abort.FAILED)


def _partial_pages(begin: int, end: int) -> list[tuple[int, int]]:
    """Return the parts of the range from `begin` to `end`, in bytes, that are less than their page; two at the most."""
    head_end = min(end, round_up_to_page(begin))
    tail_begin = max(head_end, end // PAGE_SIZE * PAGE_SIZE)
    return [(first, last) for first, last in ((begin, head_end), (tail_begin, end)) if first < last]
