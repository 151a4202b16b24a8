"""The devices of a mount: they come by hot_add, go by hot_remove, and are numbered as the kernel numbers its own."""

import itertools
from collections.abc import Callable, Iterator
from typing import Final, Protocol

from zramfs.device.device import ZramDevice
from zramfs.errors import NoSuchDevice

NAME_PREFIX: Final = "zram"


class DeviceWatcher(Protocol):
    """Whoever has to know which devices there are; told in the same step."""

    def device_added(self, device: ZramDevice) -> None:
        """A device has come."""

    def device_removed(self, device: ZramDevice) -> None:
        """A device has gone; nobody has it open."""


class DeviceSet:
    """Devices by number. `make_device` makes one of the name given, uninitialised."""

    def __init__(self, make_device: Callable[[str], ZramDevice]) -> None:
        self._make_device = make_device
        self._devices: dict[int, ZramDevice] = {}
        self._watchers: list[DeviceWatcher] = []

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
        device = self._devices[number] = self._make_device(f"{NAME_PREFIX}{number}")
        for watcher in self._watchers:
            watcher.device_added(device)
        return number

    def remove(self, number: int) -> None:
        """Take a device away, with what it holds; NoSuchDevice, or DeviceBusy while it is open (zram_remove)."""
        device = self._devices.get(number)
        if device is None:
            raise NoSuchDevice(f"there is no {NAME_PREFIX}{number}")
        device.require_unused()
        del self._devices[number]
        for watcher in self._watchers:
            watcher.device_removed(device)
        device.close()

    def close(self) -> None:
        """Close all devices: the session has ended, and nothing is in flight."""
        for device in self:
            device.close()

    def __repr__(self) -> str:
        return f"<DeviceSet {list(self)}>"
