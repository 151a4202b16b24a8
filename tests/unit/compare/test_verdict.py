import pytest

from zramfs.compare.fio import FioWorkload
from zramfs.compare.rounds import Comparison, Row, Run
from zramfs.compare.settings import Variation, combine
from zramfs.compare.verdict import Verdict, judge
from zramfs.compare.workload import Plan

PERCPU = {
    "managed_pages": 0,
    "cpu_serving_s_per_gib": 0.8,
    "cpu_device_s_per_gib": 0.0,
    "async_mb_s": 1000.0,
    "async_p99_us": 500.0,
}
ON_TIME = {"late_percent": 1.0, "late_pages_percent": 2.0, "run_p50_us": 105.0, "model_p50_us": 100.0}
MANAGED = {
    **PERCPU,
    **ON_TIME,
    "managed_pages": 5000,
    "cpu_serving_s_per_gib": 0.6,
    "cpu_device_s_per_gib": 0.4,
    "async_mb_s": 1200.0,
    "async_p99_us": 400.0,
}


def rows(*figures: dict[str, float], vary: Variation | None = None) -> list[Row]:
    """One row for each value of what is varied, `percpu` and `auto` if nothing else is, of two rounds 1 % apart."""
    settings = combine([vary or Variation("policy", ("percpu", "auto"))], "qpace")
    made = Comparison.of(FioWorkload("w", ""), Plan(size_bytes=4096, runtime_s=1), 2, settings).rows
    for row, values in zip(made, figures, strict=True):
        row.runs.extend(
            Run(figures={key: value * factor for key, value in values.items()}, latencies={}, commands=[])
            for factor in (0.995, 1.005)
        )
    return made


def verdict_on(**changes: float) -> Verdict:
    made = rows(PERCPU, {**MANAGED, **changes})
    return judge(made[1], made)


@pytest.mark.parametrize(
    ("late_percent", "run_p50_us", "kept_up"),
    [(0, 100, True), (10, 125, True), (10.1, 100, False), (0, 126, False), (100, 5000, False)],
)
def test_emulation_keeps_up_while_few_runs_are_late_and_the_median_is_the_models(
    late_percent: float,
    run_p50_us: float,
    kept_up: bool,  # noqa: FBT001
) -> None:
    assert verdict_on(late_percent=late_percent, run_p50_us=run_p50_us).kept_up is kept_up


def test_emulation_does_not_keep_up_where_few_runs_with_most_of_the_pages_are_late() -> None:
    assert verdict_on(late_percent=3, late_pages_percent=90).kept_up is False


def test_device_that_is_late_gets_a_warning_and_no_conclusion() -> None:
    verdict = verdict_on(late_percent=98.7, run_p50_us=1530)
    assert verdict.conclusion == ""
    assert verdict.warning.startswith(
        "policy=auto: no verdict. This machine cannot emulate the device: 98.7 % of the device's runs, with 2.0 % of "
        "its pages, came later than modelled; median 1,530.0 µs, modelled 100.0."
    )


def test_device_in_time_gets_a_conclusion_with_the_cpu_time_saved() -> None:
    verdict = verdict_on()
    assert verdict.warning == ""
    assert verdict.conclusion == (
        "policy=auto: managed streams pay. Hardware would have saved 0.20 CPU s/GiB (25 %): 0.60 for serving "
        "instead of 0.80; async throughput +20 %, async p99 -20 %. (1.0 % of the device's runs, with 2.0 % of its "
        "pages, came later than modelled; median 105.0 µs, modelled 100.0.)"
    )


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"async_mb_s": 500.0}, "it depends"),
        ({"cpu_serving_s_per_gib": 1.0}, "it depends"),
        ({"async_mb_s": 500.0, "async_p99_us": 900.0, "cpu_serving_s_per_gib": 1.0}, "managed streams do not pay"),
        ({"async_mb_s": 500.0, "async_p99_us": 900.0, "cpu_serving_s_per_gib": 0.8}, "no gain was seen"),
        (
            {"async_mb_s": 1001.0, "async_p99_us": 500.0, "cpu_serving_s_per_gib": 0.8},
            "not told apart from per-CPU streams",
        ),
    ],
)
def test_conclusion_counts_what_the_rounds_tell_apart(changes: dict[str, float], word: str) -> None:
    assert verdict_on(**changes).conclusion.startswith(f"policy=auto: {word}. ")


def test_loss_is_not_laid_at_the_devices_door() -> None:
    said = "A loss may be the emulation's, whose work took 0.40 CPU s/GiB of the same CPUs."
    assert said in verdict_on(async_mb_s=500.0).conclusion
    assert said not in verdict_on().conclusion


def test_difference_within_the_ranges_says_so() -> None:
    assert "async throughput +0 % (ranges overlap)" in verdict_on(async_mb_s=1001.0).conclusion


def test_setting_without_its_like_on_per_cpu_streams_tells_the_devices_own_work() -> None:
    made = rows(MANAGED, MANAGED, vary=Variation("queue_depth", ("16", "64")))
    assert judge(made[0], made).conclusion.startswith(
        "queue_depth=16: hardware would have saved 0.40 CPU s/GiB of emulation, beside 0.60 for serving."
    )


def test_device_without_a_time_of_its_own_is_never_late() -> None:
    verdict = judge(*_second(rows(PERCPU, {key: value for key, value in MANAGED.items() if key not in ON_TIME})))
    assert verdict.kept_up is None
    assert verdict.conclusion.endswith("async p99 -20 %.")


def test_where_no_device_was_at_work_nothing_is_said() -> None:
    made = rows(PERCPU, {**PERCPU, **ON_TIME})
    assert [judge(row, made) for row in made] == [Verdict(None), Verdict(None)]


def _second(made: list[Row]) -> tuple[Row, list[Row]]:
    return made[1], made
