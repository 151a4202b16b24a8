"""A zram device: its life from disksize to reset, and the event loop's own requests.

Its disk takes the requests (`block/`), on any thread; what is here belongs to the event loop.
"""

import errno
from typing import Final

import trio

from zramfs.block.disk import Disk
from zramfs.block.request import Request
from zramfs.block.slots import Codecs, SlotTable
from zramfs.device.algorithms import PRIMARY, ActiveAlgorithm, codecs_of_channels, release_secondaries
from zramfs.device.lineage import OwnMount
from zramfs.device.serving import BioServer
from zramfs.device.settings import DeviceConfig, DeviceSettings, require_initialised
from zramfs.device.statistics import DeviceStatistics
from zramfs.device.trace import RequestTrace
from zramfs.device.upkeep import Upkeep
from zramfs.device.writeback import Writeback
from zramfs.errors import DeviceBusy, InvalidValue, ReadOnlyDevice, ZramError
from zramfs.units import PAGE_SIZE, BytesLike, round_up_to_page
from zramfs.zcomp.zcomp import PercpuStream, Zcomp

_MAX_DISKSIZE: Final = 1 << 60
"""Bytes. The tables of a larger one cannot be had anyway; up to here all numbers of it fit."""


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
        self.writeback = Writeback(own_mount or OwnMount(), config.abi)
        """Its backing device, and what may be written to it."""
        self.settings = DeviceSettings(config, self.disk, self.writeback)
        self.statistics = DeviceStatistics(self.disk, self.settings)
        self.upkeep = Upkeep(self.disk, self.writeback)
        self.active_algorithms: dict[int, ActiveAlgorithm] = {}
        """Those set up, by priority; none until it is initialised."""
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
    def manager_error(self) -> str:
        """Why there are no managed streams though they were wanted; empty otherwise."""
        return self.disk.zcomp.manager_error if self.is_initialised else ""

    def initialise(self, disksize: int) -> None:
        """Give the device its size, rounded up to a page, and set its streams up (disksize_store)."""
        if self.is_initialised:
            raise DeviceBusy(f"{self.name} is initialised already")
        if self.upkeep.is_running:
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
        self._nursery.start_soon(self.settings.report_limit, table, name=f"{self.name} mem_limit")

    def _make_table(self, page_count: int) -> SlotTable:
        if page_count > _MAX_DISKSIZE // PAGE_SIZE:
            size_bytes = page_count * PAGE_SIZE
            raise _NoAddressSpace(f"{self.name}: there is no address space for the tables of {size_bytes} bytes")
        try:
            return SlotTable(
                page_count,
                self.settings.mem_limit_pages,
                self.writeback.blocks,
                self._server.layer.channel_count,
                in_fractions=not self.settings.abi.counts_access_in_seconds,
            )
        except MemoryError as error:
            raise _NoAddressSpace(f"{self.name}: {error}") from error

    def _activate_algorithms(self) -> tuple[Zcomp, list[Codecs]]:
        """Set the algorithms up; the primary one's streams, and what decompresses on each channel.

        InvalidValue for parameters that one of them cannot take.
        """
        settings = self.settings
        active = settings.algorithms.activate_secondaries()
        zcomp: Zcomp | None = None
        try:
            zcomp = Zcomp(
                settings.backend,
                algorithm_params=settings.algorithms.params(PRIMARY),
                accelerator=settings.accelerator,
                policy=settings.policy,
            )
            streams = {priority: PercpuStream(each.codec) for priority, each in active.items()}
            active = {PRIMARY: ActiveAlgorithm(zcomp.backend, zcomp.params, zcomp.codec), **active}
            codecs = codecs_of_channels(active, self._server.layer.channel_count)
        except BaseException:
            if zcomp is not None:
                zcomp.close()
            release_secondaries(active)
            raise
        self.active_algorithms = active
        self.upkeep.begin(streams)
        return zcomp, codecs

    def reset(self) -> None:
        """Forget everything and give the memory back (zram_reset_device); DeviceBusy while anybody has it open.

        ReadOnlyDevice if it is that: its readers' contents stay.
        """
        if self.settings.is_read_only:
            raise ReadOnlyDevice(f"{self.name} is read-only")
        self.require_unused()
        self.close()
        self.settings.reset()
        self.disk.counts.forget()
        self.statistics.forget()

    def require_unused(self) -> None:
        """Return if nobody has it open, and nothing is being done to its pages; or DeviceBusy."""
        if self.openers or self.disk.in_flight or self.upkeep.is_running:
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
            self.upkeep.end()
            self.statistics.forget_streams()
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

    def abandon_waiting(self) -> None:
        """Let nobody wait any more: software does the work of streams, and the backing device's waiters get EIO."""
        if self.settings.accelerator is not None:
            self.settings.accelerator.abandon()
        if self.is_initialised:
            self.disk.zcomp.abandon()
        self.writeback.abandon()

    # ---- the event loop's own requests --------------------------------------------------------------------------

    async def read(self, offset_bytes: int, out: bytearray | memoryview) -> int:
        """Fill `out` with what is stored from `offset_bytes` on; how many bytes of it lie before the end.

        Raises CorruptPage or BackingDeviceFailed.
        """
        return await self._perform(Request("read", offset_bytes, out))

    async def write(self, offset_bytes: int, data: BytesLike, *, is_async: bool = False) -> int:
        """Store what lies before the end, and return how many bytes that is; PastTheEnd if all lies behind it.

        After any other ZramError some pages may be stored, and none is torn. `is_async`: nobody waits for this write by
        itself, so that it may take a managed stream.
        """
        return await self._perform(Request("write", offset_bytes, data, is_async=is_async))

    async def punch(self, offset_bytes: int, size_bytes: int) -> int:
        """Let the range read as zeros, as a file's hole does: whole pages are freed, partial ones are zeroed."""
        return await self._perform(Request("punch", offset_bytes, size_bytes=size_bytes))

    async def _perform(self, request: Request) -> int:
        return await self._server.perform(require_initialised(self.disk), request)

    def find(self, offset_bytes: int, *, data: bool) -> int | None:
        """Return the offset of the first data, or hole, at or after `offset_bytes`; None if there is none."""
        return require_initialised(self.disk).find_offset(offset_bytes, data=data)

    def flush(self) -> None:
        """Count a flush. There is nothing to do: a write is acknowledged only once it is stored."""
        self.disk.flush()

    def __repr__(self) -> str:
        state = f"{self.disksize} bytes" if self.is_initialised else "uninitialised"
        return f"<ZramDevice {self.name} {state}, {self.openers} openers, {self.disk.in_flight} in flight>"


class _NoAddressSpace(ZramError):  # noqa: N818
    """The tables of a device this large cannot be reserved (ENOMEM)."""

    errno = errno.ENOMEM
