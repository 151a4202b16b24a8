from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial

import pytest
import trio
import trio.testing

from zramfs.backends.lz4 import LZ4
from zramfs.block.layer import BlockLayer
from zramfs.device.device import ZramDevice
from zramfs.device.device_set import DeviceSet
from zramfs.device.serving import BioServer
from zramfs.device.settings import DeviceConfig
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
    server = BioServer(BlockLayer())

    def make(name: str) -> ZramDevice:
        return ZramDevice(name, server=server, nursery=nursery, config=DeviceConfig(backend=LZ4, accelerator=None))

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


@pytest.mark.parametrize("let_go", [DeviceSet.reset, lambda devices, _: devices.hot_remove(0)], ids=["reset", "remove"])
async def test_device_that_is_being_closed_is_awaited(
    devices: DeviceSet, let_go: Callable[[DeviceSet, ZramDevice], Awaitable[None]]
) -> None:
    """The kernel tells of a close when the closer has gone on."""
    devices.add()
    (device,) = devices
    device.initialise(16 * PAGE_SIZE)
    device.open()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(let_go, devices, device)
        await trio.testing.wait_all_tasks_blocked()
        assert device.is_initialised
        device.release()
    assert not device.is_initialised


async def test_device_that_stays_open_is_busy(devices: DeviceSet) -> None:
    devices.add()
    (device,) = devices
    device.open()
    with pytest.raises(DeviceBusy):
        await devices.reset(device)
    device.release()


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


async def test_device_that_is_open_already_stays_without_its_block_device(devices: DeviceSet) -> None:
    class NoLoops(Loops):
        async def attach(self, device: ZramDevice) -> None:
            device.open()
            raise CommandFailed(f"no loop device for {device.name}")

    await devices.use_block_devices(NoLoops())
    with pytest.raises(CommandFailed):
        await devices.hot_add()
    assert [device.openers for device in devices] == [1]


class SlowLoops(Loops):
    """Lets go of nothing before `gate` is open."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = trio.Event()

    async def detach(self, device: ZramDevice) -> None:
        await self.gate.wait()
        await super().detach(device)


async def replace_before(devices: DeviceSet, late: Callable[[], Awaitable[None]]) -> None:
    """Let `late` wait for its turn while zram0 is being removed, and a new zram0 is about to come; it is told."""

    async def fail() -> None:
        with pytest.raises(NoSuchDevice):
            await late()

    (removed,) = devices
    loops = SlowLoops()
    await devices.use_block_devices(loops)
    async with trio.open_nursery() as nursery:
        for change in (partial(devices.hot_remove, 0), devices.hot_add, fail):
            nursery.start_soon(change)
            await trio.testing.wait_all_tasks_blocked()
        loops.gate.set()
    (added,) = devices
    assert (added.name, added is removed) == ("zram0", False)
    assert loops.seen == ["attach zram0", "detach zram0", "forget zram0", "attach zram0"]


async def test_removal_that_waited_spares_a_new_device_of_the_same_number(devices: DeviceSet) -> None:
    devices.add()
    await replace_before(devices, partial(devices.hot_remove, 0))


async def test_reset_that_waited_spares_a_new_device_of_the_same_number(devices: DeviceSet) -> None:
    devices.add()
    (device,) = devices
    await replace_before(devices, partial(devices.reset, device))


async def test_watcher_is_told_of_all_devices_from_the_first_on(devices: DeviceSet) -> None:
    watcher = Watcher()
    devices.add()
    devices.watch(watcher)
    devices.add()
    devices.remove(0)
    assert watcher.seen == ["+zram0", "+zram1", "-zram0"]
