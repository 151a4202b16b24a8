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
from contextlib import contextmanager, suppress
from pathlib import Path
from time import perf_counter_ns, thread_time_ns
from typing import Final, NamedTuple

from zramfs.errors import InvalidValue
from zramfs.measure.pages import compressible_pages
from zramfs.simulate.neighbours import busy_neighbours
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


_REPEATS: Final = 9
_ENOUGH_NS: Final = 25_000_000
"""How long each thing is done, each time it is measured."""

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

    `write_one`: a write of a page from call to answer, `write_page` and `read_page`: each page more. `halt`: how much
    sooner a write is answered if something else keeps its caller's CPU awake; 0 if that takes longer. `near`: a write
    of a page where daemon and caller share one CPU, and `caller` the latter's CPU time for it. `busy_page`: each page
    more of a write there while all other CPUs are busy, and `busy_copy` likewise, of pages that are same-filled, and
    only copied.
    """

    caller: float
    write_one: float
    write_page: float
    read_page: float
    halt: float
    near: float
    busy_page: float
    busy_copy: float


class Timed(NamedTuple):
    """What a request took: from call to answer, the median, and CPU time of its caller, the mean."""

    us: float
    cpu_us: float


class Memory(NamedTuple):
    """Memory that is aligned, as direct I/O wants it: pages that all differ, and pages of one byte."""

    pages: mmap.mmap
    same_filled: mmap.mmap


def measure_mount(mountpoint: Path) -> MountedCosts:
    """Time direct requests on zram0 of a mount. InvalidValue if it is none, or has data."""
    path = mountpoint / "zram0"
    _check(path, mountpoint / "sys/block/zram0/mm_stat")
    with _memory() as memory:
        _fill(path, memory.pages)
        return _costs_of([_round(path, memory) for _ in range(_REPEATS)])


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


def _costs_of(rounds: list[dict[str, Timed]]) -> MountedCosts:
    us = {kind: statistics.median(each[kind].us for each in rounds) for kind in rounds[0]}
    cpu_us = {kind: statistics.median(each[kind].cpu_us for each in rounds) for kind in rounds[0]}
    return MountedCosts(
        write_one=us["one"] - us["none"],
        write_page=(us["many"] - us["one"]) / (_MANY_PAGES - 1),
        read_page=(us["read many"] - us["read"]) / (_MANY_READ_PAGES - 1),
        halt=max(0.0, us["bound"] - us["awake"]),
        near=us["near"] - us["none"],
        busy_page=max(0.0, us["busy many"] - us["busy"]) / (_MANY_PAGES - 1),
        busy_copy=max(0.0, us["same many"] - us["same"]) / (_MANY_PAGES - 1),
        caller=max(0.0, cpu_us["near"] - cpu_us["none"]),
    )


def _round(path: Path, memory: Memory) -> dict[str, Timed]:
    """Measure each thing once, one after the other: what the host does meanwhile happens to all of them."""
    with _direct(path) as fd:
        timed = {
            "one": _time(fd, memory.pages, 1, writes=True),
            "many": _time(fd, memory.pages, _MANY_PAGES, writes=True),
            "read": _time(fd, memory.pages, 1, writes=False),
            "read many": _time(fd, memory.pages, _MANY_READ_PAGES, writes=False),
        }
        with _on_one_cpu():
            timed["bound"] = _time(fd, memory.pages, 1, writes=True)
            with _awake_cpu():
                timed["awake"] = _time(fd, memory.pages, 1, writes=True)
            with _daemon_on_this_cpu(path.parent):
                timed["near"] = _time(fd, memory.pages, 1, writes=True)
        with busy_neighbours(), _on_one_cpu(), _daemon_on_this_cpu(path.parent):
            timed["busy"] = _time(fd, memory.pages, 1, writes=True)
            timed["busy many"] = _time(fd, memory.pages, _MANY_PAGES, writes=True)
            timed["same"] = _time(fd, memory.same_filled, 1, writes=True)
            timed["same many"] = _time(fd, memory.same_filled, _MANY_PAGES, writes=True)
        _fill(path, memory.pages)
    with _direct(Path(os.devnull)) as fd:
        return timed | {"none": _time(fd, memory.pages, 1, writes=True)}


@contextmanager
def _on_one_cpu() -> Iterator[None]:
    cpus = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(cpus)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, cpus)


@contextmanager
def _daemon_on_this_cpu(mountpoint: Path) -> Iterator[None]:
    """Let the threads of the mount's daemon run nowhere but where this one may; InvalidValue if that is forbidden."""
    try:
        tasks = Path("/proc", (mountpoint / "sys/fs/zramfs/pid").read_text().strip(), "task")
        before = {int(each.name): os.sched_getaffinity(int(each.name)) for each in tasks.iterdir()}
        for number in before:
            os.sched_setaffinity(number, os.sched_getaffinity(0))
    except (OSError, ValueError) as error:
        raise InvalidValue(f"{mountpoint}: its daemon cannot be bound to a CPU: {error}") from error
    try:
        yield
    finally:
        for number, cpus in before.items():
            with suppress(ProcessLookupError):
                os.sched_setaffinity(number, cpus)


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


def _time(fd: int, memory: mmap.mmap, pages: int, *, writes: bool) -> Timed:
    """Make synchronous requests at random places, one at a time, for a while."""
    length = pages * PAGE_SIZE
    size_bytes = min(os.fstat(fd).st_size, _MOST_BYTES) or _LEAST_BYTES
    places = [length * place for place in range(size_bytes // length)]
    random.Random(1).shuffle(places)  # noqa: S311 - places of a measurement
    with memoryview(memory) as view:
        # A caller's own page is in its cache, and large requests are not.
        begins = range(0, _BUFFER_BYTES - length + 1, length) if pages > 1 else (0,)
        parts = [view[begin : begin + length] for begin in begins]
        try:
            return _timed(fd, parts, places, writes=writes)
        finally:
            for part in parts:
                part.release()


def _timed(fd: int, parts: list[memoryview], places: list[int], *, writes: bool) -> Timed:
    targets = zip(itertools.cycle(parts), itertools.cycle(places), strict=False)
    took_ns: list[int] = []
    began_cpu_ns, before_ns = thread_time_ns(), perf_counter_ns()
    ends_ns = before_ns + _ENOUGH_NS
    while before_ns < ends_ns:
        part, place = next(targets)
        if writes:
            os.pwrite(fd, part, place)
        else:
            os.preadv(fd, [part], place)
        now_ns = perf_counter_ns()
        took_ns.append(now_ns - before_ns)
        before_ns = now_ns
    cpu_us = (thread_time_ns() - began_cpu_ns) / len(took_ns) / 1000
    return Timed(statistics.median(took_ns) / 1000, cpu_us)


def _fill(path: Path, memory: mmap.mmap) -> None:
    """Write every page once, so that all of them are overwritten, or read, later."""
    with _direct(path) as fd:
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
def _memory() -> Iterator[Memory]:
    with mmap.mmap(-1, _BUFFER_BYTES) as pages, mmap.mmap(-1, _BUFFER_BYTES) as same_filled:
        pages[:] = compressible_pages(_BUFFER_BYTES // PAGE_SIZE, seed=2)
        same_filled[:] = b"\1" * _BUFFER_BYTES
        yield Memory(pages, same_filled)
