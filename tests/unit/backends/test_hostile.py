"""The conformance suite's twin: a backend of another package breaks each promise of the contract, one at a time.

Whatever it does, what is acknowledged is stored, the log names the package, and nothing crashes or hangs.
"""

import threading
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from hostile import (
    STREAMS,
    WHO,
    Honest,
    HonestManager,
    Package,
    Pages,
    assert_named_once_a_kind,
    assert_switched_off,
    exits,
    leaving,
    of_manager,
    of_stream,
    opened,
    raises,
    write_all,
)

from zramfs.codec.run import CompressedRun

pytestmark = pytest.mark.usefixtures("impatience")


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
    [
        ("next_event_ns", raises),
        ("next_event_ns", lambda _: "soon"),
        ("work_for_device", raises),
        ("work_for_device", lambda _: True),
    ],
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
