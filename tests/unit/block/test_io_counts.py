"""What a disk tells of its requests: how many, how large, how long they took."""

import os
import time
from collections.abc import Iterator

import pytest
from disks import do, lz4_disk, read

from zramfs.block.disk import Disk
from zramfs.errors import MemoryLimitReached

PAGE = 4096
RECEIVERS = 4


@pytest.fixture
def disk() -> Iterator[Disk]:
    with lz4_disk(1024, receivers=RECEIVERS) as disk:
        yield disk


def test_requests_are_counted(disk: Disk) -> None:
    do(disk, "write", 0, bytes(3 * PAGE), channel=2)
    do(disk, "write", 0, bytes(100), channel=3)
    read(disk, 0, PAGE)
    do(disk, "punch", 0, size_bytes=PAGE)
    disk.flush()
    assert [disk.counts.finished(operation)[:2] for operation in range(3)] == [(1, 8), (2, 24), (1, 8)]
    assert (disk.counts.begun_by(1), disk.counts.begun_by(2), disk.counts.begun_by(3), disk.counts.flushes) == (
        2,
        1,
        1,
        1,
    )
    assert disk.in_flight == 0


def test_latencies_count_each_request_once_by_operation(disk: Disk) -> None:
    for page in range(7):
        do(disk, "write", page * PAGE, os.urandom(PAGE), channel=1 + page % RECEIVERS)
    read(disk, 0, PAGE)
    assert [sum(disk.counts.latencies(operation).values()) for operation in range(3)] == [1, 7, 0]
    assert [disk.counts.finished(operation)[0] for operation in range(3)] == [1, 7, 0]


def test_latencies_begin_anew_and_the_count_of_requests_goes_on(disk: Disk) -> None:
    do(disk, "write", 0, bytes(PAGE))
    disk.counts.reset_latencies()
    assert disk.counts.latencies(1) == {}
    do(disk, "write", 0, bytes(PAGE))
    assert (sum(disk.counts.latencies(1).values()), disk.counts.finished(1)[0]) == (1, 2)


def test_latencies_are_below_the_edges_of_their_bins(disk: Disk) -> None:
    before_ns = time.monotonic_ns()
    do(disk, "write", 0, os.urandom(PAGE))
    (edge_ns,) = disk.counts.latencies(1)
    assert disk.counts.finished(1)[2] < edge_ns
    assert edge_ns <= max(16, (time.monotonic_ns() - before_ns) * 9 / 8)


def test_failed_requests_are_counted_with_the_others() -> None:
    with lz4_disk(64, receivers=1, limit_pages=1) as disk:
        with pytest.raises(MemoryLimitReached):
            do(disk, "write", 0, os.urandom(16 * PAGE))
        assert (disk.counts.failed_reads, disk.counts.failed_writes, disk.counts.finished(1)[0]) == (0, 1, 1)


def test_forgotten_counts_begin_at_0(disk: Disk) -> None:
    do(disk, "write", 0, bytes(PAGE))
    disk.flush()
    disk.counts.forget()
    assert [disk.counts.finished(operation) for operation in range(3)] == [(0, 0, 0)] * 3
    assert (disk.counts.flushes, disk.counts.busy_ms, disk.counts.latencies(1)) == (0, 0, {})
    assert repr(disk.counts) == f"<IoCounts of {RECEIVERS + 2} channels, 0 in flight>"
