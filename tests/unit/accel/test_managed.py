"""Managed streams: who gets one, what is counted of it, and what becomes of pages that the device fails on."""

import random
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from time import monotonic_ns
from typing import Final

import pytest

from zramfs.accel.by_hand import HeldStream, lend_hand, may_poll, must_wait, next_event_ns, reap, take
from zramfs.accel.contexts import ContextPool
from zramfs.accel.faults import FAULT_KINDS, FaultRate
from zramfs.accel.injector import FaultInjector
from zramfs.accel.managed import ManagedStreams
from zramfs.accel.modelled import ModelledQueue
from zramfs.accel.ring import DescriptorRing
from zramfs.accel.timing import Timing
from zramfs.codec.lz4 import Lz4Codec
from zramfs.codec.run import FunctionCodec, PageCodec, make_runs

PAGE: Final = 4096
DAY_NS: Final = 86_400 * 10**9
NEVER_NS: Final = (1 << 63) - 1
SOURCE: Final = random.Random(9).randbytes(2 * PAGE) + b"0123456789abcdef" * (2 * PAGE // 16) + b"text " * PAGE
AT_ONCE: Final = Timing()
FAR: Final = Timing(page_ns=DAY_NS)

Opened = Callable[..., ManagedStreams]


@pytest.fixture
def opened() -> Iterator[Opened]:
    """Make streams over a device without engines: its work is done when a test lends a hand."""
    with ExitStack() as stack:

        def make(
            depth: int = 8,
            *,
            polled_run_pages: int = 8,
            codec: Callable[[], PageCodec] = Lz4Codec,
        ) -> ManagedStreams:
            ring = DescriptorRing(depth, ContextPool([codec(), codec()]), [])
            runs = make_runs(depth, depth)
            queue = ModelledQueue(ring, runs, AT_ONCE, FaultInjector())
            stack.callback(queue.close)
            return ManagedStreams(queue, runs, polled_run_pages)

        yield make


def configure(
    streams: ManagedStreams, timing: Timing = AT_ONCE, *, timeout_ns: int = 1000 * DAY_NS, **rates: FaultRate
) -> None:
    every: Mapping[str, FaultRate] = dict.fromkeys(FAULT_KINDS, FaultRate()) | rates
    streams.queue.configure(timing=timing, timeout_ns=timeout_ns, stall_ns=0, rates=every, verifies=True)


def get(streams: ManagedStreams) -> HeldStream:
    stream = take(streams)
    assert stream is not None
    return stream


def work_off(streams: ManagedStreams) -> None:
    """Do all of the device's work, and learn of what is finished."""
    while lend_hand(streams):
        pass


# ---- streams --------------------------------------------------------------------------------------------------------


def test_there_are_as_many_streams_as_descriptors_and_each_is_one_callers(opened: Opened) -> None:
    streams = opened(3)
    held = [get(streams) for _ in range(3)]
    assert len({id(stream.run) for stream in held}) == 3
    assert take(streams) is None
    for stream in held:
        stream.give()
    assert streams.queue.inflight == 0


def test_stream_that_was_given_back_last_is_taken_first(opened: Opened) -> None:
    streams = opened(3)
    first, second = get(streams), get(streams)
    first.give()
    second.give()
    assert get(streams).run is second.run
    assert get(streams).run is first.run


def test_long_run_leaves_streams_without_descriptors(opened: Opened) -> None:
    streams = opened(4)
    stream = get(streams)
    assert stream.submit(SOURCE, 0, 4) == 4
    assert take(streams) is None
    work_off(streams)
    stream.give()
    assert take(streams) is not None


def test_refusals_are_counted(opened: Opened) -> None:
    streams = opened(1)
    stream = get(streams)
    assert [take(streams) for _ in range(3)] == [None] * 3
    assert streams.queue_full_count() == 3
    stream.give()
    get(streams).give()
    assert streams.queue_full_count() == 3


def test_nobody_gets_a_stream_that_nobody_serves_and_that_is_no_refusal(opened: Opened) -> None:
    streams = opened()
    streams.stop_serving()
    assert take(streams) is None
    assert streams.queue_full_count() == 0
    streams.set_online(False)
    streams.set_online(True)
    assert take(streams) is None


def test_nobody_gets_a_stream_of_a_device_that_is_away(opened: Opened) -> None:
    streams = opened()
    streams.set_online(False)
    assert (take(streams), streams.is_online) == (None, False)
    streams.set_online(True)
    assert (take(streams) is not None, streams.is_online) == (True, True)


@pytest.mark.parametrize("timing", [AT_ONCE, Timing(page_ns=1)])
def test_stream_whose_device_goes_before_it_is_used_is_given_back(opened: Opened, timing: Timing) -> None:
    streams = opened()
    configure(streams, timing)
    stream = get(streams)
    streams.set_online(False)
    assert stream.submit(SOURCE, 0, 3) == 0
    assert (streams.queue.inflight, streams.is_idle, stream.ends) == (0, True, 0)


def test_polled_stream_whose_device_goes_before_it_is_used_is_given_back(opened: Opened) -> None:
    streams = opened()
    stream = get(streams)
    streams.set_online(False)
    assert stream.compress(SOURCE, 0, 3) == 0
    assert (streams.queue.inflight, streams.queue.counters()["polled_pages"]) == (0, 0)


def test_streams_are_for_any_thread_unless_a_codec_is_python(opened: Opened) -> None:
    assert opened().any_thread  # type: ignore[attr-defined]
    python = FunctionCodec(lambda page: page[:10], lambda _: bytes(PAGE))
    assert not opened(codec=lambda: python).any_thread  # type: ignore[attr-defined]


# ---- runs -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("pages", [1, 2, 5])
def test_polled_run_is_done_when_it_returns_and_counted_when_it_is_given_back(opened: Opened, pages: int) -> None:
    streams = opened()
    stream = get(streams)
    assert stream.compress(SOURCE, 0, pages) == pages
    assert stream.decompressed(Lz4Codec()) == SOURCE[: pages * PAGE]
    assert streams.queue.counters()["polled_pages"] == 0
    stream.give()
    counters = streams.queue.counters()
    assert (counters["polled_pages"], counters["submitted_pages"]) == (pages, pages)
    assert streams.is_idle


@pytest.mark.parametrize("timing", [AT_ONCE, Timing(page_ns=1)])
def test_submitted_run_ends_once_with_its_pages(opened: Opened, timing: Timing) -> None:
    streams = opened()
    configure(streams, timing)
    stream = get(streams)
    assert stream.submit(SOURCE, 0, 6) == 6
    counters = streams.queue.counters()
    assert (counters["submitted_pages"], counters["polled_pages"]) == (6, 0)
    if timing is AT_ONCE:
        work_off(streams)
    else:  # whose work is its engines' alone
        streams.set_online(False)
    assert stream.ends == 1
    assert stream.decompressed(Lz4Codec()) == SOURCE[: 6 * PAGE]
    stream.give()
    assert len(stream.run) == 0


def test_device_is_idle_when_the_last_run_has_been_told_of(opened: Opened) -> None:
    streams = opened()
    told: list[bool] = []
    stream = get(streams)
    stream.submit(SOURCE, 0, 2)
    stream.when_complete(lambda: told.append(streams.is_idle))
    assert not streams.is_idle
    work_off(streams)
    assert (told, streams.is_idle) == ([False], True)


def test_reaping_says_whether_a_run_has_ended(opened: Opened) -> None:
    streams = opened()
    stream = get(streams)
    stream.submit(SOURCE, 0, 2)
    assert not reap(streams)
    work_off(streams)
    assert not reap(streams)
    assert stream.is_complete


def test_next_event_is_the_end_of_the_first_run(opened: Opened) -> None:
    streams = opened()
    configure(streams, FAR)
    assert next_event_ns(streams) == NEVER_NS
    began_ns = monotonic_ns()
    stream = get(streams)
    stream.submit(SOURCE, 0, 3)
    assert began_ns + 3 * DAY_NS <= next_event_ns(streams) <= monotonic_ns() + 3 * DAY_NS
    assert not lend_hand(streams)  # there is nothing to be awaited on a CPU
    streams.set_online(False)
    assert next_event_ns(streams) == NEVER_NS


# ---- polling and waiting --------------------------------------------------------------------------------------------


def test_runs_are_polled_for_up_to_their_length(opened: Opened) -> None:
    streams = opened(polled_run_pages=4)
    assert [may_poll(streams, pages) for pages in (1, 4, 5)] == [True, True, False]
    streams.set_polled_run_pages(0)
    assert not may_poll(streams, 1)


def test_runs_whose_end_is_far_or_uncertain_are_not_polled_for(opened: Opened) -> None:
    streams = opened()
    configure(streams, FAR)
    assert not may_poll(streams, 1)
    configure(streams)
    assert may_poll(streams, 1)
    configure(streams, timeout=FaultRate(every=10))
    assert not may_poll(streams, 1)


def test_whoever_would_wait_does_not_poll_for_a_descriptor(opened: Opened) -> None:
    streams = opened(1)
    stream = get(streams)
    assert may_poll(streams, 1)
    streams.waits_when_full = True
    assert not may_poll(streams, 1)
    stream.give()
    assert may_poll(streams, 1)


def test_callers_wait_while_somebody_serves_a_device_that_is_there(opened: Opened) -> None:
    streams = opened()
    assert not must_wait(streams)
    streams.waits_when_full = True
    assert must_wait(streams)
    streams.set_online(False)
    assert not must_wait(streams)
    streams.set_online(True)
    assert must_wait(streams)
    streams.stop_serving()
    assert not must_wait(streams)


# ---- failures -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "counted"),
    [("bus_error", "errors_bus_error"), ("corrupt", "errors_corrupt"), ("timeout", "errors_timeout")],
)
def test_pages_that_the_device_fails_on_are_redone_and_counted_by_kind(opened: Opened, kind: str, counted: str) -> None:
    streams = opened()
    configure(streams, timeout_ns=0 if kind == "timeout" else 1000 * DAY_NS, **{kind: FaultRate(every=2)})
    stream = get(streams)
    stream.submit(SOURCE, 0, 6)
    while not stream.is_complete:
        lend_hand(streams)
    assert stream.decompressed(Lz4Codec()) == SOURCE[: 6 * PAGE]
    errors = dict(streams.error_counts())
    assert (errors.pop("completion_errors"), errors.pop("software_redone"), errors.pop(counted)) == (3, 3, 3)
    assert set(errors.values()) == {0}


@pytest.mark.parametrize("timing", [AT_ONCE, FAR])
def test_run_of_a_device_that_goes_is_redone_and_ends_once(opened: Opened, timing: Timing) -> None:
    streams = opened()
    configure(streams, timing)
    stream = get(streams)
    stream.submit(SOURCE, 0, 5)
    streams.set_online(False)
    assert (stream.ends, streams.is_idle) == (1, True)
    assert stream.decompressed(Lz4Codec()) == SOURCE[: 5 * PAGE]
    assert streams.error_counts()["errors_offline"] == streams.error_counts()["software_redone"] == 5
    streams.set_online(True)
    reap(streams)
    assert stream.ends == 1


def test_work_that_was_done_before_the_device_went_is_not_trusted(opened: Opened) -> None:
    streams = opened()
    configure(streams, FAR)
    stream = get(streams)
    stream.submit(SOURCE, 0, 1)  # one page is worked off where it is submitted
    streams.set_online(False)
    assert stream.ends == 1
    assert streams.error_counts()["errors_offline"] == 1
    assert stream.decompressed(Lz4Codec()) == SOURCE[:PAGE]


def test_failures_of_the_codec_are_not_the_devices(opened: Opened) -> None:
    streams = opened(codec=lambda: FunctionCodec(lambda _: b"", lambda _: b""))
    stream = get(streams)
    stream.submit(SOURCE, 0, 2)
    work_off(streams)
    assert stream.run.lengths() == [-1, -1]
    assert streams.error_counts()["completion_errors"] == 0
