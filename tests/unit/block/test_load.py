"""Each kind of slot reads as what was written to it."""

import os
from collections.abc import Iterator

import pytest
from disks import lz4_disk

from zramfs.block.disk import Disk
from zramfs.block.request import Outcome, Request

PAGE = 4096
CONTENTS = {
    "zeros": bytes(PAGE),
    "same-filled": b"12345678" * (PAGE // 8),
    "compressible": os.urandom(1000) + bytes(PAGE - 1000),
    "huge": os.urandom(PAGE),
}


@pytest.fixture
def disk() -> Iterator[Disk]:
    with lz4_disk(64, receivers=2) as disk:
        yield disk


def submit(disk: Disk, operation: str, offset: int, data: bytes | bytearray, channel: int = 1) -> None:
    assert Request(operation, offset, data, channel=channel).submit(disk) == Outcome.ENDED


def read(disk: Disk, offset: int, size: int, channel: int = 1) -> bytes:
    out = bytearray(b"?" * size)
    submit(disk, "read", offset, out, channel)
    return bytes(out)


def test_page_that_nobody_wrote_reads_as_zeros(disk: Disk) -> None:
    submit(disk, "write", 0, CONTENTS["huge"])
    assert read(disk, PAGE, 2 * PAGE) == bytes(2 * PAGE)


@pytest.mark.parametrize("kind", CONTENTS)
@pytest.mark.parametrize(("skip", "size"), [(0, PAGE), (0, 1), (4095, 1), (100, 3000)])
def test_pages_and_parts_of_them_are_read(disk: Disk, kind: str, skip: int, size: int) -> None:
    submit(disk, "write", PAGE, CONTENTS[kind])
    assert read(disk, PAGE + skip, size) == CONTENTS[kind][skip : skip + size]


def test_neighbours_of_other_kinds_are_read_together(disk: Disk) -> None:
    expected = b"".join(CONTENTS.values())
    submit(disk, "write", 0, expected)
    assert read(disk, 10, len(expected)) == expected[10:] + bytes(10)


@pytest.mark.parametrize("kind", CONTENTS)
def test_any_channel_reads_what_another_wrote(disk: Disk, kind: str) -> None:
    submit(disk, "write", 0, CONTENTS[kind], channel=1)
    assert read(disk, 0, PAGE, channel=2) == CONTENTS[kind]
