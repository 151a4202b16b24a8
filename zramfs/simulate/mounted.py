"""Measures what a request costs that comes to a mounted disk, by FUSE, from a caller in another process.

It is what `calibrate` measures in this process, and what FUSE and the system add to it.
"""

import itertools
import mmap
import os
import random
import statistics
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter_ns, thread_time_ns
from typing import Final, NamedTuple

from zramfs.errors import InvalidValue
from zramfs.units import PAGE_SIZE

_MANY_PAGES: Final = 24
"""The receiver writes so many in one go; from 33 on the crew helps."""

_MANY_READ_PAGES: Final = 15
"""Likewise; from 16 on the crew helps."""

_LEAST_BYTES: Final = 4 << 20
_MOST_BYTES: Final = 128 << 20
"""Of the disk, that is written to: caches do not hold it, as they do not hold what users write."""

_BUFFER_BYTES: Final = 8 << 20
"""That is written from in turn, for the same reason."""

_AT_A_TIME: Final = 8

_REPEATS: Final = 9
_ENOUGH_NS: Final = 25_000_000
"""How long each thing is done, each time it is measured."""

_RANDOM_BYTES: Final = 2400
"""Of each page, as in `calibrate`."""

_SPINNER: Final = """
import os, time
os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
os.write(1, b"x")
ends = time.monotonic() + 10
while time.monotonic() < ends:
    pass
"""


class MountedCosts(NamedTuple):
    """What requests take that come to a mounted disk, in µs.

    `caller`: CPU time of whoever makes one. `write_one`, `write_page`: from call to answer, of a page, and of each page
    more, while its CPU is never halted. `halt`: how much longer that takes if its CPU has nothing else to do meanwhile;
    0 if switching to something else takes it longer. `read_page`: of each page more that is read.
    """

    caller: float
    write_one: float
    write_page: float
    read_page: float
    halt: float


def measure_mount(mountpoint: Path) -> MountedCosts:
    """Time direct requests on zram0 of a mount, on one CPU. InvalidValue if it is none, or has data."""
    path = mountpoint / "zram0"
    _check(path, mountpoint / "sys/block/zram0/mm_stat")
    cpus = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(cpus)})
    try:
        return _measure(path)
    finally:
        os.sched_setaffinity(0, cpus)


def _check(path: Path, stat: Path) -> None:
    try:
        has_data = int(stat.read_text().split()[0]) > 0
        size_bytes = path.stat().st_size
    except (OSError, ValueError, IndexError) as error:
        raise InvalidValue(f"{path.parent}: no zramfs is mounted there") from error
    if has_data:
        raise InvalidValue(f"{path} has data, which would be overwritten: give a fresh mount")
    if size_bytes < _LEAST_BYTES:
        raise InvalidValue(f"{path} is too small: give it {_LEAST_BYTES >> 20}M or more")


def _measure(path: Path) -> MountedCosts:
    """Measure each thing in turn, several times: what the host does meanwhile happens to all of them."""
    _fill(path)
    rounds: dict[str, list[Round]] = {kind: [] for kind in ("one", "many", "read", "read many", "none", "awake")}
    for _ in range(_REPEATS):
        rounds["one"].append(_round(path, 1, writes=True))
        rounds["many"].append(_round(path, _MANY_PAGES, writes=True))
        rounds["read"].append(_round(path, 1, writes=False))
        rounds["read many"].append(_round(path, _MANY_READ_PAGES, writes=False))
        rounds["none"].append(_round(Path(os.devnull), 1, writes=True))
        with _awake_cpu():
            rounds["awake"].append(_round(path, 1, writes=True))
    us = {kind: statistics.median(each.us for each in done) for kind, done in rounds.items()}
    cpu_us = {kind: statistics.median(each.cpu_us for each in done) for kind, done in rounds.items()}
    return MountedCosts(
        caller=max(0.0, cpu_us["one"] - cpu_us["none"]),
        write_one=min(us["one"], us["awake"]) - us["none"],
        write_page=(us["many"] - us["one"]) / (_MANY_PAGES - 1),
        read_page=(us["read many"] - us["read"]) / (_MANY_READ_PAGES - 1),
        halt=max(0.0, us["one"] - us["awake"]),
    )


@contextmanager
def _awake_cpu() -> Iterator[None]:
    """Keep this thread's CPU from halting, by a process that runs when nobody else wants to; 10 s at most."""
    with subprocess.Popen([sys.executable, "-I", "-S", "-c", _SPINNER], stdout=subprocess.PIPE) as spinner:
        try:
            assert spinner.stdout is not None  # noqa: S101 - it is a pipe
            spinner.stdout.read(1)
            yield
        finally:
            spinner.kill()


class Round(NamedTuple):
    """What a request took: from call to answer, and CPU time of its caller."""

    us: float
    cpu_us: float


def _round(path: Path, pages: int, *, writes: bool) -> Round:
    """Make synchronous requests at random places, one at a time, for a while."""
    length = pages * PAGE_SIZE
    size_bytes = min(path.stat().st_size, _MOST_BYTES) if path.name != "null" else _LEAST_BYTES
    places = [length * place for place in range(size_bytes // length)]
    random.Random(1).shuffle(places)  # noqa: S311 - places of a measurement
    with _pages() as memory, memoryview(memory) as view, _direct(path) as fd:
        parts = [view[begin : begin + length] for begin in range(0, _BUFFER_BYTES - length + 1, length)]
        try:
            return _timed(fd, parts, places, writes=writes)
        finally:
            for part in parts:
                part.release()


def _timed(fd: int, parts: list[memoryview], places: list[int], *, writes: bool) -> Round:
    targets = itertools.cycle(zip(itertools.cycle(parts), places, strict=False))
    count, began_ns, began_cpu_ns = 0, perf_counter_ns(), thread_time_ns()
    while (took_ns := perf_counter_ns() - began_ns) < _ENOUGH_NS:
        for part, place in itertools.islice(targets, _AT_A_TIME):
            if writes:
                os.pwrite(fd, part, place)
            else:
                os.preadv(fd, [part], place)
            count += 1
    return Round(took_ns / count / 1000, (thread_time_ns() - began_cpu_ns) / count / 1000)


def _fill(path: Path) -> None:
    """Write every page once, so that all of them are overwritten, or read, later."""
    with _pages() as memory, _direct(path) as fd:
        for place in range(0, min(path.stat().st_size, _MOST_BYTES), _BUFFER_BYTES):
            os.pwrite(fd, memory, place)


@contextmanager
def _direct(path: Path) -> Iterator[int]:
    fd = os.open(path, os.O_RDWR | (os.O_DIRECT | os.O_SYNC if path.name != "null" else 0))
    try:
        yield fd
    finally:
        os.close(fd)


@contextmanager
def _pages() -> Iterator[mmap.mmap]:
    """Memory that is aligned, as direct I/O wants it, with pages that are all different."""
    with mmap.mmap(-1, _BUFFER_BYTES) as memory:
        make = random.Random(2).randbytes  # noqa: S311 - contents of a measurement
        for begin in range(0, _BUFFER_BYTES, PAGE_SIZE):
            memory[begin : begin + _RANDOM_BYTES] = make(_RANDOM_BYTES)
        yield memory
