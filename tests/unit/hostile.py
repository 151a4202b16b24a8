"""A backend of another package, of which tests let a promise at a time be broken, and what they ask of it then."""

import ctypes
import sys
import zlib
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest
import trio
from streams import written

from zramfs.accel.driver import EmulatedAccelerator
from zramfs.accel.profile import load_profile
from zramfs.codec.run import CompressedRun, FunctionCodec, PageCodec, RunCompressor
from zramfs.contracts import Accelerator, AlgorithmParams, Backend, BackendParams
from zramfs.streams import Stream, StreamManager
from zramfs.zcomp.trial import Trial
from zramfs.zcomp.zcomp import Zcomp

PAGE = 4096
STREAMS = 4
PAGES = 64
WHO = "hostile (algorithm hostile)"

Pages = Callable[..., bytes]


class Honest(Stream):
    """Is compressed when its manager is polled, or at once."""

    def __init__(self, manager: "HonestManager") -> None:
        self.manager = manager
        self.compressor = RunCompressor(codec(), 32)
        self.callback: Callable[[], None] | None = None
        self.work: Callable[[], object] = lambda: None
        super().__init__(self.compressor.run)

    def compress(self, source: Any, offset: int, pages: int) -> int:
        return self.compressor.compress(source, offset, pages)

    def submit(self, source: Any, offset: int, pages: int) -> int:
        self.is_complete = False
        self.work = lambda: self.compress(source, offset, min(pages, 32))
        self.manager.working.append(self)
        return min(pages, 32)

    def submit_polled(self, source: Any, offset: int, pages: int) -> int:
        return self.compress(source, offset, min(pages, 32))

    def when_complete(self, callback: Callable[[], None]) -> None:
        self.callback = callback

    def complete(self) -> None:
        self.work()
        self.is_complete = True
        self.call_back()

    def call_back(self) -> None:
        callback, self.callback = self.callback, None
        if callback is not None:
            callback()


class HonestManager(StreamManager):
    """Four streams. `stream_class` makes them; it polls with `polls`, and lets writes wait with `waits`."""

    def __init__(self, stream_class: type[Honest] = Honest, *, polls: bool = False, waits: bool = False) -> None:
        self.free = [stream_class(self) for _ in range(STREAMS)]
        self.streams = list(self.free)
        self.stream_count = STREAMS
        self.polled_run_pages = 16 if polls else 0
        self.waits = waits
        self.working: list[Honest] = []
        self.waiters: list[Callable[[], None]] = []
        self.closed = trio.Event()

    def get_stream(self) -> Any:
        return self.free.pop() if self.free else None

    def put_stream(self, stream: Any) -> None:
        stream.run.release()
        self.free.append(stream)
        if self.waiters:
            self.waiters.pop(0)()

    def can_poll(self, pages: int) -> bool:
        del pages
        return bool(self.free)

    def should_wait(self) -> bool:
        return self.waits

    def when_free(self, callback: Callable[[], None]) -> None:
        self.waiters.append(callback)

    def poll_completions(self) -> None:
        while self.working:
            self.working.pop(0).complete()

    async def serve_completions(self) -> None:
        while not self.closed.is_set():
            await trio.sleep(0.001)
            self.poll_completions()

    def statistics(self) -> Mapping[str, float]:
        return {"inflight": 0, "inflight_max": 0}

    def close(self) -> None:
        self.closed.set()


def text(pages: int, seed: int) -> bytes:
    return b"".join((b"page %d of %d, " % (page, seed) * 400)[:PAGE] for page in range(pages))


def codec() -> FunctionCodec:
    return FunctionCodec(lambda page: zlib.compress(page, 1), zlib.decompress)


class Package(Backend):
    """A backend of another package, with the manager that `make_manager` makes."""

    name = "hostile"

    def __init__(self, make_manager: Callable[[], Any]) -> None:
        self.make_manager = make_manager
        self.manager: Any = None
        self.is_released = False

    def setup_params(self, requested: AlgorithmParams, *, accelerator: Accelerator | None) -> BackendParams:
        params = BackendParams(algorithm=requested)
        if accelerator is None:
            return params
        self.manager = self.make_manager()
        return replace(params, manager=self.manager)

    def release_params(self, params: BackendParams) -> None:
        self.is_released = True
        if params.manager is not None:
            params.manager.close()

    def create_context(self, params: BackendParams) -> PageCodec:
        del params
        return codec()


def raises(*_: object) -> Any:
    raise ValueError("on\npurpose")


def exits(*_: object) -> Any:
    sys.exit(3)


def of_stream(**methods: Any) -> type[Honest]:
    return type("Hostile", (Honest,), methods)


def of_manager(**methods: Any) -> type[HonestManager]:
    return type("HostileManager", (HonestManager,), methods)


class Fate(ctypes.Structure):
    """CompressedPage, for what only a compiled package can do to it."""

    _fields_ = (
        ("page", ctypes.c_void_p),
        ("data", ctypes.c_void_p),
        ("fill", ctypes.c_uint64),
        ("length", ctypes.c_int32),
    )


def fate_of(run: CompressedRun, page: int = 0) -> Fate:
    pages = ctypes.c_void_p.from_address(id(run) + 16).value  # behind reference count and type
    assert pages is not None
    return Fate.from_address(pages + page * ctypes.sizeof(Fate))


def leaving(**fields: int | None) -> type[Honest]:
    """Make a stream that changes what became of its first page."""

    def compress(self: Honest, source: Any, offset: int, pages: int) -> int:
        taken = self.compressor.compress(source, offset, pages)
        fate = fate_of(self.run)
        if fate.length > 0:  # a same-filled page needs no data, and its stream is used again
            for name, value in fields.items():
                setattr(fate, name, value)
        return taken

    return of_stream(compress=compress)


async def write(disk: Trial, page: int, data: bytes) -> None:
    """Write as the block layer does: in one go if it is so short, else in the background."""
    begun = disk.write(page, data, is_async=True, may_begin=not disk.is_nowait(len(data) // PAGE, is_async=True))
    disk.lend_hand()
    await written(begun)


async def write_all(disk: Trial, random_pages: Pages, rounds: int = 3) -> None:
    """Write runs of every length, some at the same time, and read what was acknowledged."""
    with trio.fail_after(20):
        for seed in range(rounds):
            expected = bytearray(PAGES * PAGE)
            runs, page = [], 0
            for pages in (1, 2, 1, 3, 40, 1, 1, 10):
                data = text(pages, seed) if pages % 2 else random_pages(pages, seed)
                runs.append((page, bytes(PAGE) + data[PAGE:] if pages == 3 else data))
                page += pages
            async with trio.open_nursery() as nursery:
                for page, data in runs:
                    expected[page * PAGE : page * PAGE + len(data)] = data
                    nursery.start_soon(write, disk, page, data)
            assert disk.read(0, PAGES) == expected
        assert disk.failed_pages == 0


@asynccontextmanager
async def opened(package: Package) -> AsyncIterator[Trial]:
    zcomp = Zcomp(package, accelerator=EmulatedAccelerator(load_profile("ideal")))
    with trio.fail_after(30):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(zcomp.serve_completions)
            try:
                yield Trial(zcomp, PAGES)
            finally:
                zcomp.close()


def assert_switched_off(disk: Trial, log: pytest.LogCaptureFixture) -> None:
    assert disk.zcomp.manager_error.startswith(WHO)
    assert disk.zcomp.statistics().managed_streams == 0
    assert log.text.count("switched off") == 1


def assert_named_once_a_kind(log: pytest.LogCaptureFixture) -> None:
    lines = [record.getMessage() for record in log.records if "breaks its contract" in record.getMessage()]
    assert all(line.startswith(WHO) for line in lines)
    assert len(lines) == len(set(lines)) <= 4, lines
