"""Histograms and series against all of their numbers."""

import random
import statistics
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zramfs.simulate.histogram import LatencyHistogram, students_t
from zramfs.simulate.series import LevelSeries


@settings(derandomize=True, database=None)
@given(
    latencies=st.lists(st.integers(0, 2**62), min_size=1, max_size=200), percent=st.sampled_from([1.0, 50, 90, 99, 100])
)
def test_a_percentile_is_at_most_a_hundredth_above_the_latency_of_its_rank(
    latencies: list[int], percent: float
) -> None:
    histogram = LatencyHistogram()
    for latency in latencies:
        histogram.note(latency)
    rank = max(0, -int(-len(latencies) * percent // 100) - 1)
    exact = sorted(latencies)[rank]
    assert exact <= histogram.percentile_ns(percent) <= exact + exact / 128 + 1


def test_bins_have_every_latency_once() -> None:
    histogram = LatencyHistogram()
    for latency in range(100_000):
        histogram.note(latency)
    bins = histogram.bins()
    assert sum(count for _, count in bins) == histogram.count == 100_000
    assert all(count == later - edge for (edge, count), (later, _) in pairwise(bins))


def test_the_mean_has_an_interval_of_batch_means() -> None:
    histogram, draw = LatencyHistogram(), random.Random(1)
    batches = [[round(draw.expovariate(1e-5)) for _ in range(500)] for _ in range(30)]
    for number, batch in enumerate(batches):
        for latency in batch:
            histogram.note(latency, number)
    means = [statistics.fmean(batch) for batch in batches]
    assert histogram.mean_ns() == pytest.approx(statistics.fmean(means))
    assert histogram.mean_error_ns() == pytest.approx(2.045 * statistics.stdev(means) / 30**0.5, rel=1e-3)


def test_few_batches_make_no_interval() -> None:
    histogram = LatencyHistogram()
    for number in range(9):
        histogram.note(100, number)
    assert histogram.mean_error_ns() == 0
    assert LatencyHistogram().percentile_ns(50) == 0


@pytest.mark.parametrize(("degrees", "quantile"), [(9, 2.2622), (14, 2.1448), (29, 2.0452)])
def test_the_quantiles_are_those_of_the_tables(degrees: int, quantile: float) -> None:
    assert students_t(degrees) == pytest.approx(quantile, abs=4e-3)


@settings(derandomize=True, database=None)
@given(st.lists(st.tuples(st.integers(0, 5000), st.integers(0, 100)), min_size=1, max_size=50))
def test_a_series_keeps_the_mean_and_the_highest_level_however_long(steps: list[tuple[int, int]]) -> None:
    series = LevelSeries(1)
    now = area = level = 0
    for wait, following in steps:
        area += level * wait
        now, level = now + wait, following
        series.set_level(now, level)
    means, maxima = series.until(now)
    widths = [min(series.interval_ns, now - i * series.interval_ns) for i in range(len(means))]
    assert len(means) <= 512
    assert sum(mean * width for mean, width in zip(means, widths, strict=True)) == pytest.approx(area)
    assert max(maxima, default=0) <= max(following for _, following in steps)


@pytest.mark.parametrize("interval", [0, -1])
def test_an_interval_is_not_empty(interval: int) -> None:
    with pytest.raises(ValueError, match="an interval of"):
        LevelSeries(interval)
