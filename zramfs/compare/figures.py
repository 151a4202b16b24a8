"""The figures of a comparison: which there are, what each means, and how one run's are computed."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from statistics import median
from typing import Final

from zramfs.compare.fresh_mount import Counters, Snapshot, pages_of
from zramfs.compare.workload import ASYNC, KINDS, READ, SWAP, SYNC, Served, WorkloadResult
from zramfs.units import PAGE_SIZE

_MB: Final = 1e6
_GIB: Final = 1 << 30
_US_PER_S: Final = 1e6

CPU_KINDS: Final = ("serving", "other", "device")


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """A column: its group in the table, its heading there (two lines), digits after the point, and its meaning."""

    key: str
    group: str
    heading: str
    digits: int
    meaning: str
    is_count: bool = False
    only_if_any: bool = False
    """Left out where it is 0 under every setting."""

    def written(self, value: float | None) -> str:
        """Return a value as the table has it; counts from 10,000 on in thousands or millions."""
        if value is None:
            return "-"
        if not self.is_count or value < 10_000:
            return f"{value:,.{self.digits}f}"
        return f"{value / 1e3:,.1f}k" if value < 999_950 else f"{value / 1e6:,.2f}M"


@dataclass(frozen=True, slots=True)
class Spread:
    """A figure over all rounds."""

    median: float
    lowest: float
    highest: float


_WHOSE: Final = {
    SYNC: "synchronous writers",
    ASYNC: "asynchronous writers",
    READ: "readers",
    SWAP: "the kernel, which swaps out",
}


def _figures_of_kind(kind: str) -> Iterator[Figure]:
    per_request = "pages" if kind == SWAP else "requests"
    yield Figure(
        key=f"{kind}_mb_s",
        group=kind,
        heading=f"{kind}\nMB/s",
        digits=1,
        meaning=f"10^6 bytes a second of {_WHOSE[kind]}",
    )
    yield Figure(
        key=f"{kind}_iops",
        group=kind,
        heading=f"{kind}\nIOPS",
        digits=0,
        is_count=True,
        meaning=f"{per_request} a second of {_WHOSE[kind]}",
    )
    for percent in (50, 99):
        yield Figure(
            key=f"{kind}_p{percent}_us",
            group=kind,
            heading=f"{kind}\np{percent} µs",
            digits=0,
            is_count=True,
            meaning=f"µs within which {percent} % of the requests of {_WHOSE[kind]} were complete",
        )


FIGURES: Final = (
    *(figure for kind in KINDS for figure in _figures_of_kind(kind)),
    Figure(
        key="cpu_serving_s_per_gib",
        group="cpu",
        heading="serving\ns/GiB",
        digits=2,
        meaning="CPU seconds for each GiB of the threads that serve requests (receivers, crew, event loop), "
        "without the device's own work that they did",
    ),
    Figure(
        key="cpu_other_s_per_gib",
        group="cpu",
        heading="other\ns/GiB",
        digits=2,
        meaning="CPU seconds of the daemon's other threads for each GiB, such as those that look whether a CPU is idle",
    ),
    Figure(
        key="cpu_device_s_per_gib",
        group="cpu",
        heading="device\ns/GiB",
        digits=2,
        meaning="CPU seconds for each GiB of the engine threads, and of other threads that did their work: emulation, "
        "with hardware they would not be there",
    ),
    Figure(
        key="managed_pages",
        group="pages",
        heading="managed\npages",
        digits=0,
        is_count=True,
        meaning="pages that managed streams took",
    ),
    Figure(
        key="percpu_pages",
        group="pages",
        heading="per-CPU\npages",
        digits=0,
        is_count=True,
        meaning="pages that were for per-CPU streams from the start",
    ),
    Figure(
        key="fallback_pages",
        group="pages",
        heading="fallback\npages",
        digits=0,
        is_count=True,
        meaning="pages that wanted a managed stream and got a per-CPU stream, because the accelerator's queue was full",
    ),
    Figure(
        key="fallback_percent",
        group="pages",
        heading="fall-\nback %",
        digits=1,
        meaning="fallback pages of those that wanted a managed stream",
    ),
    Figure(
        key="queue_depth_reached",
        group="pages",
        heading="depth\npages",
        digits=0,
        meaning="most pages that were in the accelerator's queue at a time, a descriptor each",
    ),
    Figure(
        key="late_percent",
        group="emulation",
        heading="late\nruns %",
        digits=1,
        meaning="of the runs that a device with a time of its own completed, those that came later than modelled, "
        "because the work of the emulation took longer",
    ),
    Figure(
        key="late_pages_percent",
        group="emulation",
        heading="late\npages %",
        digits=1,
        meaning="of the pages that the device completed, those of late runs: long runs count for more",
    ),
    Figure(
        key="run_p50_us",
        group="emulation",
        heading="run\np50 µs",
        digits=1,
        meaning="µs from the submission of a run to the moment that its submitter knew of its end: the median of the "
        "last 4096 runs",
    ),
    Figure(
        key="model_p50_us",
        group="emulation",
        heading="modelled\np50 µs",
        digits=1,
        meaning="what the device's model says of the same runs",
    ),
    *(
        Figure(key=key, group="events", heading=heading, digits=0, is_count=True, meaning=meaning, only_if_any=True)
        for key, heading, meaning in (
            ("completion_errors", "comple-\ntion errors", "descriptors that the accelerator completed with an error"),
            ("software_redone", "redone in\nsoftware", "pages compressed again by the CPU after an error"),
        )
    ),
)
"""In the table's order."""


def figures_of(result: WorkloadResult, before: Snapshot, after: Snapshot) -> dict[str, float | None]:
    """Compute one run's figures; None where the workload does not have one, or the mount does not count it."""
    streams = {key: after.streams[key] - before.streams.get(key, 0) for key in after.streams}
    pages = pages_of(streams)
    wanted = streams["managed_pages"] + streams["fallback_pages"]
    return {
        **{
            key: value
            for kind, of_kind in result.served.items()
            for key, value in _figures_served(kind, of_kind).items()
        },
        **_cpu_per_gib(before, after, pages * PAGE_SIZE + result.read_bytes),
        **{f"{kind}_pages": streams[f"{kind}_pages"] for kind in ("managed", "percpu", "fallback")},
        "fallback_percent": 100 * streams["fallback_pages"] / wanted if wanted else None,
        "queue_depth_reached": after.accelerator.get("inflight_max"),
        **_emulation(after.accelerator),
        **{key: after.accelerator.get(key) for key in ("completion_errors", "software_redone")},
    }


def _figures_served(kind: str, served: Served) -> dict[str, float | None]:
    latencies = served.latencies
    return {
        f"{kind}_mb_s": served.bytes_per_s / _MB,
        f"{kind}_iops": served.requests_per_s,
        **{f"{kind}_p{percent}_us": latencies.percentile_us(percent) if latencies else None for percent in (50, 99)},
    }


def _cpu_per_gib(before: Snapshot, after: Snapshot, moved_bytes: float) -> dict[str, float | None]:
    """Return CPU time by what it is for: of what serving threads spent, the device's own work is the device's."""
    spent = after.cpu - before.cpu
    inline_us = after.accelerator.get("inline_work_us", 0) - before.accelerator.get("inline_work_us", 0)
    of_device_s = min(inline_us / _US_PER_S, spent.serving)
    seconds = (spent.serving - of_device_s, spent.other, spent.engines + of_device_s)
    return {
        f"cpu_{kind}_s_per_gib": each * _GIB / moved_bytes if moved_bytes else None
        for kind, each in zip(CPU_KINDS, seconds, strict=True)
    }


def _emulation(counters: Counters) -> dict[str, float | None]:
    """Return how the emulation kept up with its model; None where a device has no time of its own, or did nothing."""
    runs = counters.get("modelled_runs", 0)
    if not runs:
        return dict.fromkeys(("late_percent", "late_pages_percent", "run_p50_us", "model_p50_us"))
    return {
        "late_percent": 100 * counters["late_completions"] / runs,
        "late_pages_percent": 100 * counters["late_pages"] / counters["modelled_pages"],
        "run_p50_us": counters["observed_p50_us"],
        "model_p50_us": counters["model_p50_us"],
    }


def spreads_of(rounds: list[dict[str, float | None]]) -> dict[str, Spread]:
    """Return median, lowest and highest of each figure that at least one round has."""
    found: dict[str, Spread] = {}
    for figure in FIGURES:
        values = [value for each in rounds if (value := each.get(figure.key)) is not None]
        if values:
            found[figure.key] = Spread(median(values), min(values), max(values))
    return found


def shown_figures(spreads: list[Mapping[str, Spread]]) -> list[Figure]:
    """Return the columns that say something: those that a setting has, and events that happened."""
    return [
        figure
        for figure in FIGURES
        if any(figure.key in each and (each[figure.key].highest or not figure.only_if_any) for each in spreads)
    ]
