"""Measures what a request costs that comes to a mounted disk, by FUSE, from a caller in another process.

It is what `calibrate` measures in this process, and what FUSE and the system add to it.
"""

import mmap
import os
import random
import statistics
from pathlib import Path
from time import perf_counter_ns
from typing import Final, NamedTuple

from zramfs.errors import InvalidValue
from zramfs.units import PAGE_SIZE

_MANY_PAGES: Final = 256
"""1 MiB, as large as a request of FUSE may be."""

_REPEATS: Final = 9
_ENOUGH_NS: Final = 60_000_000
"""How long each thing is done, each time it is measured."""

_RANDOM_BYTES: Final = 2400
"""Of each page, as in `calibrate`."""


class MountedCosts(NamedTuple):
    """What a request takes its caller, in µs of time: with a single page, and each page more."""

    write_one: float
    write_page: float
    read_one: float
    read_page: float


def measure_mount(mountpoint: Path) -> MountedCosts:
    """Time direct requests of 1 and of 256 pages on zram0 of a mount. InvalidValue if it is none, or has data."""
    path = mountpoint / "zram0"
    stat = mountpoint / "sys/block/zram0/mm_stat"
    try:
        has_data = int(stat.read_text().split()[0]) > 0
        size_bytes = path.stat().st_size
    except (OSError, ValueError, IndexError) as error:
        raise InvalidValue(f"{mountpoint}: no zramfs is mounted there") from error
    if has_data:
        raise InvalidValue(f"{path} has data, which would be overwritten: give a fresh mount")
    if size_bytes < 4 * _MANY_PAGES * PAGE_SIZE:
        raise InvalidValue(f"{path} is too small: give it 4M or more")
    write_one, write_many = (_request_us(path, pages, size_bytes, writes=True) for pages in (1, _MANY_PAGES))
    read_one, read_many = (_request_us(path, pages, size_bytes, writes=False) for pages in (1, _MANY_PAGES))
    return MountedCosts(
        write_one, (write_many - write_one) / (_MANY_PAGES - 1), read_one, (read_many - read_one) / (_MANY_PAGES - 1)
    )


def _request_us(path: Path, pages: int, size_bytes: int, *, writes: bool) -> float:
    """The median time of a synchronous request at a random place, one at a time."""
    length = pages * PAGE_SIZE
    places = [length * place for place in range(min(size_bytes // length, 1024))]
    random.Random(1).shuffle(places)  # noqa: S311 - places of a measurement
    with mmap.mmap(-1, length) as buffer:  # which is aligned, as direct I/O wants it
        make = random.Random(2).randbytes  # noqa: S311
        buffer[:] = b"".join(make(_RANDOM_BYTES) + bytes(PAGE_SIZE - _RANDOM_BYTES) for _ in range(pages))
        fd = os.open(path, os.O_RDWR | os.O_DIRECT | (os.O_SYNC if writes else 0))
        try:
            return statistics.median(_round_us(fd, buffer, places, writes=writes) for _ in range(_REPEATS))
        finally:
            os.close(fd)


def _round_us(fd: int, buffer: mmap.mmap, places: list[int], *, writes: bool) -> float:
    count, began_ns = 0, perf_counter_ns()
    while (took_ns := perf_counter_ns() - began_ns) < _ENOUGH_NS:
        place = places[count % len(places)]
        if writes:
            os.pwrite(fd, buffer, place)
        else:
            os.preadv(fd, [buffer], place)
        count += 1
    return took_ns / count / 1000
