"""A device: its life, from initialisation to reset, and what it does when a part of it fails."""

import errno
import os
import threading
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from functools import partial

import pytest
import trio
from reads import read

from zramfs.backends.deflate import DEFLATE
from zramfs.backends.lz4 import LZ4
from zramfs.block.layer import BlockLayer
from zramfs.codec.run import FunctionCodec, PageCodec
from zramfs.contracts import AlgorithmParams, Backend, BackendParams, StreamPolicy
from zramfs.device.device import ZramDevice
from zramfs.device.serving import BioServer
from zramfs.device.settings import DeviceConfig
from zramfs.errors import CorruptPage, DeviceBusy, InvalidValue, MemoryLimitReached, NotInitialised, ZramError
from zramfs.kernel_stats import MmStat

PAGE = 4096
MIB = 1 << 20
TIB = 1 << 40

OpenDevice = Callable[..., AbstractAsyncContextManager[ZramDevice]]
Pages = Callable[..., bytes]


class FailingBackend(Backend):
    """Compresses until it is told to fail."""

    name = "failing"
    fails = False

    def create_context(self, params: BackendParams) -> PageCodec:
        del params
        return FunctionCodec(self.work, self.work)

    def work(self, data: bytes) -> bytes:
        if self.fails:
            raise ArithmeticError
        return data[:8] * 512 if len(data) == 64 else data[:8] * 8


def uninitialised(nursery: trio.Nursery, *, channels: int = 1) -> ZramDevice:
    server = BioServer(BlockLayer(channels - 1))
    return ZramDevice("zram7", server=server, nursery=nursery, config=DeviceConfig(backend=LZ4, accelerator=None))


# ---- life ---------------------------------------------------------------------------------------------------------


async def test_an_uninitialised_device_refuses_io_by_name(nursery: trio.Nursery) -> None:
    device = uninitialised(nursery)
    assert not device.disk.is_open
    with pytest.raises(NotInitialised, match="zram7 is not initialised"):
        await device.write(0, b"x")
    with pytest.raises(NotInitialised):
        await device.punch(0, PAGE)
    with pytest.raises(NotInitialised):
        await device.upkeep.compact()


async def test_statistics_of_an_uninitialised_device_are_zeros(nursery: trio.Nursery) -> None:
    device = uninitialised(nursery)
    device.settings.set_mem_limit(5000)
    device.statistics.reset_mem_used_max()
    assert device.statistics.mm_stat() == MmStat(0, 0, 0, 8192, 0, 0, 0, 0, 0)
    assert device.statistics.io_stat().failed_writes == device.statistics.io_stat().notify_free == 0
    assert device.statistics.streams().percpu_pages == 0
    assert device.statistics.accelerator() == {}
    assert (device.disksize, device.is_initialised) == (0, False)


async def test_disksize_is_rounded_up_to_a_page(nursery: trio.Nursery) -> None:
    device = uninitialised(nursery)
    device.initialise(16 * MIB + 1)
    assert device.disksize == 16 * MIB + PAGE
    assert device.is_initialised
    device.close()


@pytest.mark.parametrize("disksize", [0, -1])
async def test_a_size_that_is_none_is_refused(nursery: trio.Nursery, disksize: int) -> None:
    device = uninitialised(nursery)
    with pytest.raises(InvalidValue, match="is not a size for zram7"):
        device.initialise(disksize)
    assert not device.is_initialised


@pytest.mark.parametrize("disksize", [1 << 60, (1 << 60) + 1, (1 << 64) - 1])
async def test_a_size_beyond_the_address_space_is_refused(nursery: trio.Nursery, disksize: int) -> None:
    device = uninitialised(nursery)
    with pytest.raises(ZramError, match="address space") as caught:
        device.initialise(disksize)
    assert caught.value.errno == errno.ENOMEM
    assert not device.is_initialised


async def test_a_device_is_initialised_once(open_device: OpenDevice) -> None:
    async with open_device(4) as device:
        with pytest.raises(DeviceBusy, match="initialised already"):
            device.initialise(PAGE)
        with pytest.raises(DeviceBusy, match="algorithms cannot change"):
            device.settings.set_backend(LZ4)
        assert device.disksize == 4 * PAGE


async def test_reset_is_refused_while_the_device_is_open(open_device: OpenDevice) -> None:
    async with open_device(4) as device:
        device.open()
        device.open()
        device.release()
        with pytest.raises(DeviceBusy, match="in use"):
            device.reset()
        device.release()
        device.reset()
        assert not device.is_initialised


async def test_reset_is_refused_while_a_write_is_in_flight(open_device: OpenDevice, compressible_pages: Pages) -> None:
    async with open_device(200, accelerator="poc") as device:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(partial(device.write, 0, compressible_pages(128), is_async=True))
            while device.disk.in_flight == 0:
                await trio.lowlevel.checkpoint()
            with pytest.raises(DeviceBusy):
                device.reset()
        device.reset()


async def test_reset_forgets_everything(open_device: OpenDevice) -> None:
    async with open_device(4, mem_limit_pages=3) as device:
        await device.write(0, os.urandom(2 * PAGE))
        with pytest.raises(MemoryLimitReached):
            await device.write(2 * PAGE, os.urandom(2 * PAGE))
        await device.punch(0, PAGE)
        device.reset()
        assert device.statistics.mm_stat() == MmStat(0, 0, 0, 0, 0, 0, 0, 0, 0)
        assert device.statistics.io_stat() == type(device.statistics.io_stat())(0, 0, 0)
        assert (device.disksize, device.statistics.request_counts().write.ios) == (0, 0)


async def test_a_device_that_was_reset_starts_anew(open_device: OpenDevice) -> None:
    async with open_device(4) as device:
        await device.write(0, os.urandom(4 * PAGE))
        device.reset()
        device.initialise(2 * PAGE)
        assert read(device, 0, 2 * PAGE) == bytes(2 * PAGE)
        await device.write(0, b"x" * PAGE * 2, is_async=True)
        assert read(device, 0, 2 * PAGE) == b"x" * PAGE * 2


async def test_reset_right_after_initialising_is_harmless(nursery: trio.Nursery, open_device: OpenDevice) -> None:
    del nursery
    async with open_device(4) as device:
        for _ in range(5):
            device.reset()
            device.initialise(PAGE)
        await device.write(0, os.urandom(PAGE), is_async=True)


async def test_reset_puts_the_default_algorithm_and_the_limit_back(nursery: trio.Nursery) -> None:
    device = uninitialised(nursery)
    device.settings.set_backend(FailingBackend())
    device.settings.set_mem_limit(MIB)
    device.initialise(PAGE)
    device.reset()
    assert device.settings.backend is LZ4
    assert device.statistics.mm_stat().mem_limit == 0


async def test_reset_ends_the_engines(open_device: OpenDevice) -> None:
    before = threading.active_count()
    async with open_device(4, accelerator="ideal,engines=5") as device:
        assert threading.active_count() >= before + 5
        device.reset()
        assert threading.active_count() == before


async def test_a_device_of_1_tib_costs_little_memory(
    open_device: OpenDevice, resident_bytes: Callable[[], int]
) -> None:
    before = resident_bytes()
    async with open_device(TIB // PAGE) as device:
        assert device.disksize == TIB
        await device.write(TIB - 3 * PAGE, os.urandom(3 * PAGE), is_async=True)
        assert read(device, TIB - 4 * PAGE, PAGE) == bytes(PAGE)
        assert resident_bytes() - before < 8 * MIB


# ---- failures -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [PAGE, 100])
async def test_a_codec_that_fails_on_writing_leaves_the_old_contents(open_device: OpenDevice, size: int) -> None:
    backend = FailingBackend()
    async with open_device(4, backend=backend) as device:
        old = b"original" * 512
        await device.write(0, old[:-1] + b"!")
        backend.fails = True
        with pytest.raises(ZramError):
            await device.write(PAGE, os.urandom(size))
        backend.fails = False
        assert device.statistics.io_stat().failed_writes == 1
        assert read(device, PAGE, PAGE) == bytes(PAGE)
        assert read(device, 0, 8) == b"original"


async def test_a_codec_that_fails_on_an_overwrite_leaves_the_old_contents(open_device: OpenDevice) -> None:
    backend = FailingBackend()
    async with open_device(1, backend=backend) as device:
        await device.write(0, b"original" * 511 + b"another ")
        used = device.statistics.mm_stat()
        backend.fails = True
        with pytest.raises(ZramError, match="could not be compressed"):
            await device.write(0, os.urandom(PAGE))
        backend.fails = False
        assert read(device, 0, 8) == b"original"
        assert device.statistics.mm_stat() == used


async def test_a_page_that_does_not_decompress_is_a_failed_read(open_device: OpenDevice) -> None:
    backend = FailingBackend()
    async with open_device(4, backend=backend) as device:
        await device.write(0, b"original" * 511 + b"another ")
        backend.fails = True
        with pytest.raises(CorruptPage) as caught:
            read(device, 0, PAGE)
        assert caught.value.errno == errno.EIO
        assert device.statistics.io_stat().failed_reads == 1
        assert device.disk.in_flight == 0


async def test_a_partial_write_to_a_corrupt_page_is_a_failed_write(open_device: OpenDevice) -> None:
    backend = FailingBackend()
    async with open_device(4, backend=backend) as device:
        await device.write(0, b"original" * 511 + b"another ")
        backend.fails = True
        with pytest.raises(CorruptPage):
            await device.write(10, b"patch")
        assert device.statistics.io_stat().failed_writes == 1


@pytest.mark.parametrize("failing", ["ring", "thread"])
async def test_without_its_accelerator_a_device_works_per_cpu(
    open_device: OpenDevice, monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    def refuse(*_arguments: object) -> None:
        raise RuntimeError("can't start new thread")

    if failing == "thread":
        monkeypatch.setattr(threading.Thread, "start", refuse)
    else:
        monkeypatch.setattr("zramfs.accel.driver.DescriptorRing", refuse)
    source = os.urandom(40 * PAGE)
    async with open_device(40, accelerator="ideal", policy=StreamPolicy.MANAGED) as device:
        assert device.manager_error == "accelerator ideal: can't start new thread"
        await device.write(0, source, is_async=True)
        assert read(device, 0, len(source)) == source
        statistics = device.statistics.streams()
        assert (statistics.percpu_pages, statistics.managed_streams) == (40, 0)


async def test_a_device_without_an_accelerator_has_no_manager_error(open_device: OpenDevice) -> None:
    async with open_device(1, accelerator=None) as device:
        assert device.manager_error == ""


async def test_a_level_that_the_algorithm_refuses_leaves_the_device_uninitialised(
    nursery: trio.Nursery,
) -> None:
    device = uninitialised(nursery)
    device.settings.set_backend(DEFLATE, 0)
    device.settings.algorithms.set_params(0, AlgorithmParams(level=10))
    with pytest.raises(InvalidValue, match="deflate has no level 10"):
        device.initialise(PAGE)
    assert not device.is_initialised
