"""The devices of a mount: they come by hot_add, go by hot_remove, and are numbered as the kernel numbers its own."""

import itertools
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from typing import Final, Protocol

import trio

from zramfs.device.device import ZramDevice
from zramfs.errors import DeviceBusy, NoSuchDevice

_CLOSING_S: Final = 0.2
"""How long a device is awaited that somebody has open. close(2) returns before the kernel tells of it, and beside many
asynchronous requests it tells later: who closes a device, and resets it at once, is not refused."""

_LETTING_GO_S: Final = 2.0
"""The kernel closes a detached loop device's file soon, not at once."""


class DeviceWatcher(Protocol):
    """Whoever has to know which devices there are; told in the same step."""

    def device_added(self, device: ZramDevice) -> None:
        """A device has come."""

    def device_removed(self, device: ZramDevice) -> None:
        """A device has gone; nobody has it open."""


class BlockDevices(Protocol):
    """Block devices of the kernel that stand for devices (`namespace`): they are told what becomes of those."""

    async def attach(self, device: ZramDevice) -> None:
        """Let a block device stand for the device, as large as it is."""

    async def detach(self, device: ZramDevice) -> None:
        """Let go of the device, whose size is about to change; DeviceBusy if somebody uses the block device."""

    async def forget(self, device: ZramDevice) -> None:
        """Take the detached block device away: the device has been removed."""


class DeviceSet:
    """Devices by number. `make_device` makes one of the name given, uninitialised.

    While there are `block_devices`, what they hold open does not count as use: only what uses them does.
    """

    def __init__(self, make_device: Callable[[str], ZramDevice]) -> None:
        self._make_device = make_device
        self._devices: dict[int, ZramDevice] = {}
        self._watchers: list[DeviceWatcher] = []
        self._changing = trio.Lock()
        self.block_devices: BlockDevices | None = None

    def __iter__(self) -> Iterator[ZramDevice]:
        return iter(self._devices.values())

    def watch(self, watcher: DeviceWatcher) -> None:
        """Tell `watcher` of the devices that there are, and of each that comes or goes."""
        self._watchers.append(watcher)
        for device in self:
            watcher.device_added(device)

    def add(self) -> int:
        """Make a device and return its number: the smallest that is free (zram_add, idr_alloc)."""
        number = next(candidate for candidate in itertools.count() if candidate not in self._devices)
        device = self._devices[number] = self._make_device(f"zram{number}")
        for watcher in self._watchers:
            watcher.device_added(device)
        return number

    def remove(self, number: int) -> None:
        """Take a device away, with what it holds; NoSuchDevice, or DeviceBusy while it is open (zram_remove)."""
        self._remove(self._numbered(number))

    def _remove(self, device: ZramDevice) -> None:
        device.require_unused()
        self._devices = {number: each for number, each in self._devices.items() if each is not device}
        for watcher in self._watchers:
            watcher.device_removed(device)
        device.close()

    async def use_block_devices(self, block_devices: BlockDevices) -> None:
        """Let block devices stand for all devices from now on, until `block_devices` is set to None."""
        async with self._changing:
            for device in self:
                await block_devices.attach(device)
            self.block_devices = block_devices

    async def hot_add(self) -> int:
        """Like `add`, and a block device stands for the new one when this returns."""
        async with self._changing:
            number = self.add()
            try:
                if self.block_devices is not None:
                    await self.block_devices.attach(self._devices[number])
            except BaseException:
                with suppress(DeviceBusy):  # somebody has it open already: it stays
                    self.remove(number)
                raise
            return number

    async def hot_remove(self, number: int) -> None:
        """Like `remove`, and so does its block device vanish."""
        device = self._numbered(number)
        async with self._let_go(device):
            self._remove(device)
        await device.writeback.wait_until_released()

    async def reset(self, device: ZramDevice) -> None:
        """Forget what a device holds; DeviceBusy while anybody has it open, or uses its block device.

        NoSuchDevice if it has been removed meanwhile.
        """
        async with self._let_go(device):
            device.reset()
        await device.writeback.wait_until_released()

    @asynccontextmanager
    async def _let_go(self, device: ZramDevice) -> AsyncIterator[None]:
        """Have the device's block device detached meanwhile, if nobody uses it.

        NoSuchDevice if it was removed while this waited for its turn: another device may have its number and name.
        """
        async with self._changing:
            if device not in self._devices.values():
                raise NoSuchDevice(f"{device.name} has been removed")
            if self.block_devices is None:
                with trio.move_on_after(_CLOSING_S):
                    await device.wait_for_last_release()
                yield
                return
            if device.openers > 1:
                raise DeviceBusy(f"{device.name} is in use")
            await self.block_devices.detach(device)
            try:
                with trio.move_on_after(_LETTING_GO_S):
                    await device.wait_for_last_release()
                yield
            finally:
                await self._follow(device)

    async def _follow(self, device: ZramDevice) -> None:
        if self.block_devices is None:
            return
        if device in self._devices.values():
            await self.block_devices.attach(device)
        else:
            await self.block_devices.forget(device)

    def _numbered(self, number: int) -> ZramDevice:
        device = self._devices.get(number)
        if device is None:
            raise NoSuchDevice(f"there is no zram{number}")
        return device

    def close(self) -> None:
        """Close all devices: the session has ended, and nothing is in flight."""
        for device in self:
            device.close()

    def __repr__(self) -> str:
        return f"<DeviceSet {list(self)}>"
