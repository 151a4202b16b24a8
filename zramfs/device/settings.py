"""The settings of a device: what is chosen before it is initialised, and what can change later."""

import logging
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

import trio

from zramfs.abi import NEWEST, ZramAbi
from zramfs.block.disk import Disk
from zramfs.block.slots import SlotTable
from zramfs.contracts import Accelerator, AlgorithmParams, Backend, StreamPolicy
from zramfs.device.algorithms import PRIMARY, Algorithms
from zramfs.device.writeback import Writeback
from zramfs.errors import DeviceBusy, NotInitialised
from zramfs.units import PAGE_SIZE, format_bytes, round_up_to_page

_log: Final = logging.getLogger(__name__)


@dataclass(slots=True)
class DeviceConfig:
    """What a device starts with."""

    backend: Backend
    accelerator: Accelerator | None
    mem_limit_pages: int = 0
    policy: StreamPolicy = StreamPolicy.AUTO
    abi: ZramAbi = NEWEST
    """Which kernel's rules it keeps; reset leaves that as it is."""
    is_read_only: bool = False


class DeviceSettings:
    """What a device is told. All methods belong to the event loop; those of an open disk hold from its next request on.

    `config` is what it starts with, `disk` its pages, and `writeback` its backing device.
    """

    def __init__(self, config: DeviceConfig, disk: Disk, writeback: Writeback) -> None:
        self._config = config
        self._disk = disk
        self._writeback = writeback
        self.algorithms = Algorithms(config.backend)
        """What compresses its pages: chosen by priority, with parameters."""

    @property
    def abi(self) -> ZramAbi:
        """Which kernel's rules it keeps."""
        return self._config.abi

    @property
    def is_read_only(self) -> bool:
        """Whether nobody can write."""
        return self._config.is_read_only

    @property
    def accelerator(self) -> Accelerator | None:
        """The accelerator, whether the device is initialised or not."""
        return self._config.accelerator

    @property
    def backend(self) -> Backend:
        """The primary algorithm, in use or that will be."""
        return self.algorithms.backends[PRIMARY]

    @property
    def secondaries(self) -> Mapping[int, Backend]:
        """The algorithms of recompression, by priority."""
        return {priority: each for priority, each in self.algorithms.backends.items() if priority != PRIMARY}

    @property
    def policy(self) -> StreamPolicy:
        """Which streams writes use."""
        return self._config.policy

    @property
    def mem_limit_pages(self) -> int:
        """Most pages of memory that the pool may use; 0 for no limit."""
        return self._config.mem_limit_pages

    def set_backend(self, backend: Backend, priority: int = PRIMARY) -> None:
        """Choose the primary algorithm, or one to recompress with; only before the device is initialised."""
        require_uninitialised(self._disk, "its algorithms cannot change")
        self.algorithms.choose(priority, backend)
        if self.abi.resets_params_with_algorithm:
            self.algorithms.set_params(priority, AlgorithmParams())

    def set_policy(self, policy: StreamPolicy) -> None:
        """Choose which streams writes use."""
        self._config.policy = policy
        if self._disk.is_open:
            self._disk.zcomp.policy = policy

    def set_mem_limit(self, limit_bytes: int) -> None:
        """Limit the pool's memory, rounded up to a page; 0 for no limit."""
        self._config.mem_limit_pages = round_up_to_page(limit_bytes) // PAGE_SIZE
        if self._disk.is_open:
            self._disk.table.limit_pages = self._config.mem_limit_pages
            self._disk.table.rearm_limit()

    def compress_writeback(self, *, wanted: bool) -> None:
        """Have objects written back as they are, or decompressed; only before the device is initialised."""
        require_uninitialised(self._disk, "its pages are written back in one form")
        self._writeback.is_compressed = wanted

    def reset(self) -> None:
        """Put the defaults of algorithms and limit back; the policy and the kernel's rules stay."""
        self.algorithms.reset()
        self._config.mem_limit_pages = 0

    async def report_limit(self, table: SlotTable) -> None:
        """Log that mem_limit keeps pages out: once, until another limit is set or its hits are counted anew.

        Ends with the table.
        """
        with suppress(trio.ClosedResourceError):
            while table.limit_fd >= 0:
                await trio.lowlevel.wait_readable(table.limit_fd)
                table.heed_limit()
                limit = format_bytes(self.mem_limit_pages * PAGE_SIZE)
                name = self._disk.name
                _log.warning("%s: mem_limit (%s) is reached; writes that need more memory fail (EIO)", name, limit)


def require_initialised(disk: Disk) -> Disk:
    """Return an open disk; NotInitialised if its device has no disksize."""
    if not disk.is_open:
        raise NotInitialised(f"{disk.name} is not initialised")
    return disk


def require_uninitialised(disk: Disk, otherwise: str) -> None:
    """Return if the device has no disksize; DeviceBusy, with what is so once it has."""
    if disk.is_open:
        raise DeviceBusy(f"{disk.name} is initialised: {otherwise}")
