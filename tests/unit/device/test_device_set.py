from collections.abc import AsyncIterator

import pytest
import trio

from zramfs.backends.lz4 import LZ4
from zramfs.device.device import DeviceConfig, ZramDevice
from zramfs.device.device_set import DeviceSet
from zramfs.errors import DeviceBusy, NoSuchDevice
from zramfs.units import PAGE_SIZE


class Watcher:
    def __init__(self) -> None:
        self.seen: list[str] = []

    def device_added(self, device: ZramDevice) -> None:
        self.seen.append(f"+{device.name}")

    def device_removed(self, device: ZramDevice) -> None:
        self.seen.append(f"-{device.name}")


@pytest.fixture
async def devices(nursery: trio.Nursery) -> AsyncIterator[DeviceSet]:
    def make(name: str) -> ZramDevice:
        return ZramDevice(name, nursery=nursery, config=DeviceConfig(backend=LZ4, accelerator=None))

    made = DeviceSet(make)
    yield made
    made.close()


async def test_add_takes_the_smallest_number_that_is_free(devices: DeviceSet) -> None:
    assert [devices.add() for _ in range(3)] == [0, 1, 2]
    devices.remove(1)
    assert devices.add() == 1
    assert devices.add() == 3


async def test_devices_start_uninitialised(devices: DeviceSet) -> None:
    devices.add()
    assert [device.is_initialised for device in devices] == [False]


async def test_remove_refuses_a_number_that_is_none(devices: DeviceSet) -> None:
    with pytest.raises(NoSuchDevice):
        devices.remove(0)


async def test_remove_refuses_an_open_device_and_gives_the_memory_of_a_closed_one_back(devices: DeviceSet) -> None:
    devices.add()
    (device,) = devices
    device.initialise(16 * PAGE_SIZE)
    device.open()
    with pytest.raises(DeviceBusy):
        devices.remove(0)
    assert device.is_initialised
    device.release()
    devices.remove(0)
    assert not device.is_initialised
    assert list(devices) == []


async def test_watcher_is_told_of_all_devices_from_the_first_on(devices: DeviceSet) -> None:
    watcher = Watcher()
    devices.add()
    devices.watch(watcher)
    devices.add()
    devices.remove(0)
    assert watcher.seen == ["+zram0", "+zram1", "-zram0"]
