from dataclasses import replace

import pytest

from zramfs.compare.cpu import CpuTime
from zramfs.compare.figures import CPU_KINDS, FIGURES, Spread, figures_of, shown_figures, spreads_of
from zramfs.compare.fresh_mount import Snapshot, parse_counters
from zramfs.compare.histogram import Histogram
from zramfs.compare.swap_storm import swapped
from zramfs.compare.workload import Served, WorkloadResult
from zramfs.errors import CommandFailed

GIB_PAGES = 1 << 18


def snapshot(at_s: float = 0, cpu: CpuTime | None = None, inflight_max: int = 0, **pages: int) -> Snapshot:
    streams = {f"{kind}_pages": pages.get(kind, 0) for kind in ("managed", "percpu", "fallback")}
    return Snapshot(at_s, cpu or CpuTime(), streams, {"inflight_max": inflight_max})


def test_figures_have_rates_and_percentiles_by_kind_of_request() -> None:
    served = {"sync": Served(4.096e6, 1000, Histogram({10_000: 98, 90_000: 2}))}
    figures = figures_of(WorkloadResult(served=served), snapshot(), snapshot())
    assert [figures[f"sync_{name}"] for name in ("mb_s", "iops", "p50_us", "p99_us")] == [4.096, 1000, 10, 90]
    assert "async_mb_s" not in figures


def test_cpu_time_is_by_gib_that_streams_took_or_readers_got() -> None:
    result = WorkloadResult(served={"read": Served(1, 1)}, read_bytes=1 << 30)
    after = snapshot(cpu=CpuTime(serving=4, other=1, engines=2), managed=GIB_PAGES // 2, fallback=GIB_PAGES // 2)
    figures = figures_of(result, snapshot(), after)
    assert [figures[f"cpu_{kind}_s_per_gib"] for kind in CPU_KINDS] == [2, 0.5, 1]


@pytest.mark.parametrize(("inline_s", "expected"), [(0, [4, 1, 2]), (3, [1, 1, 5]), (9, [0, 1, 6])])
def test_the_devices_own_work_is_none_of_the_hosts_whoever_does_it(inline_s: int, expected: list[float]) -> None:
    after = snapshot(cpu=CpuTime(serving=4, other=1, engines=2), managed=GIB_PAGES)
    after.accelerator["inline_work_us"] = inline_s * 1_000_000
    figures = figures_of(WorkloadResult(), snapshot(at_s=-1), after)
    assert [figures[f"cpu_{kind}_s_per_gib"] for kind in CPU_KINDS] == expected


def test_emulation_is_told_by_its_late_runs_and_its_medians() -> None:
    counted = "modelled_runs 200\nlate_completions 3\nmodelled_pages 400\nlate_pages 100\n"
    counted += "observed_p50_us 21.5\nmodel_p50_us 20.0\n"
    after = replace(snapshot(at_s=1), accelerator=parse_counters(counted))
    figures = figures_of(WorkloadResult(), snapshot(), after)
    keys = ("late_percent", "late_pages_percent", "run_p50_us", "model_p50_us")
    assert [figures[key] for key in keys] == [1.5, 25, 21.5, 20]


def test_device_without_a_time_of_its_own_has_no_late_runs() -> None:
    after = replace(snapshot(at_s=1), accelerator=parse_counters("modelled_runs 0\nobserved_p50_us 21.5\n"))
    assert figures_of(WorkloadResult(), snapshot(), after)["late_percent"] is None


def test_fallback_share_is_of_the_pages_that_wanted_a_managed_stream() -> None:
    figures = figures_of(WorkloadResult(), snapshot(at_s=0), snapshot(at_s=1, managed=30, fallback=10, percpu=99))
    assert figures["fallback_percent"] == 25


def test_counters_before_the_run_do_not_count() -> None:
    figures = figures_of(WorkloadResult(), snapshot(at_s=0, percpu=5), snapshot(at_s=1, percpu=7))
    assert figures["percpu_pages"] == 2
    assert figures["fallback_percent"] is None


def test_swap_is_measured_from_the_moment_that_memory_is_full() -> None:
    said = (
        "managed_pages 200\npercpu_pages 100\nfallback_pages 0\ninflight 3\n\ntouched 512 pages in 2.000000 s since\n"
    )
    served = swapped(said, parse_counters("managed_pages 600\npercpu_pages 150\nfallback_pages 50\n"))
    assert (served.requests_per_s, served.bytes_per_s) == (250, 250 * 4096)


def test_swap_of_a_process_that_tells_no_time_is_not_measured() -> None:
    with pytest.raises(CommandFailed, match="does not say how long it took"):
        swapped("managed_pages 200\n", {})


def test_spread_is_median_lowest_and_highest_of_the_rounds_that_have_it() -> None:
    spreads = spreads_of([{"sync_iops": 5}, {"sync_iops": 1}, {"sync_iops": None}, {"sync_iops": 2}])
    assert spreads == {"sync_iops": Spread(median=2, lowest=1, highest=5)}


def test_events_that_did_not_happen_are_not_shown() -> None:
    quiet = {"sync_iops": Spread(0, 0, 0), "completion_errors": Spread(0, 0, 0)}
    eventful = {"completion_errors": Spread(0, 0, 3)}
    assert [figure.key for figure in shown_figures([quiet])] == ["sync_iops"]
    assert [figure.key for figure in shown_figures([quiet, eventful])] == ["sync_iops", "completion_errors"]


@pytest.mark.parametrize(
    ("value", "written"),
    [(None, "-"), (0, "0"), (9_999.4, "9,999"), (10_000, "10.0k"), (999_949, "999.9k"), (1_234_567, "1.23M")],
)
def test_counts_are_written_short(value: float | None, written: str) -> None:
    pages = next(figure for figure in FIGURES if figure.key == "managed_pages")
    assert pages.written(value) == written


def test_counters_that_are_no_numbers_are_left_out() -> None:
    counters = parse_counters("managed_pages 5\nmodel_p50_us 1.5\nmanaged_error no engines here\n")
    assert counters == {"managed_pages": 5, "model_p50_us": 1.5}
