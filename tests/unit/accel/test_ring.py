"""The ring alone: without modelled time and faults the queue in front of it lets everything straight through."""

import os
import random
import select
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from zramfs.accel.by_hand import HeldStream, lend_hand, reap, take
from zramfs.accel.contexts import ContextPool
from zramfs.accel.injector import FaultInjector
from zramfs.accel.managed import ManagedStreams
from zramfs.accel.modelled import ModelledQueue
from zramfs.accel.ring import DescriptorRing
from zramfs.accel.timing import Timing
from zramfs.codec.lz4 import Lz4Codec
from zramfs.codec.run import FunctionCodec, PageCodec, RunCompressor, make_runs

PAGE = 4096
NOISE = random.Random(2026).randbytes(64 * PAGE)  # the same each time: in other noise LZ4 finds a match now and then


@contextmanager
def opened(
    queue_depth: int, engines: int | Sequence[PageCodec] = 2, capacity: int | None = None
) -> Iterator[ManagedStreams]:
    codecs = [Lz4Codec() for _ in range(engines)] if isinstance(engines, int) else engines
    ring = DescriptorRing(queue_depth, ContextPool([Lz4Codec(), Lz4Codec()]), codecs)
    runs = make_runs(queue_depth, capacity or queue_depth)
    queue = ModelledQueue(ring, runs, Timing(), FaultInjector())
    try:
        yield ManagedStreams(queue, runs, queue_depth)
    finally:
        queue.close()


def get(streams: ManagedStreams) -> HeldStream:
    stream = take(streams)
    assert stream is not None
    return stream


def submit(streams: ManagedStreams, source: bytes, pages: int) -> HeldStream:
    stream = get(streams)
    assert stream.submit(source, 0, pages) == pages
    return stream


def ended(streams: ManagedStreams, wanted: Sequence[HeldStream], count: int | None = None) -> list[HeldStream]:
    """Those that have ended, once there are so many: all, unless told otherwise. Woken by the interrupt alone."""
    while len(found := [stream for stream in wanted if stream.is_complete]) < (count or len(wanted)):
        readable, _, _ = select.select([streams.queue.ring.fd], [], [], 20)
        assert readable, f"{len(wanted) - len(found)} runs never finished"
        reap(streams)
    return found


def lengths(source: bytes) -> list[int]:
    pages = len(source) // PAGE
    compressor = RunCompressor(Lz4Codec(), pages)
    compressor.compress(source, 0, pages)
    return compressor.run.lengths()


MARKED = b"stop here" + os.urandom(PAGE - 9)


def open_files() -> list[str]:
    return sorted(path.name for path in Path("/proc/self/fd").iterdir())


class Gate:
    """A codec that waits at the marked page until it is opened."""

    def __init__(self) -> None:
        self.reached = threading.Event()
        self.opened = threading.Event()

    def create_codec(self) -> FunctionCodec:
        return FunctionCodec(self.compress, bytes)

    def compress(self, page: bytes) -> bytes:
        if page == MARKED:
            self.reached.set()
            assert self.opened.wait(20)
        return page[:100]


def contexts() -> ContextPool:
    return ContextPool([Lz4Codec()])


def test_a_submitted_run_is_compressed_as_by_a_per_cpu_stream(
    compressible_pages: Callable[..., bytes],
) -> None:
    source = compressible_pages(20) + bytes(PAGE) + os.urandom(PAGE)
    with opened(32) as streams:
        stream = submit(streams, source, 22)
        ended(streams, [stream])
        assert stream.run.lengths() == lengths(source)
        stream.give()


def test_a_run_longer_than_the_free_descriptors_is_taken_in_part() -> None:
    source = os.urandom(10 * PAGE)
    with opened(8) as streams:
        first, second = get(streams), get(streams)
        assert first.submit(source, 0, 5) == 5
        assert second.submit(source, 0, 5) == 3
        assert take(streams) is None
        ended(streams, [first, second])
        assert (len(first.run), len(second.run)) == (5, 3)
        first.give()
        assert streams.queue.inflight == 3
        second.give()


def test_a_run_longer_than_its_capacity_is_taken_in_part() -> None:
    with opened(8, capacity=3) as streams:
        stream = get(streams)
        assert stream.submit(os.urandom(8 * PAGE), 0, 8) == 3
        ended(streams, [stream])
        stream.give()


def test_a_stream_holds_a_descriptor_from_the_first_and_all_of_its_run_until_it_is_given_back() -> None:
    with opened(8) as streams:
        stream = get(streams)
        assert streams.queue.inflight == 1
        stream.submit(os.urandom(4 * PAGE), 0, 4)
        ended(streams, [stream])
        assert streams.queue.inflight == 4
        stream.give()
        assert (streams.queue.inflight, streams.queue.counters()["inflight_max"]) == (0, 4)
        assert len(stream.run) == 0


def test_a_stream_may_be_given_back_unused() -> None:
    with opened(1) as streams:
        for _ in range(3):
            get(streams).give()
        assert streams.queue.inflight == 0


def test_a_polled_run_is_done_when_it_returns(compressible_pages: Callable[..., bytes]) -> None:
    source = compressible_pages(3)
    with opened(8) as streams:
        stream = get(streams)
        assert stream.compress(source, 0, 3) == 3
        assert stream.run.lengths() == lengths(source)
        assert streams.queue.inflight == 3
        stream.give()
        counts = streams.queue.counters()
        assert (streams.queue.inflight, counts["polled_pages"], counts["submitted_pages"]) == (0, 3, 3)
        assert streams.queue.ring.counters() == {"doorbells": 0, "interrupts": 0}


def test_a_polled_run_is_taken_in_part_too() -> None:
    with opened(4) as streams:
        first, second = get(streams), get(streams)
        assert first.compress(os.urandom(3 * PAGE), 0, 3) == 3
        assert second.compress(os.urandom(3 * PAGE), 0, 3) == 1
        first.give()
        second.give()
        assert streams.queue.inflight == 0


@pytest.mark.parametrize("engines", [0, 1, 3])
def test_a_longer_polled_run_is_shared_and_done_when_it_returns(
    engines: int, compressible_pages: Callable[..., bytes]
) -> None:
    with opened(64, engines) as streams:
        for pages in range(1, 65):
            source = compressible_pages(pages)
            stream = get(streams)
            assert stream.compress(source, 0, pages) == pages
            assert stream.run.lengths() == lengths(source)
            stream.give()
        assert not reap(streams)
        assert streams.queue.ring.counters()["interrupts"] == 0


def test_a_polled_run_beside_others_is_done_first_and_they_finish_too() -> None:
    with opened(100, 1) as streams:
        for _ in range(50):
            others = [submit(streams, NOISE, 20) for _ in range(4)]
            polled = get(streams)
            assert polled.compress(NOISE, 0, 20) == 20
            assert polled.run.lengths() == lengths(NOISE[: 20 * PAGE])
            for stream in [*ended(streams, others), polled]:
                assert stream.ends == 1
                stream.give()
        assert streams.queue.inflight == 0


def test_two_polled_runs_at_once_are_each_done_when_they_return() -> None:
    expected = lengths(NOISE[: 20 * PAGE])

    def poll(streams: ManagedStreams, wrong: list[list[int]]) -> None:
        for _ in range(200):
            stream = get(streams)
            stream.compress(NOISE, 0, 20)
            if stream.run.lengths() != expected:
                wrong.append(stream.run.lengths())
            stream.give()

    with opened(40, 1) as streams:
        wrong: list[list[int]] = []
        threads = [threading.Thread(target=poll, args=(streams, wrong)) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert wrong == []
        assert streams.queue.counters()["polled_pages"] == 2 * 200 * 20


def test_a_driver_that_helps_works_off_what_no_engine_takes(compressible_pages: Callable[..., bytes]) -> None:
    source = compressible_pages(5)
    with opened(8, 0) as streams:
        assert not lend_hand(streams)
        stream = submit(streams, source, 5)
        while lend_hand(streams):
            pass
        assert stream.ends == 1
        assert stream.run.lengths() == lengths(source)
        stream.give()


def test_a_driver_that_helps_finishes_beside_engines() -> None:
    with opened(64, 2) as streams:
        for _ in range(100):
            running = [submit(streams, NOISE, 8) for _ in range(8)]
            while lend_hand(streams):
                pass
            for stream in ended(streams, running):
                assert stream.run.lengths() == lengths(NOISE[: 8 * PAGE])
                stream.give()


@pytest.mark.parametrize(("queue_depth", "engines"), [(1, 1), (3, 2), (16, 1), (64, 4)])
def test_many_runs_at_once_each_get_their_own_pages(queue_depth: int, engines: int) -> None:
    chance = random.Random(queue_depth)
    pages = [(chance.randbytes(chance.randrange(2, 3000)) * PAGE)[:PAGE] for _ in range(40)]
    flying: dict[HeldStream, bytes] = {}
    done = 0
    with opened(queue_depth, engines) as streams:
        while done < 300 or flying:
            while done < 300 and (stream := take(streams)) is not None:
                source = b"".join(chance.choices(pages, k=8))
                taken = stream.submit(source, 0, chance.randint(1, 8))
                flying[stream] = source[: taken * PAGE]
            for stream in ended(streams, list(flying), 1):
                source = flying.pop(stream)
                assert stream.run.lengths() == lengths(source)
                assert stream.decompressed(Lz4Codec()) == source
                stream.give()
                done += 1
        assert streams.queue.inflight == 0
        assert streams.queue.counters()["inflight_max"] == queue_depth


def test_descriptors_may_come_back_in_any_order() -> None:
    source = os.urandom(4 * PAGE)
    with opened(16) as streams:
        for seed in range(20):
            running = [submit(streams, source, 4) for _ in range(4)]
            ended(streams, running)
            random.Random(seed).shuffle(running)
            for stream in running:
                stream.give()
            assert streams.queue.inflight == 0


def test_a_later_run_may_finish_first() -> None:
    gate = Gate()
    with opened(2, [gate.create_codec(), gate.create_codec()]) as streams:
        slow = submit(streams, MARKED, 1)
        assert gate.reached.wait(20)
        fast = submit(streams, os.urandom(PAGE), 1)
        while not reap(streams):  # without the interrupt, which may wait for more
            pass
        assert (slow.ends, fast.ends) == (0, 1)
        gate.opened.set()
        ended(streams, [slow])


def test_a_run_finishes_only_with_its_last_page() -> None:
    gate = Gate()
    with opened(20, [gate.create_codec()]) as streams:
        stream = submit(streams, os.urandom(19 * PAGE) + MARKED, 20)
        assert gate.reached.wait(20)
        assert not reap(streams)
        gate.opened.set()
        ended(streams, [stream])
        assert stream.run.lengths() == [100] * 20


def test_doorbells_count_submissions_and_interrupts_count_reaps() -> None:
    with opened(4) as streams:
        for _ in range(5):
            stream = submit(streams, os.urandom(2 * PAGE), 2)
            ended(streams, [stream])
            stream.give()
        assert streams.queue.ring.counters() == {"doorbells": 5, "interrupts": 5}
        assert streams.queue.counters()["submitted_pages"] == 10


def test_reap_of_nothing_finds_nothing() -> None:
    with opened(4) as streams:
        assert not reap(streams)


def test_close_joins_the_engines_and_closes_the_eventfd() -> None:
    before = threading.active_count()
    ring = DescriptorRing(4, contexts(), [Lz4Codec() for _ in range(3)])
    fd = ring.fd
    assert threading.active_count() == before + 3
    assert ring.engine_count == 3
    ring.close()
    assert threading.active_count() == before
    assert ring.fd == -1
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(fd)


def test_close_twice_is_as_good_as_once() -> None:
    ring = DescriptorRing(4, contexts(), [Lz4Codec()])
    ring.close()
    ring.close()
    assert ring.engine_count == 0


def test_close_lets_the_engines_finish_what_is_queued() -> None:
    with opened(64, 1) as streams:
        stream = submit(streams, NOISE, 64)
        streams.queue.ring.close()
        assert reap(streams)
        assert stream.run.lengths() == [4114] * 64


def test_a_thread_that_does_not_start_leaves_none_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    before = threading.active_count()
    fds = open_files()
    start = threading.Thread.start

    def start_two(thread: threading.Thread) -> None:
        if thread.name == "engine-2":
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", start_two)
    with pytest.raises(RuntimeError, match="can't start"):
        DescriptorRing(4, contexts(), [Lz4Codec() for _ in range(4)])
    assert threading.active_count() == before
    assert open_files() == fds


def test_a_process_may_end_with_a_ring_still_open() -> None:
    script = (
        "from zramfs.accel.ring import DescriptorRing as R; from zramfs.codec.lz4 import Lz4Codec as C;"
        "from zramfs.accel.contexts import ContextPool as P; ring = R(4, P([C()]), [C(), C()]); 1 / 0"
    )
    ended = subprocess.run([sys.executable, "-c", script], timeout=30, check=False, capture_output=True)
    assert ended.returncode == 1
    assert b"ZeroDivisionError" in ended.stderr
