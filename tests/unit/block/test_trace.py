"""What becomes of requests, as a disk's tracer tells it."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from disks import lz4_disk

from zramfs.block.disk import Disk
from zramfs.block.request import Request
from zramfs.block.trace import Tracer

PAGE = 4096


@pytest.fixture
def disk() -> Iterator[Disk]:
    with lz4_disk(64, receivers=1) as disk:
        yield disk


def traced(disk: Disk, capacity: int = 1000) -> Tracer:
    disk.tracer = Tracer("zram0", capacity, 0)
    return disk.tracer


def do(disk: Disk, operation: str, offset: int = 0, data: Any = None, **options: Any) -> None:
    request = Request(operation, offset, data, channel=1, **options)
    request.submit(disk)
    request.wait()


def records(tracer: Tracer) -> list[dict[str, Any]]:
    return [json.loads(line) for line in tracer.take_lines().splitlines()]


def test_each_request_has_a_line_in_the_order_of_their_ends(disk: Disk) -> None:
    tracer = traced(disk)
    do(disk, "write", 0, bytes(3 * PAGE))
    do(disk, "read", 0, bytearray(100))
    do(disk, "punch", 0, size_bytes=2 * PAGE)
    lines = records(tracer)
    assert [(line["device"], line["op"], line["bytes"]) for line in lines] == [
        ("zram0", "write", 3 * PAGE),
        ("zram0", "read", 100),
        ("zram0", "discard", 2 * PAGE),
    ]
    assert [line["streams"] for line in lines] == [{"percpu": 3}, {}, {}]


def test_moments_of_a_request_follow_each_other(disk: Disk) -> None:
    tracer = traced(disk)
    do(disk, "write", 0, bytes(PAGE))
    (line,) = records(tracer)
    moments = [line[name] for name in ("arrival_us", "submit_us", "complete_us", "reply_us")]
    assert moments == sorted(moments)
    assert moments[0] > 0


def test_only_writes_are_asynchronous(disk: Disk) -> None:
    tracer = traced(disk)
    do(disk, "write", 0, bytes(PAGE), is_async=True)
    do(disk, "write", 0, bytes(PAGE))
    do(disk, "read", 0, bytearray(PAGE), is_async=True)
    assert [line["async"] for line in records(tracer)] == [True, False, False]


def test_lines_are_taken_once_and_some_at_a_time(disk: Disk) -> None:
    tracer = traced(disk)
    for place in range(300):
        do(disk, "read", 0, bytearray(place + 1))
    taken = []
    while some := records(tracer):
        assert len(some) <= 128
        taken += some
    assert [line["bytes"] for line in taken] == list(range(1, 301))


def test_records_without_room_are_lost_and_counted_once(disk: Disk) -> None:
    tracer = traced(disk, capacity=2)
    for size in (1, 2, 3, 4, 5):
        do(disk, "read", 0, bytearray(size))
    assert repr(tracer) == "<Tracer 2 of 2 records, 3 lost>"
    first, second, lost = records(tracer)
    assert [first["bytes"], second["bytes"], lost] == [1, 2, {"lost": 3}]
    do(disk, "read", 0, bytearray(6))
    assert [line["bytes"] for line in records(tracer)] == [6]
