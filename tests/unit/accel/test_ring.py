import os
import random
import select
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from zramfs.accel.ring import DescriptorRing
from zramfs.codec.lz4 import Lz4Codec
from zramfs.codec.run import CompressedRun, FunctionCodec, RunCompressor

PAGE = 4096
NOISE = random.Random(2026).randbytes(64 * PAGE)  # the same each time: in other noise LZ4 finds a match now and then


@contextmanager
def opened(queue_depth: int, engines: int = 2) -> Iterator[DescriptorRing]:
    ring = DescriptorRing(queue_depth, Lz4Codec(), [Lz4Codec() for _ in range(engines)])
    try:
        yield ring
    finally:
        ring.close()


def reap(ring: DescriptorRing, count: int) -> list[int]:
    numbers: list[int] = []
    while len(numbers) < count:
        readable, _, _ = select.select([ring.completion_fd], [], [], 20)
        assert readable, f"{count - len(numbers)} runs never finished"
        numbers += ring.reap()
    return numbers


def poll_once_finished(ring: DescriptorRing) -> list[int]:
    """What has finished, without its interrupt, which may wait for more."""
    while not (numbers := ring.reap()):
        pass
    return numbers


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


def test_a_submitted_run_is_compressed_as_by_a_per_cpu_stream(
    compressible_pages: Callable[..., bytes],
) -> None:
    source = compressible_pages(20) + bytes(PAGE) + os.urandom(PAGE)
    run = CompressedRun(32)
    with opened(32) as ring:
        assert ring.submit(7, run, source, 0, 22) == 22
        assert reap(ring, 1) == [7]
        assert run.lengths() == lengths(source)
        ring.retire(run)


def test_a_run_longer_than_the_free_descriptors_is_taken_in_part() -> None:
    source = os.urandom(10 * PAGE)
    first, second, third = (CompressedRun(8) for _ in range(3))
    with opened(8) as ring:
        assert ring.submit(0, first, source, 0, 5) == 5
        assert ring.submit(1, second, source, 0, 5) == 3
        assert ring.submit(2, third, source, 0, 5) == 0
        assert (len(second), len(third)) == (3, 0)
        assert sorted(reap(ring, 2)) == [0, 1]
        ring.retire(first)
        assert ring.free_descriptors == 5
        ring.retire(second)


def test_a_run_longer_than_its_capacity_is_taken_in_part() -> None:
    run = CompressedRun(3)
    with opened(8) as ring:
        assert ring.submit(0, run, os.urandom(8 * PAGE), 0, 8) == 3
        assert reap(ring, 1) == [0]
        ring.retire(run)


def test_a_run_holds_its_descriptors_until_it_is_retired() -> None:
    run = CompressedRun(8)
    with opened(8) as ring:
        ring.submit(0, run, os.urandom(4 * PAGE), 0, 4)
        reap(ring, 1)
        assert (ring.inflight, ring.free_descriptors) == (4, 4)
        ring.retire(run)
        assert (ring.inflight, ring.free_descriptors, ring.inflight_max) == (0, 8, 4)
        assert len(run) == 0


def test_a_run_beyond_its_source_is_refused_and_takes_nothing() -> None:
    run = CompressedRun(8)
    with opened(8) as ring:
        with pytest.raises(ValueError, match="no run of 4 pages"):
            ring.submit(0, run, bytes(3 * PAGE), 0, 4)
        with pytest.raises(ValueError, match="no run of 1 pages"):
            ring.compress_polled(0, run, bytes(PAGE), 1, 1)
        assert ring.free_descriptors == 8


def test_a_polled_run_is_done_when_it_returns(compressible_pages: Callable[..., bytes]) -> None:
    source = compressible_pages(3)
    run = CompressedRun(8)
    with opened(8) as ring:
        assert ring.compress_polled(0, run, source, 0, 3) == 3
        assert run.lengths() == lengths(source)
        assert (ring.inflight, ring.polled_pages, ring.submitted_pages) == (3, 3, 3)
        assert (ring.doorbells, ring.interrupts) == (0, 0)
        ring.retire(run)
        assert ring.free_descriptors == 8


def test_a_polled_run_is_taken_in_part_too() -> None:
    first, second = CompressedRun(4), CompressedRun(4)
    with opened(4) as ring:
        assert ring.compress_polled(0, first, os.urandom(3 * PAGE), 0, 3) == 3
        assert ring.compress_polled(1, second, os.urandom(3 * PAGE), 0, 3) == 1
        ring.retire(first)
        ring.retire(second)
        assert ring.free_descriptors == 4


@pytest.mark.parametrize("engines", [0, 1, 3])
def test_a_longer_polled_run_is_shared_and_done_when_it_returns(
    engines: int, compressible_pages: Callable[..., bytes]
) -> None:
    with opened(64, engines) as ring:
        for pages in range(1, 65):
            source = compressible_pages(pages)
            run = CompressedRun(64)
            assert ring.compress_polled(5, run, source, 0, pages) == pages
            assert run.lengths() == lengths(source)
            ring.retire(run)
        assert ring.reap() == []
        assert ring.interrupts == 0


def test_a_polled_run_beside_others_is_done_first_and_they_finish_too() -> None:
    others = [CompressedRun(20) for _ in range(4)]
    polled = CompressedRun(20)
    with opened(100, 1) as ring:
        for _ in range(50):
            for number, run in enumerate(others):
                ring.submit(number, run, NOISE, 0, 20)
            assert ring.compress_polled(4, polled, NOISE, 0, 20) == 20
            assert polled.lengths() == lengths(NOISE[: 20 * PAGE])
            assert sorted(reap(ring, 4)) == [0, 1, 2, 3]
            for run in (*others, polled):
                ring.retire(run)
        assert ring.free_descriptors == 100


def test_a_driver_that_helps_works_off_what_no_engine_takes(compressible_pages: Callable[..., bytes]) -> None:
    source = compressible_pages(5)
    run = CompressedRun(8)
    with opened(8, 0) as ring:
        assert not ring.help()
        ring.submit(2, run, source, 0, 5)
        while ring.help():
            pass
        assert reap(ring, 1) == [2]
        assert run.lengths() == lengths(source)
        ring.retire(run)


def test_a_driver_that_helps_finishes_beside_engines() -> None:
    runs = [CompressedRun(8) for _ in range(8)]
    with opened(64, 2) as ring:
        for _ in range(100):
            for number, run in enumerate(runs):
                ring.submit(number, run, NOISE, 0, 8)
            while ring.help():
                pass
            assert sorted(reap(ring, 8)) == list(range(8))
            for run in runs:
                assert run.lengths() == lengths(NOISE[: 8 * PAGE])
                ring.retire(run)


@pytest.mark.parametrize(("queue_depth", "engines"), [(1, 1), (3, 2), (16, 1), (64, 4)])
def test_many_runs_at_once_each_get_their_own_pages(queue_depth: int, engines: int) -> None:
    chance = random.Random(queue_depth)
    pages = [(chance.randbytes(chance.randrange(2, 3000)) * PAGE)[:PAGE] for _ in range(40)]
    runs = [CompressedRun(queue_depth) for _ in range(queue_depth)]
    free = list(range(queue_depth))
    flying: dict[int, list[int]] = {}
    done = 0
    with opened(queue_depth, engines) as ring:
        while done < 300:
            while free and ring.free_descriptors:
                number = free.pop()
                source = b"".join(chance.choices(pages, k=8))
                taken = ring.submit(number, runs[number], source, 0, chance.randint(1, 8))
                flying[number] = lengths(source[: taken * PAGE])
            for number in reap(ring, 1):
                assert runs[number].lengths() == flying.pop(number)
                ring.retire(runs[number])
                free.append(number)
                done += 1
        reap(ring, len(flying))
        for number in flying:
            ring.retire(runs[number])
        assert ring.free_descriptors == queue_depth
        assert ring.inflight_max == queue_depth


def test_descriptors_may_come_back_in_any_order() -> None:
    source = os.urandom(4 * PAGE)
    with opened(16) as ring:
        for seed in range(20):
            runs = [CompressedRun(4) for _ in range(4)]
            for number, run in enumerate(runs):
                assert ring.submit(number, run, source, 0, 4) == 4
            assert sorted(reap(ring, 4)) == [0, 1, 2, 3]
            random.Random(seed).shuffle(runs)
            for run in runs:
                ring.retire(run)
            assert ring.free_descriptors == 16


def test_a_later_run_may_finish_first() -> None:
    gate = Gate()
    slow, fast = CompressedRun(1), CompressedRun(1)
    ring = DescriptorRing(2, Lz4Codec(), [gate.create_codec(), gate.create_codec()])
    try:
        ring.submit(0, slow, MARKED, 0, 1)
        assert gate.reached.wait(20)
        ring.submit(1, fast, os.urandom(PAGE), 0, 1)
        assert poll_once_finished(ring) == [1]
        gate.opened.set()
        assert reap(ring, 1) == [0]
    finally:
        gate.opened.set()
        ring.close()


def test_a_run_finishes_only_with_its_last_page() -> None:
    gate = Gate()
    run = CompressedRun(20)
    ring = DescriptorRing(20, Lz4Codec(), [gate.create_codec()])
    try:
        ring.submit(3, run, os.urandom(19 * PAGE) + MARKED, 0, 20)
        assert gate.reached.wait(20)
        assert ring.reap() == []
        gate.opened.set()
        assert reap(ring, 1) == [3]
        assert run.lengths() == [100] * 20
    finally:
        gate.opened.set()
        ring.close()


def test_a_run_keeps_the_bytes_of_its_request_until_it_is_retired() -> None:
    run = CompressedRun(4)
    with opened(4) as ring:
        ring.submit(0, run, bytes(NOISE[: 4 * PAGE]), 0, 4)
        reap(ring, 1)
        assert run.lengths() == [4114] * 4
        ring.retire(run)
        assert run.lengths() == []


def test_doorbells_count_submissions_and_interrupts_count_reaps() -> None:
    run = CompressedRun(4)
    with opened(4) as ring:
        for _ in range(5):
            ring.submit(0, run, os.urandom(2 * PAGE), 0, 2)
            reap(ring, 1)
            ring.retire(run)
        assert (ring.doorbells, ring.submitted_pages) == (5, 10)
        assert ring.interrupts >= 5


def test_reap_of_nothing_is_empty() -> None:
    with opened(4) as ring:
        assert ring.reap() == []


def test_close_joins_the_engines_and_closes_the_eventfd() -> None:
    before = threading.active_count()
    ring = DescriptorRing(4, Lz4Codec(), [Lz4Codec() for _ in range(3)])
    fd = ring.completion_fd
    assert threading.active_count() == before + 3
    assert ring.engines == 3
    ring.close()
    assert threading.active_count() == before
    assert ring.completion_fd == -1
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(fd)


def test_close_twice_is_as_good_as_once() -> None:
    ring = DescriptorRing(4, Lz4Codec(), [Lz4Codec()])
    ring.close()
    ring.close()
    assert ring.engines == 0


def test_close_lets_the_engines_finish_what_is_queued() -> None:
    run = CompressedRun(64)
    ring = DescriptorRing(64, Lz4Codec(), [Lz4Codec()])
    ring.submit(0, run, NOISE, 0, 64)
    ring.close()
    assert run.lengths() == [4114] * 64


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
        DescriptorRing(4, Lz4Codec(), [Lz4Codec() for _ in range(4)])
    assert threading.active_count() == before
    assert open_files() == fds


def test_a_process_may_end_with_a_ring_still_open() -> None:
    script = (
        "from zramfs.accel.ring import DescriptorRing as R; from zramfs.codec.lz4 import Lz4Codec as C;"
        "ring = R(4, C(), [C(), C()]); 1 / 0"
    )
    ended = subprocess.run([sys.executable, "-c", script], timeout=30, check=False, capture_output=True)
    assert ended.returncode == 1
    assert b"ZeroDivisionError" in ended.stderr
