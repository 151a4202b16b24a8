from collections.abc import AsyncIterator

import pytest
import trio

from zramfs.backends.lz4 import LZ4
from zramfs.device.device import DeviceConfig, ZramDevice
from zramfs.device.device_set import DeviceSet
from zramfs.errors import CommandFailed, DeviceBusy, NoSuchDevice
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


class Loops:
    """Block devices that hold their devices open, as a loop device does; `in_use` ones are not let go."""

    def __init__(self) -> None:
        self.seen: list[str] = []
        self.in_use = False

    async def attach(self, device: ZramDevice) -> None:
        self.seen.append(f"attach {device.name}")
        device.open()

    async def detach(self, device: ZramDevice) -> None:
        self.seen.append(f"detach {device.name}")
        if self.in_use:
            raise DeviceBusy("mounted")
        device.release()

    async def forget(self, device: ZramDevice) -> None:
        self.seen.append(f"forget {device.name}")


async def test_block_devices_follow_all_devices(devices: DeviceSet) -> None:
    loops = Loops()
    devices.add()
    await devices.use_block_devices(loops)
    assert await devices.hot_add() == 1
    await devices.hot_remove(0)
    assert loops.seen == ["attach zram0", "attach zram1", "detach zram0", "forget zram0"]


async def test_block_device_that_nobody_uses_lets_its_device_be_reset(devices: DeviceSet) -> None:
    loops = Loops()
    devices.add()
    (device,) = devices
    device.initialise(16 * PAGE_SIZE)
    await devices.use_block_devices(loops)
    await devices.reset(device)
    assert not device.is_initialised
    assert loops.seen == ["attach zram0", "detach zram0", "attach zram0"]


async def test_block_device_in_use_keeps_its_device(devices: DeviceSet) -> None:
    loops = Loops()
    devices.add()
    (device,) = devices
    device.initialise(16 * PAGE_SIZE)
    await devices.use_block_devices(loops)
    loops.in_use = True
    with pytest.raises(DeviceBusy):
        await devices.reset(device)
    with pytest.raises(DeviceBusy):
        await devices.hot_remove(0)
    assert device.is_initialised


async def test_device_that_others_have_open_is_not_taken_from_its_block_device(devices: DeviceSet) -> None:
    loops = Loops()
    devices.add()
    (device,) = devices
    await devices.use_block_devices(loops)
    device.open()
    with pytest.raises(DeviceBusy):
        await devices.reset(device)
    assert loops.seen == ["attach zram0"]


async def test_device_without_its_block_device_is_not_added(devices: DeviceSet) -> None:
    class NoLoops(Loops):
        async def attach(self, device: ZramDevice) -> None:
            raise CommandFailed(f"no loop device for {device.name}")

    await devices.use_block_devices(NoLoops())
    with pytest.raises(CommandFailed):
        await devices.hot_add()
    assert list(devices) == []


async def test_watcher_is_told_of_all_devices_from_the_first_on(devices: DeviceSet) -> None:
    watcher = Watcher()
    devices.add()
    devices.watch(watcher)
    devices.add()
    devices.remove(0)
    assert watcher.seen == ["+zram0", "+zram1", "-zram0"]
