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
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from time import perf_counter_ns, thread_time_ns
from typing import Final, NamedTuple

from zramfs.errors import InvalidValue
from zramfs.measure.pages import compressible_pages
from zramfs.simulate.averages import middle_mean
from zramfs.simulate.compressing import compressing_page_us
from zramfs.simulate.flood import FLOOD_PAGES, flood_page_us
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

_BETWEEN_CPUS: Final = frozenset({"one", "many", "read", "read many", "bound", "awake"})
"""Requests that may go from one CPU to another, each of which may halt meanwhile.

At times each takes some 340 us instead of 20, on a virtual machine, as both CPUs halt for longer than its host waits
for them. That may last for a whole window, of which one in six was so; loads that go on do not stay in it for long. So
these are medians of the windows, though CPUs may have two speeds, and what halting and being apart cost is known to a
few us.
"""

_FLOODED_CPUS: Final = 2
"""Of many, receiver and crew would wait for each other."""

_REPEATS: Final = 9
_ENOUGH_NS: Final = 25_000_000
"""How long each thing is done, each time it is measured."""

_PAUSES: Final = 100
_PAUSE_S: Final = 0.0001
"""As long as a receiver takes to do something else between two requests, about."""

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
    of a page where daemon and caller share one CPU, and `caller` the latter's CPU time for it. While all other CPUs are
    busy, `flood_page`: CPU time of a page of a flood, on two CPUs; `compress`, on one: of compressing a page; and
    `pin`: that of its caller for each page more of a request as a flood has them. `cold`: how much more CPU time a
    write of a page takes its caller if another process has had its CPU meanwhile; 0 on a machine with one CPU.
    """

    caller: float
    write_one: float
    write_page: float
    read_page: float
    halt: float
    near: float
    flood_page: float
    compress: float
    pin: float
    cold: float


class Timed(NamedTuple):
    """What a request took: from call to answer, the median, and CPU time of its caller, the mean."""

    us: float
    cpu_us: float


def measure_mount(mountpoint: Path) -> MountedCosts:
    """Time direct requests on zram0 of a mount. InvalidValue if it is none, or has data; OSError if its daemon ends."""
    check_mount(mountpoint)
    path = mountpoint / "zram0"
    try:
        with _memory() as memory:
            _fill(path, memory)
            return costs_of([_round(path, memory, number) for number in range(_REPEATS)])
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error


def check_mount(mountpoint: Path) -> None:
    """Raise InvalidValue if zram0 of a mount cannot be measured, or must not be."""
    path = mountpoint / "zram0"
    try:
        has_data = int((mountpoint / "sys/block/zram0/mm_stat").read_text().split()[0]) > 0
        size_bytes = path.stat().st_size
    except (OSError, ValueError, IndexError) as error:
        raise InvalidValue(f"{path.parent}: no zramfs is mounted there") from error
    if has_data:
        raise InvalidValue(f"{path} has data, which would be overwritten: give a fresh mount")
    if size_bytes < _LEAST_BYTES:
        raise InvalidValue(f"{path} is too small: give it {_LEAST_BYTES >> 20}M or more")


def costs_of(rounds: Sequence[Mapping[str, float]]) -> MountedCosts:
    """Return the costs that follow from what each round measured, in µs by kind, as `_round` has them."""
    us = {
        kind: (statistics.median if kind in _BETWEEN_CPUS else middle_mean)([each[kind] for each in rounds])
        for kind in rounds[0]
    }
    caller = us["near, caller"] - us["none, caller"]
    return MountedCosts(
        write_one=us["one"] - us["none"],
        write_page=(us["many"] - us["one"]) / (_MANY_PAGES - 1),
        read_page=(us["read many"] - us["read"]) / (_MANY_READ_PAGES - 1),
        halt=us["bound"] - us["awake"],
        near=us["near"] - us["none"],
        flood_page=us["flood page"],
        compress=us["compress"],
        pin=(us["large, caller"] - us["near, caller"]) / (FLOOD_PAGES - 1),
        cold=us["cold"] - us["cold, none"] - caller if "cold" in us else 0.0,
        caller=caller,
    )


def _round(path: Path, memory: mmap.mmap, number: int) -> dict[str, float]:
    """Measure each thing once, one after the other, in µs: what the host does meanwhile happens to all of them.

    CPUs take turns, as those of a virtual machine are not equally fast at a time.
    """
    cpus = sorted(os.sched_getaffinity(0))
    cpus = cpus[number % len(cpus) :] + cpus[: number % len(cpus)]
    with _direct(Path(os.devnull)) as fd:
        none = _time(fd, memory, 1, writes=True)
    with _direct(path) as fd:
        us = {
            "none": none.us,
            "none, caller": none.cpu_us,
            "one": _time(fd, memory, 1, writes=True).us,
            "many": _time(fd, memory, _MANY_PAGES, writes=True).us,
            "read": _time(fd, memory, 1, writes=False).us,
            "read many": _time(fd, memory, _MANY_READ_PAGES, writes=False).us,
        }
        with _on(cpus[:1]):
            us["bound"] = _time(fd, memory, 1, writes=True).us
            with _awake_cpu():
                us["awake"] = _time(fd, memory, 1, writes=True).us
            with _daemon_beside(path.parent):
                near = _time(fd, memory, 1, writes=True)
        us |= {"near": near.us, "near, caller": near.cpu_us}
        if len(cpus) > 1:
            with _on(cpus[1:]), _daemon_beside(path.parent), busy_neighbours(cpus[:1]), _on(cpus[:1]):
                us["cold"] = _cpu_us_after_others(fd, memory)
                with _direct(Path(os.devnull)) as null:
                    us["cold, none"] = _cpu_us_after_others(null, memory)
        with busy_neighbours(cpus[1:]), _on(cpus[:1]), _daemon_beside(path.parent):
            us["large, caller"] = _time(fd, memory, FLOOD_PAGES, writes=True).cpu_us
            with memoryview(memory) as pages:
                us["compress"] = compressing_page_us("lz4", pages, _ENOUGH_NS)
        _fill(path, memory)
        with busy_neighbours(cpus[_FLOODED_CPUS:]), _on(cpus[:_FLOODED_CPUS]), _daemon_beside(path.parent):
            us["flood page"] = flood_page_us(fd, memory, _used_bytes(fd))
    return us


@contextmanager
def _on(cpus: Collection[int]) -> Iterator[None]:
    """Let this thread, and those that it begins, run on these CPUs only."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cpus)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


@contextmanager
def _daemon_beside(mountpoint: Path) -> Iterator[None]:
    """Let the threads of the mount's daemon run nowhere but where this one may; InvalidValue if that is forbidden."""
    before: dict[int, set[int]] = {}
    try:
        try:
            tasks = Path("/proc", (mountpoint / "sys/fs/zramfs/pid").read_text().strip(), "task")
            for number in [int(each.name) for each in tasks.iterdir()]:
                with suppress(ProcessLookupError):
                    before[number] = os.sched_getaffinity(number)
                    os.sched_setaffinity(number, os.sched_getaffinity(0))
        except (OSError, ValueError) as error:
            raise InvalidValue(f"{mountpoint}: its daemon cannot be bound to a CPU: {error}") from error
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
    places = [length * place for place in range((_used_bytes(fd) or _LEAST_BYTES) // length)]
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


def _cpu_us_after_others(fd: int, memory: mmap.mmap) -> float:
    """CPU time of a write of a page, the mean, whose caller has slept while others had its CPU."""
    took_ns = 0
    with memoryview(memory) as view, view[:PAGE_SIZE] as page:
        for number in range(_PAUSES):
            time.sleep(_PAUSE_S)
            began_ns = thread_time_ns()
            os.pwrite(fd, page, number * PAGE_SIZE)
            took_ns += thread_time_ns() - began_ns
    return took_ns / _PAUSES / 1000


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
        for place in range(0, _used_bytes(fd), _BUFFER_BYTES):
            os.pwrite(fd, memory, place)


def _used_bytes(fd: int) -> int:
    return min(os.fstat(fd).st_size, _MOST_BYTES)


@contextmanager
def _direct(path: Path) -> Iterator[int]:
    fd = os.open(path, os.O_RDWR | (os.O_DIRECT | os.O_SYNC if path.name != "null" else 0))
    try:
        yield fd
    finally:
        os.close(fd)


@contextmanager
def _memory() -> Iterator[mmap.mmap]:
    """Memory that is aligned, as direct I/O wants it: pages that all differ."""
    with mmap.mmap(-1, _BUFFER_BYTES) as pages:
        pages[:] = compressible_pages(_BUFFER_BYTES // PAGE_SIZE, seed=2)
        yield pages
