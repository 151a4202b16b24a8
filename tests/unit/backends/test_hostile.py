"""The conformance suite's twin: a backend of another package breaks each promise of the contract, one at a time.

Whatever it does, what is acknowledged is stored, the log names the package, and nothing crashes or hangs.
"""

import ctypes
import logging
import sys
import threading
import zlib
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest
import trio
from streams import written

from zramfs.accel.driver import EmulatedAccelerator
from zramfs.accel.profile import load_profile
from zramfs.backends import checked
from zramfs.backends.lz4 import LZ4
from zramfs.backends.promises import MOST_BROKEN, describe
from zramfs.codec.run import CompressedRun, FunctionCodec, PageCodec, RunCompressor
from zramfs.contracts import Accelerator, AlgorithmParams, Backend, BackendParams
from zramfs.errors import BackendBroken
from zramfs.streams import Stream, StreamManager
from zramfs.zcomp.trial import Trial
from zramfs.zcomp.zcomp import Zcomp

PAGE = 4096
STREAMS = 4
PAGES = 64
WHO = "tests (algorithm hostile)"

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


def taking(result: Any) -> type[Honest]:
    """Make a stream that says it took so many pages, and takes them all."""

    def submit(self: Honest, source: Any, offset: int, pages: int) -> Any:
        Honest.submit(self, source, offset, pages)
        return result(min(pages, 32)) if callable(result) else result

    return of_stream(submit=submit)


def taking_at_once(result: Any) -> type[Honest]:
    def submit(self: Honest, source: Any, offset: int, pages: int) -> Any:
        self.compress(source, offset, min(pages, 32))
        return result(min(pages, 32)) if callable(result) else result

    return of_stream(submit=submit)


def compressing(compress: Callable[[Honest, bytes, int, int], int]) -> type[Honest]:
    return of_stream(compress=compress)


def raises_after_it_began(self: Honest, source: Any, offset: int, pages: int) -> int:
    Honest.submit(self, source, offset, pages)
    raise ValueError("too late")


def says_complete(self: Honest, source: Any, offset: int, pages: int) -> int:
    taken = Honest.submit(self, source, offset, pages)
    self.is_complete = True
    return taken


def loses_its_run(self: Honest, source: Any, offset: int, pages: int) -> int:
    taken = Honest.submit(self, source, offset, pages)
    self.run = None  # type: ignore[assignment]
    return taken


def completes_another_run(self: Honest) -> None:
    self.work()
    self.run = CompressedRun(32)
    self.is_complete = True
    self.call_back()


def calls_back_before_the_end(self: Honest) -> None:
    self.call_back()


def calls_back_and_raises(self: Honest, callback: Callable[[], None]) -> None:
    self.work()
    self.is_complete = True
    callback()
    raise ValueError("after all")


def calls_back_twice(self: Honest) -> None:
    callback = self.callback
    self.work()
    self.is_complete = True
    assert callback is not None
    callback()
    callback()


def calls_back_elsewhere(self: Honest) -> None:
    self.work()
    self.is_complete = True
    thread = threading.Thread(target=self.call_back)
    thread.start()
    thread.join()


def gives_one_out_twice(self: HonestManager) -> Any:
    return self.streams[0]


def keeps_the_data(self: HonestManager, stream: Any) -> None:
    self.free.append(stream)


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


STREAM_BREACHES: dict[str, type[Honest]] = {
    "submit raises": of_stream(submit=raises),
    "submit exits": of_stream(submit=exits),
    "submit raises after it began": of_stream(submit=raises_after_it_began),
    "takes no page": taking(0),
    "takes -1 pages": taking(-1),
    "takes -7 pages": taking(-7),
    "takes more than it was offered": taking(lambda pages: pages + 1),
    "takes a number that no int holds": taking(1 << 70),
    "takes text": taking("2"),
    "takes None": taking(None),
    "takes one page more than its run has": taking_at_once(lambda pages: pages + 1),
    "takes one page less than its run has": taking_at_once(lambda pages: pages - 1),
    "takes no page at once": taking_at_once(0),
    "says that it is complete": of_stream(submit=says_complete),
    "has a run of one page": compressing(lambda self, source, _, __: self.compressor.compress(source, 0, 1)),
    "has a run of other memory": compressing(
        lambda self, source, _, pages: self.compressor.compress(bytes(len(source)), 0, pages)
    ),
    "has an earlier run": compressing(lambda *_: 0),
    "loses its run": of_stream(submit=loses_its_run),
    "completes another run": of_stream(complete=completes_another_run),
    "never completes": of_stream(complete=lambda _: None),
    "completes and never calls back": of_stream(call_back=lambda _: None),
    "calls back before the end": of_stream(complete=calls_back_before_the_end),
    "calls back twice": of_stream(complete=calls_back_twice),
    "calls back on another thread": of_stream(complete=calls_back_elsewhere),
    "when_complete raises": of_stream(when_complete=raises),
    "when_complete calls back before the end": of_stream(when_complete=lambda _, callback: callback()),
    "when_complete calls back and raises": of_stream(when_complete=calls_back_and_raises),
    "a length below all statuses": leaving(length=-9),
    "a length above all": leaving(length=1 << 30),
    "a page that is not same-filled": leaving(length=0),
    "a page without data": leaving(data=None),
    "a page elsewhere": leaving(page=4096),
}

MANAGER_BREACHES: dict[str, Callable[[], HonestManager]] = {
    "get_stream raises": of_manager(get_stream=raises),
    "get_stream exits": of_manager(get_stream=exits),
    "get_stream gives something else": of_manager(get_stream=lambda _: object()),
    "get_stream gives a stream twice": of_manager(get_stream=gives_one_out_twice),
    "put_stream raises": of_manager(put_stream=raises),
    "put_stream keeps the data": of_manager(put_stream=keeps_the_data),
    "poll_completions raises": of_manager(poll_completions=raises),
    "can_poll raises": lambda: of_manager(can_poll=raises)(polls=True),
    "submit_polled raises": lambda: HonestManager(of_stream(submit_polled=raises), polls=True),
    "submit_polled is not complete": lambda: HonestManager(of_stream(submit_polled=Honest.submit), polls=True),
    "submit_polled takes too many": lambda: HonestManager(
        of_stream(submit_polled=lambda self, *run: Honest.submit_polled(self, *run) + 1), polls=True
    ),
    "should_wait raises": of_manager(get_stream=lambda _: None, should_wait=raises),
    "when_free calls on another thread": lambda: CallingElsewhere(waits=True),
    "serve_completions raises": of_manager(serve_completions=raises),
    "serve_completions is no coroutine": of_manager(serve_completions=lambda _: 7),
}

WAITING_BREACHES: dict[str, Callable[[], HonestManager]] = {
    "when_free raises": lambda: of_manager(when_free=raises, get_stream=lambda _: None)(waits=True),
    "when_free never calls": lambda: of_manager(when_free=lambda *_: None, get_stream=lambda _: None)(waits=True),
    "when_free calls at once": lambda: of_manager(when_free=lambda _, call: call(), get_stream=lambda _: None)(
        waits=True
    ),
    "when_free calls in vain": lambda: CallingInVain(waits=True),
}


class CallingElsewhere(HonestManager):
    def get_stream(self) -> None:
        return None

    def when_free(self, callback: Callable[[], None]) -> None:
        thread = threading.Thread(target=callback)
        thread.start()
        thread.join()


class CallingInVain(HonestManager):
    def get_stream(self) -> None:
        return None

    def poll_completions(self) -> None:
        while self.waiters:
            self.waiters.pop()()


def cases(breaches: Mapping[str, Any]) -> Any:
    return pytest.mark.parametrize("make", list(breaches.values()), ids=list(breaches))


@pytest.fixture(autouse=True)
def _impatience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checked, "TICK_S", 0.002)


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    caplog.set_level(logging.INFO)
    yield caplog
    assert "Traceback" not in caplog.text


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


async def test_honest_package_is_left_alone(random_pages: Pages, log: pytest.LogCaptureFixture) -> None:
    package = Package(lambda: HonestManager(polls=True, waits=True))
    async with opened(package) as disk:
        await write_all(disk, random_pages)
        assert not disk.zcomp.any_thread
        assert disk.zcomp.manager_error == ""
        assert disk.zcomp.statistics().managed_pages > 0
        assert disk.zcomp.accelerator_statistics()["broken_promises"] == 0
        assert len(package.manager.free) == STREAMS
        assert all(len(stream.run) == 0 for stream in package.manager.streams)
    assert package.is_released
    assert log.records == []


@cases(STREAM_BREACHES)
async def test_stream_that_breaks_a_promise_costs_no_data(
    make: type[Honest],
    random_pages: Pages,
    log: pytest.LogCaptureFixture,
) -> None:
    async with opened(Package(lambda: HonestManager(make))) as disk:
        await write_all(disk, random_pages, 6)
        assert_switched_off(disk, log)
    assert_named_once_a_kind(log)


@cases(MANAGER_BREACHES)
async def test_manager_that_breaks_a_promise_costs_no_data(
    make: Callable[[], HonestManager],
    random_pages: Pages,
    log: pytest.LogCaptureFixture,
) -> None:
    async with opened(Package(make)) as disk:
        await write_all(disk, random_pages, 4)
        assert_switched_off(disk, log)
    assert_named_once_a_kind(log)


@cases(WAITING_BREACHES)
async def test_writes_do_not_wait_for_a_manager_that_never_calls_them(
    make: Callable[[], HonestManager],
    random_pages: Pages,
    log: pytest.LogCaptureFixture,
) -> None:
    async with opened(Package(make)) as disk:
        await write_all(disk, random_pages)
        assert disk.zcomp.statistics().fallback_pages >= 3 * 59
    assert f"{WHO}: when_free()" in log.text
    assert_named_once_a_kind(log)


@pytest.mark.parametrize("answer", [True, False])
async def test_manager_without_a_stream_that_polls_and_waits(random_pages: Pages, *, answer: bool) -> None:
    manager = of_manager(get_stream=lambda _: None, can_poll=lambda *_: answer)
    async with opened(Package(lambda: manager(polls=True, waits=True))) as disk:
        await write_all(disk, random_pages)


@pytest.mark.parametrize(
    ("method", "value"),
    [("next_event_ns", raises), ("next_event_ns", lambda _: "soon"), ("help", raises), ("help", lambda _: True)],
)
async def test_idle_device_asks_the_package_nothing(random_pages: Pages, method: str, value: Any) -> None:
    async with opened(Package(of_manager(**{method: value}))) as disk:
        await write_all(disk, random_pages)
        assert not disk.lend_hand()
        assert disk.next_event_ns() == (1 << 63) - 1


@pytest.mark.parametrize("found", [7, None, [1], {"inflight": "many"}, {1: 2}, {"in flight\n": 1}])
async def test_statistics_are_numbers_by_name(found: object, log: pytest.LogCaptureFixture) -> None:
    async with opened(Package(of_manager(statistics=lambda _: found))) as disk:
        assert disk.zcomp.statistics().inflight == 0
        assert disk.zcomp.accelerator_statistics().keys() == {"broken_promises", "software_redone"}
    assert f"{WHO}: statistics()" in log.text


@pytest.mark.parametrize("completes_at_once", [True, False])
async def test_page_that_a_managed_stream_fails_on_is_compressed_by_the_cpu(
    random_pages: Pages, log: pytest.LogCaptureFixture, *, completes_at_once: bool
) -> None:
    def when_complete(self: Honest, callback: Callable[[], None]) -> None:
        Honest.when_complete(self, callback)
        if completes_at_once:
            self.complete()

    failing = leaving(length=-1)
    failing.when_complete = when_complete  # type: ignore[method-assign]
    package = Package(lambda: HonestManager(failing))
    async with opened(package) as disk:
        await write_all(disk, random_pages)
        assert disk.zcomp.manager_error == ""
        assert len(package.manager.free) == STREAMS
    assert log.records == []


async def test_accelerator_of_a_package_that_fails_afterwards_is_closed(
    random_pages: Pages, monkeypatch: pytest.MonkeyPatch
) -> None:
    def setup_params(self: Package, requested: AlgorithmParams, *, accelerator: Accelerator | None) -> Any:
        if accelerator is None:
            return BackendParams(algorithm=requested)
        self.manager = accelerator.attach(codec)
        raise ValueError("too late")

    monkeypatch.setattr(Package, "setup_params", setup_params)
    package = Package(HonestManager)
    before = threading.active_count()
    async with opened(package) as disk:
        await write_all(disk, random_pages, 1)
        assert threading.active_count() <= before + 1  # the read helper
    assert package.manager is not None


async def test_stream_that_raises_once_is_used_again(random_pages: Pages) -> None:
    left = [ValueError("once")]

    def submit(self: Honest, *run: Any) -> int:
        if left:
            raise left.pop()
        return Honest.submit(self, *run)

    package = Package(lambda: HonestManager(of_stream(submit=submit)))
    async with opened(package) as disk:
        await write_all(disk, random_pages)
        assert len(package.manager.free) == STREAMS
        assert disk.zcomp.accelerator_statistics()["broken_promises"] == 1
        assert disk.zcomp.manager_error == ""
        assert disk.zcomp.statistics().managed_pages > 0


async def test_managed_streams_are_switched_off_at_the_eighth_broken_promise(random_pages: Pages) -> None:
    async with opened(Package(lambda: HonestManager(of_stream(submit=raises)))) as disk:
        for broken in range(MOST_BROKEN):
            assert disk.zcomp.manager_error == ""
            assert disk.zcomp.accelerator_statistics()["broken_promises"] == broken
            await write(disk, 0, random_pages(1))
        assert "submit() raised ValueError: on purpose" in disk.zcomp.manager_error
        assert f"the last of {MOST_BROKEN} broken promises" in disk.zcomp.manager_error
        before = disk.zcomp.statistics()
        await write(disk, 0, random_pages(1))
        after = disk.zcomp.statistics()
        assert (after.percpu_pages, after.fallback_pages) == (before.percpu_pages + 1, before.fallback_pages)


class Stuck(HonestManager):
    """Its streams never complete, and its `close` waits for them, as one that joins its thread does."""

    def poll_completions(self) -> None:
        pass

    def close(self) -> None:
        assert not self.working, "a close that never ends"

    async def serve_completions(self) -> None:
        with trio.CancelScope(shield=True):
            while not self.working or not self.working[0].is_complete:  # noqa: ASYNC110 - as packages do
                await trio.sleep(0.001)


async def test_device_ends_beside_a_stream_that_never_completes(
    random_pages: Pages, log: pytest.LogCaptureFixture
) -> None:
    package = Package(Stuck)
    async with opened(package) as disk:
        data = random_pages(1)
        await write(disk, 0, data)
        assert disk.read(0, 1) == data
    assert not package.is_released
    assert "1 of its streams do not end, and stay behind" in log.text


async def test_daemon_that_ends_waits_for_no_stream(random_pages: Pages, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checked, "TICK_S", 1000)
    package = Package(lambda: of_manager(poll_completions=lambda _: None)(waits=True))
    async with opened(package) as disk:
        data = random_pages(STREAMS + 2)
        writes = [
            disk.write(page, data[page * PAGE : (page + 1) * PAGE], is_async=True)
            for page in range(STREAMS + 2)  # the last two wait for a stream
        ]
        assert disk.may_stall()
        assert not any(each.is_done for each in writes)
        disk.zcomp.abandon()
        assert all(each.is_done for each in writes)
        assert disk.read(0, STREAMS + 2) == data


async def test_what_a_lost_stream_does_later_changes_nothing(random_pages: Pages) -> None:
    package = Package(of_manager(poll_completions=lambda _: None))
    async with opened(package) as disk:
        first, second = random_pages(1, 1), random_pages(1, 2)
        await write(disk, 0, first)
        await write(disk, 0, second)
        for stream in package.manager.working:
            stream.complete()
        assert disk.read(0, 1) == second
        assert disk.zcomp.accelerator_statistics()["broken_promises"] == 2
        assert disk.zcomp.accelerator_statistics()["software_redone"] == 2
    assert package.is_released


async def test_cancelled_device_completes_what_is_in_flight(random_pages: Pages) -> None:
    data = random_pages(2)
    package = Package(of_manager(poll_completions=lambda _: None))
    with trio.fail_after(10), trio.CancelScope() as scope:
        async with opened(package) as disk:
            begun = disk.write(0, data, is_async=True)
            scope.cancel()
            with trio.CancelScope(shield=True):
                assert (await written(begun)).kinds == (0, 2, 0)
                assert disk.read(0, 2) == data
    assert scope.cancelled_caught


# ---- codecs ------------------------------------------------------------------------------------------------------


def codec_failing_on(marker: bytes, result: Any) -> Callable[..., FunctionCodec]:
    def compress(page: bytes) -> Any:
        if page.startswith(marker):
            return result()
        return zlib.compress(page, 1)

    return lambda *_: FunctionCodec(compress, zlib.decompress)


@pytest.mark.parametrize("result", [raises, exits, lambda: b"", lambda: "text", lambda: None, lambda: 4096])
@pytest.mark.parametrize("is_async", [True, False])
async def test_page_that_its_codec_cannot_compress_keeps_its_old_contents(
    monkeypatch: pytest.MonkeyPatch,
    log: pytest.LogCaptureFixture,
    result: Any,
    *,
    is_async: bool,
) -> None:
    monkeypatch.setattr(Package, "create_context", codec_failing_on(b"bad", result))
    old, new = text(3, 1), text(3, 2)
    new = new[:PAGE] + b"bad" + new[PAGE + 3 :]
    package = Package(HonestManager)
    async with opened(package) as disk:
        await written(disk.write(0, old, is_async=is_async))
        monkeypatch.setattr(Honest, "compress", lambda self, *run: self.compressor.compress(*run))
        package_codec = codec_failing_on(b"bad", result)()
        for stream in package.manager.streams:
            stream.compressor = RunCompressor(package_codec, 32)
            stream.run = stream.compressor.run
        await written(disk.write(0, new, is_async=is_async))
        assert disk.failed_pages == 1
        assert disk.read(0, 3) == new[:PAGE] + old[PAGE : 2 * PAGE] + new[2 * PAGE :]
        assert disk.zcomp.manager_error == ""
    assert f"{WHO}: compress() failed on a page" in log.text
    assert_named_once_a_kind(log)


@pytest.mark.parametrize("result", [b"", b"short", bytes(PAGE + 1), None, "x" * PAGE, [0] * PAGE])
def test_decompressed_page_has_4096_bytes(result: Any) -> None:
    told: list[str] = []
    codec = FunctionCodec(zlib.compress, lambda _: result)
    codec.on_failure = lambda function, error: told.append(f"{function} {describe(error)}")
    with pytest.raises(ValueError, match="does not decompress to one page"):
        codec.decompress(b"data")
    assert len(told) == 1
    assert told[0].startswith("decompress ")


# ---- backends ------------------------------------------------------------------------------------------------------


def setting_up(result: Any) -> Callable[..., Any]:
    """Make a setup_params that fails with an accelerator."""

    def setup_params(self: Package, requested: AlgorithmParams, *, accelerator: Accelerator | None) -> Any:
        del self
        return BackendParams(algorithm=requested) if accelerator is None else result()

    return setup_params


@pytest.mark.parametrize(
    "result",
    [
        raises,
        exits,
        lambda: None,
        lambda: BackendParams(algorithm="none"),  # type: ignore[arg-type]
        lambda: BackendParams(algorithm=AlgorithmParams(), manager="none"),  # type: ignore[arg-type]
    ],
)
async def test_backend_whose_managed_streams_cannot_be_set_up_has_per_cpu_streams(
    random_pages: Pages,
    monkeypatch: pytest.MonkeyPatch,
    log: pytest.LogCaptureFixture,
    result: Any,
) -> None:
    monkeypatch.setattr(Package, "setup_params", setting_up(result))
    async with opened(Package(HonestManager)) as disk:
        await write_all(disk, random_pages, 1)
        assert disk.zcomp.manager_error.startswith(f"{WHO}: setup_params()")
        assert disk.zcomp.statistics().managed_streams == 0
    assert f"{WHO}: setup_params()" in log.text


_ONE = codec()


@pytest.mark.parametrize("context", [object, lambda: _ONE, raises])
async def test_accelerator_gets_contexts_that_are_its_own(
    random_pages: Pages, monkeypatch: pytest.MonkeyPatch, context: Any
) -> None:
    def setup_params(self: Package, requested: AlgorithmParams, *, accelerator: Accelerator | None) -> BackendParams:
        self.manager = accelerator.attach(context) if accelerator else None
        return BackendParams(algorithm=requested, manager=self.manager)

    monkeypatch.setattr(Package, "setup_params", setup_params)
    async with opened(Package(HonestManager)) as disk:
        await write_all(disk, random_pages, 1)
        assert disk.zcomp.manager_error.startswith(f"{WHO}: create_context()")


@pytest.mark.parametrize("method", ["setup_params", "create_context"])
@pytest.mark.parametrize("result", [raises, exits, lambda *_, **__: None, lambda *_, **__: _ONE])
def test_backend_that_cannot_be_set_up_at_all_is_an_error_of_one_line(
    monkeypatch: pytest.MonkeyPatch, method: str, result: Any
) -> None:
    monkeypatch.setattr(Package, method, lambda *_, **__: result())
    backend = checked.checked(Package(HonestManager))

    def set_up() -> None:
        params = backend.setup_params(AlgorithmParams(), accelerator=None)
        backend.create_context(params)
        backend.create_context(params)

    with pytest.raises(BackendBroken) as caught:
        set_up()
    assert str(caught.value).startswith(f"{WHO}: {method}()")
    assert "\n" not in str(caught.value)


async def test_package_that_cannot_be_released_does_not_keep_the_device(
    monkeypatch: pytest.MonkeyPatch, log: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(Package, "release_params", raises)
    async with opened(Package(HonestManager)) as disk:
        disk.zcomp.close()
    assert f"{WHO}: release_params() raised ValueError: on purpose" in log.text


async def test_ours_are_not_checked() -> None:
    assert checked.checked(LZ4) is LZ4
    params = LZ4.setup_params(AlgorithmParams(), accelerator=EmulatedAccelerator(load_profile("ideal")))
    assert not isinstance(params.manager, checked.WatchedStreams)
    LZ4.release_params(params)


def test_error_of_a_package_is_one_line_that_says_where() -> None:
    class RudeError(Exception):
        def __str__(self) -> str:
            raise ValueError("no text for you")

    assert describe(RudeError()) == "RudeError"
    try:
        raises()
    except ValueError as error:
        assert __file__ in describe(error)
