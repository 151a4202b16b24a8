import re

from zramfs.accel.profile import load_profile
from zramfs.compare.fio import FioWorkload
from zramfs.compare.histogram import Histogram
from zramfs.compare.observation import Observation
from zramfs.compare.queue_samples import QueueSamples
from zramfs.compare.report import Circumstances, render_report
from zramfs.compare.rounds import Comparison, Run
from zramfs.compare.settings import Variation, combine
from zramfs.compare.trace import DepthOverTime
from zramfs.compare.workload import Plan

CIRCUMSTANCES = Circumstances(
    command="zramfs compare --workload '<own>.fio'",
    when="today",
    machine={"CPU": "a CPU", "CPUs": "2"},
    versions={"zramfs": "0"},
)
DEPTH = DepthOverTime([0, 1], [1, 0])
QUEUE = QueueSamples([0, 1], [0, 0])
FIGURES = {
    **{f"sync_{name}": 50.0 for name in ("mb_s", "iops", "p50_us", "p99_us")},
    **{f"cpu_{kind}_s_per_gib": 0.5 for kind in ("serving", "other", "device")},
    **{f"{kind}_pages": 10 for kind in ("managed", "percpu", "fallback")},
}


def comparison(*, settings: int = 2, latencies: dict[str, Histogram] | None = None) -> Comparison:
    depths = Variation("queue_depth", tuple(str(depth) for depth in range(1, settings + 1)))
    made = Comparison.of(
        FioWorkload("<own>.fio", "[job]\n# <b>\n"), Plan(size_bytes=1 << 20, runtime_s=1), 2, combine([depths], "ideal")
    )
    for row in made.rows:
        row.runs.extend(
            Run(figures={**FIGURES, "sync_mb_s": speed}, latencies=latencies or {}, commands=["zramfs mount x"])
            for speed in (1.0, 3.0)
        )
    return made


def test_report_has_medians_and_ranges() -> None:
    page = render_report(comparison(), CIRCUMSTANCES)
    assert '>2.0<span class="range">1.0 to 3.0</span>' in page


def test_report_has_the_verdict_and_every_number_of_the_device_with_its_basis() -> None:
    page = render_report(comparison(), CIRCUMSTANCES)
    assert "queue_depth=1: hardware would have saved 0.50 CPU s/GiB" in page
    for key, number in load_profile("ideal").settings.items():
        row = page.partition(f"<td>{key}</td>")[2].partition("</tr>")[0]
        assert f">{'given' if key == 'queue_depth' else number.basis}<" in row


def test_plots_have_short_paths_and_whole_labels() -> None:
    made = comparison()
    for row in made.rows:
        for run in row.runs:
            run.figures.update({f"cpu_{kind}_s_per_gib": 0.7 for kind in ("serving", "other", "device")})
    page = render_report(made, CIRCUMSTANCES)
    assert ">0.25</text>" in page.partition("<h2>CPU time</h2>")[2]
    paths = re.findall(r' d="([^"]*)"', page)
    assert paths
    assert not any(re.search(r"\.\d\d", path) for path in paths)


def test_report_of_a_device_that_was_late_warns() -> None:
    late = comparison(settings=1)
    for run in late.rows[0].runs:
        run.figures.update(late_percent=100.0, late_pages_percent=100.0, run_p50_us=700.0, model_p50_us=7.0)
    page = render_report(late, CIRCUMSTANCES)
    assert "<strong>Warning.</strong> queue_depth=1: no verdict." in page


def test_report_escapes_what_the_user_gave() -> None:
    page = render_report(comparison(), CIRCUMSTANCES)
    assert "&lt;own&gt;.fio" in page
    assert "# &lt;b&gt;" in page
    assert "<own>" not in page


def test_report_leaves_out_what_was_not_measured() -> None:
    page = render_report(comparison(), CIRCUMSTANCES)
    assert "<h2>Latency distribution</h2>" not in page
    assert "<h2>Queue depth over time</h2>" not in page


def test_report_of_as_many_settings_as_there_may_be_names_them_all() -> None:
    full = comparison(settings=32, latencies={"sync": Histogram({1000: 99, 50_000: 1})})
    full.observations = [
        Observation(DEPTH, QUEUE, {"sync": {"submission": 1.0, "completion": 2.0, "answer": 3.0}})
    ] * 32
    page = render_report(full, CIRCUMSTANCES)
    assert page.count("<svg") == 6
    assert [depth for depth in range(1, 33) if f"queue_depth={depth}</summary>" not in page] == []


def test_report_with_fewer_observations_than_settings_draws_those() -> None:
    ended_early = comparison(settings=3)
    ended_early.observations = [Observation(DEPTH, QUEUE, {})]
    page = render_report(ended_early, CIRCUMSTANCES)
    assert "<h2>Queue depth over time</h2>" in page
    assert "<h2>Where a request's time goes</h2>" not in page
