"""Measures what software costs on a CPU of this machine, and writes the table of a machine for scenarios.

Pages are compressed as fio fills them for `zramfs compare`, by all CPUs at once, and more of them than a CPU's own
cache has. Requests are submitted to a disk in this process, by one thread, with the pages of `block/closed_loop`: what
FUSE and the system add to a request is not in it, unless `mounted` measures that as well.
"""

import json
import os
import random
import statistics
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from multiprocessing import get_context
from pathlib import Path
from typing import Final, NamedTuple

from zramfs import __version__
from zramfs.backends.registry import backend_names, load_backend
from zramfs.block.closed_loop import Loop
from zramfs.block.disk import Disk
from zramfs.block.layer import BlockLayer
from zramfs.block.slots import Codecs, SlotTable
from zramfs.contracts import AlgorithmParams, StreamPolicy
from zramfs.measure.machine import processor_name
from zramfs.measure.pages import compressible_pages
from zramfs.simulate.averages import middle_mean
from zramfs.simulate.compressing import compressing_page_us
from zramfs.simulate.contention import ONE_SPEED, Speeds, sample_speeds, speeds_of
from zramfs.simulate.mounted import MountedCosts, check_mount, measure_mount
from zramfs.simulate.neighbours import MOST_NEIGHBOURS, belong_to_parent
from zramfs.simulate.switches import measure_ipi_us, measure_loop_us, measure_timer_us, measure_wake_us
from zramfs.units import PAGE_SIZE
from zramfs.zcomp.zcomp import Zcomp

_RUN_PAGES: Final = 32
_DISK_PAGES: Final = 4096
"""16 MiB: more than a cache of a CPU's own has."""

_UNCACHED_PAGES: Final = 2048
"""8 MiB: likewise."""

_FILLING_REQUESTS: Final = 4 * _DISK_PAGES // _RUN_PAGES
"""At random places: one page in 55 stays unwritten."""

_REPEATS: Final = 9
_ENOUGH_NS: Final = 15_000_000
"""How long each thing is done, each time it is measured."""

FETCH_US: Final = 0.35
_FETCH_SOURCE: Final = (
    "storing a page of a device's run took a receiver 1.03 to 1.15 us by times noted in its code, on an AMD EPYC where "
    "others took 0.64 to 0.79"
)
"""It does not show in a process of its own, so it is a guess for other machines."""

_SPEEDS_S: Final = 3.0
"""For how long the speeds of CPUs are sampled."""

_RECEIVER: Final = 1
"""The channel of the thread that measures; 0 is an event loop's."""


class AlgorithmCosts(NamedTuple):
    """What a page takes, in µs; `request` and `page` are those of its disk.

    `receive`, `copy`, `pin`, `cold`, `halt` and `apart` are those of a daemon and its callers (scenario.Costs); 0 if
    nobody is asked.
    """

    compress: float
    decompress: float
    request: float
    page: float
    receive: float = 0.0
    copy: float = 0.0
    pin: float = 0.0
    cold: float = 0.0
    halt: float = 0.0
    apart: float = 0.0

    def bounded(self) -> "AlgorithmCosts":
        """Return them with nothing below 0: most are differences of what was measured, which noise may make so."""
        return AlgorithmCosts(*(max(0.0, us) for us in self))


def calibrate(on_progress: Callable[[str], None], mountpoint: Path | None = None) -> str:
    """Measure every algorithm of the package, in about a second each; the machine's TOML.

    With a mountpoint, requests are those of a caller of its zram0 (lz4), whose data is overwritten.
    """
    if mountpoint is not None:
        check_mount(mountpoint)
    measured: dict[str, AlgorithmCosts] = {}
    for name in backend_names():
        on_progress(name)
        measured[name] = measure_algorithm(name)
    on_progress("speeds of the CPUs")
    speeds = speeds_of(sample_speeds(sorted(os.sched_getaffinity(0)), _SPEEDS_S))
    on_progress("wake-ups")
    switches = measure_switches()
    if mountpoint is None:
        return format_machine(measured, switches, speeds)
    on_progress(str(mountpoint))
    measured["lz4"] = as_mounted(measured["lz4"], measure_mount(mountpoint), switches.wake)
    return format_machine(measured, switches, speeds, loop_us=measure_loop_us())


class SwitchCosts(NamedTuple):
    """Times in µs to go on after sleep, to wake a task on another CPU, and to set a timer."""

    wake: float
    ipi: float
    timer: float


def measure_switches() -> SwitchCosts:
    """Measure all of them."""
    return SwitchCosts(measure_wake_us(), measure_ipi_us(), measure_timer_us())


def as_mounted(own: AlgorithmCosts, mounted: MountedCosts, wake_us: float) -> AlgorithmCosts:
    """Return the costs of a request that comes by FUSE, to a disk that no cache holds.

    A caller's CPU time contains that of going to sleep and on, which is `wake`. What a request takes beside it and its
    page is the receiver's, where both share a CPU; what it takes more where they do not is `apart`. What pages of large
    requests take was measured while all CPUs were busy, and compressing within the same moments: what is left of them
    beside that, and storing, which is the same as in a process of its own, and their callers' part, is copying.
    """
    return AlgorithmCosts(
        compress=mounted.compress,
        decompress=max(0.001, mounted.read_page),
        request=mounted.caller - wake_us,
        page=own.page,
        receive=mounted.near - max(mounted.caller, wake_us) - mounted.write_page,
        copy=mounted.flood_page - mounted.compress - own.page - mounted.pin,
        pin=mounted.pin,
        cold=mounted.cold,
        halt=mounted.halt,
        apart=mounted.write_one - max(0.0, mounted.halt) - mounted.near,
    ).bounded()


def measure_algorithm(name: str) -> AlgorithmCosts:
    """Time runs and requests of an algorithm with its default parameters.

    A write of n pages takes request + n (compress + page), a read request + n decompress: of 1 and of 32 pages
    follows what a page takes, and what a request does.
    """
    with _disk(name) as disk:
        Loop(disk, _RECEIVER, "write", pages=_DISK_PAGES, size_pages=_RUN_PAGES).run(_FILLING_REQUESTS)
        one, many = (_request_us(disk, "write", pages) for pages in (1, _RUN_PAGES))
        read_one, read_many = (_request_us(disk, "read", pages) for pages in (1, _RUN_PAGES))
        page = _stored_us(disk, name)
    written = (many - one) / (_RUN_PAGES - 1)
    return AlgorithmCosts(
        compress=_compress_us_of_all(name, compressible_pages(_UNCACHED_PAGES, seed=2)),
        decompress=(read_many - read_one) / (_RUN_PAGES - 1),
        request=one - written,
        page=page,
    )


@contextmanager
def _disk(name: str) -> Iterator[Disk]:
    layer = BlockLayer(receivers=1)
    backend = load_backend(name)
    zcomp = Zcomp(backend, policy=StreamPolicy.PERCPU)
    params = backend.setup_params(AlgorithmParams(), accelerator=None)
    table = SlotTable(_DISK_PAGES, channel_count=layer.channel_count)
    disk = Disk("zram0", layer)
    disk.open(table, zcomp, [Codecs(backend.create_context(params)) for _ in range(layer.channel_count)])
    try:
        yield disk
    finally:
        disk.close()
        zcomp.close()
        table.close()
        backend.release_params(params)
        layer.close()


def _request_us(disk: Disk, operation: str, pages: int) -> float:
    """The time of a request, all of its pages being there."""
    loop = Loop(disk, _RECEIVER, operation, pages=_DISK_PAGES, size_pages=pages)
    loop.run(16)
    count = max(4, _ENOUGH_NS * 16 // max(1, loop.took_ns))
    times = []
    for _ in range(_REPEATS):
        loop.run(count)
        times.append(loop.took_ns / count / 1000)
    return middle_mean(times)


def _stored_us(disk: Disk, name: str) -> float:
    """What a page of a write takes beside compressing it: both are measured by turns, as the difference is small."""
    loop = Loop(disk, _RECEIVER, "write", pages=_DISK_PAGES, size_pages=_RUN_PAGES)
    pages = _driven_pages(_RUN_PAGES)
    loop.run(16)
    count = max(4, _ENOUGH_NS * 16 // max(1, loop.took_ns))
    differences = []
    for _ in range(_REPEATS):
        loop.run(count)
        written_us = loop.took_ns / count / _RUN_PAGES / 1000
        differences.append(written_us - compressing_page_us(name, pages, _ENOUGH_NS))
    return middle_mean(differences)


def _driven_pages(count: int) -> bytes:
    """Return pages as `block/closed_loop` writes them."""
    make = random.Random(1).randbytes  # noqa: S311 - pages of a measurement
    return b"".join(make(2400) + bytes(PAGE_SIZE - 2400) for _ in range(count))


def _compress_us_of_all(name: str, source: bytes) -> float:
    """What a page takes while every CPU compresses, in a process of its own: they share caches, and often a core."""
    count = min(len(os.sched_getaffinity(0)), MOST_NEIGHBOURS)
    with ProcessPoolExecutor(count, get_context("fork"), initializer=belong_to_parent) as pool:
        return statistics.mean(pool.map(_compress_us, [name] * count, [source] * count))


def _compress_us(name: str, source: bytes) -> float:
    """The time of a page of a source."""
    return middle_mean(compressing_page_us(name, source, _ENOUGH_NS) for _ in range(_REPEATS))


def format_machine(
    measured: Mapping[str, AlgorithmCosts],
    switches: SwitchCosts,
    speeds: Speeds = ONE_SPEED,
    *,
    loop_us: float | None = None,
) -> str:
    """Write a machine's table; request and page are those of lz4, or of the first algorithm.

    With a daemon's `loop_us` it has the costs of a mounted disk.
    """
    is_mounted = loop_us is not None
    request = (
        "CPU time of the caller of a mounted disk on its daemon's CPU"
        if is_mounted
        else "without FUSE and the system's part"
    )
    when = datetime.now(UTC).strftime("%Y-%m-%d")
    base = (measured.get("lz4") or next(iter(measured.values()))).bounded()
    source = f"zramfs {__version__} simulate --calibrate, {when}"
    cpus = len(os.sched_getaffinity(0))
    lines = [
        "# What software costs on this machine, as measured; docs/simulate.md says how.",
        "",
        f"summary = {json.dumps(f'{processor_name()}, {cpus} CPUs')}",
        "",
        "[[groups]]",
        'name = "cpu"',
        f"count = {cpus}",
    ]
    for name, costs in measured.items():
        lines += _entry(
            f"groups.compress.{name}", costs.compress, "measured", f"{source}: runs of 32 pages, on all CPUs"
        )
    for name, costs in measured.items():
        lines += _entry(f"groups.decompress.{name}", costs.decompress, "measured", f"{source}: reads of 32 pages and 1")
    lines += _entry("costs.request", base.request, "measured", f"{source}: {request}")
    lines += _entry("costs.page", base.page, "measured", f"{source}: a page of a write, without compressing it")
    if loop_us is not None:
        own = "CPU time of a write's caller"
        lines += _entry("costs.receive", base.receive, "measured", f"{source}: what else a write takes there")
        lines += _entry("costs.copy", base.copy, "measured", f"{source}: what else a flood's page takes of all CPUs")
        lines += _entry("costs.pin", base.pin, "measured", f"{source}: {own}, each page more of 256")
        lines += _entry("costs.cold", base.cold, "measured", f"{source}: {own}, how much more after others had its CPU")
        lines += _entry("costs.apart", base.apart, "measured", f"{source}: a write, less one on the daemon's own CPU")
        lines += _entry("costs.fetch", FETCH_US, "assumed", _FETCH_SOURCE)
        lines += _entry("costs.loop", loop_us, "measured", f"{source}: CPU time of a turn of an event loop, of trio")
        lines += _entry("costs.halt", base.halt, "measured", f"{source}: a write, less one whose CPU is kept awake")
    lines += _entry("costs.wake", switches.wake, "measured", f"{source}: two threads that wake each other by a pipe")
    lines += _entry(
        "costs.ipi", max(0.0, switches.ipi), "measured", f"{source}: waking a process on another CPU, which is busy"
    )
    lines += _entry("costs.timer", switches.timer, "measured", f"{source}: setting an event loop's timer, a timerfd")
    lines += _entry("costs.completion", 0.5, "assumed", "an interrupt's handler for one descriptor; there is no device")
    lines += _contention(speeds, f"{source}: lz4 on all CPUs, in windows of 20 ms")
    return "\n".join(lines) + "\n"


def _contention(speeds: Speeds, source: str) -> list[str]:
    if speeds.slowdown_percent == 0:
        return []
    return [
        "",
        "[contention]",
        f"slowdown_percent = {speeds.slowdown_percent:.0f}",
        f"share_percent = {speeds.share_percent:.0f}",
        f"lasts_ms = {speeds.lasts_ms:.0f}",
        'basis = "measured"',
        f'source = "{source}"',
    ]


def _entry(table: str, us: float, basis: str, source: str) -> list[str]:
    return ["", f"[{table}]", f"us = {us:.3f}", f'basis = "{basis}"', f'source = "{source}"']
