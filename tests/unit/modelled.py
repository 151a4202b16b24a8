"""An accelerator behind its driver, and a codec that keeps its engines waiting, for tests of modelled devices."""

import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import trio
from streams import completed

from zramfs.accel.by_hand import HeldStream, take
from zramfs.accel.driver import AcceleratorDriver, EmulatedAccelerator
from zramfs.accel.profile import parse_accelerator
from zramfs.codec.lz4 import Lz4Codec
from zramfs.codec.run import FunctionCodec, PageCodec

PAGE = 4096

Pages = Callable[..., bytes]


class Gate:
    """A codec whose compression waits until the gate is opened, and says that it was reached."""

    def __init__(self) -> None:
        self.opened = threading.Event()
        self.reached = threading.Event()

    def create_context(self) -> PageCodec:
        return FunctionCodec(self.compress, bytes)

    def compress(self, page: bytes) -> bytes:
        self.reached.set()
        assert self.opened.wait(20)
        return page[:100]


class Device:
    """An accelerator with its driver, and what it stored."""

    def __init__(self, accelerator: EmulatedAccelerator, driver: AcceleratorDriver) -> None:
        self.accelerator = accelerator
        self.driver = driver

    def get(self) -> HeldStream:
        stream = take(self.driver)
        assert stream is not None
        return stream

    def set(self, **settings: object) -> None:
        for key, value in settings.items():
            self.accelerator.set(key, str(value))

    def counted(self, *names: str) -> tuple[float, ...]:
        statistics = self.driver.statistics()
        return tuple(statistics[name] for name in names)

    async def store(self, source: bytes) -> HeldStream:
        """Submit a source as one run, and wait for it; its stream is still to be put."""
        stream = self.get()
        assert stream.submit(source, 0, len(source) // PAGE) == len(source) // PAGE
        await completed(stream)
        return stream

    async def write(self, source: bytes) -> None:
        """Store a source, and see that every page of it reads back."""
        stream = await self.store(source)
        assert stream.decompressed(Lz4Codec()) == source
        assert stream.ends == 1
        stream.give()


@asynccontextmanager
async def opened(text: str, create_context: Callable[[], PageCodec] = Lz4Codec) -> AsyncIterator[Device]:
    """Open a device; at the end every descriptor must be free."""
    profile = parse_accelerator(text)
    assert profile is not None
    accelerator = EmulatedAccelerator(profile)
    async with trio.open_nursery() as nursery:
        driver = accelerator.attach(create_context)
        nursery.start_soon(driver.serve_completions)
        try:
            yield Device(accelerator, driver)
            assert driver.queue.inflight == 0
            assert len(driver.queue.watch.timeline) == 0
        finally:
            driver.close()
