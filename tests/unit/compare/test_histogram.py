import pytest

from zramfs.compare.histogram import Histogram


@pytest.mark.parametrize(("percent", "latency_us"), [(1, 1), (50, 1), (51, 2), (99, 2), (99.1, 50), (100, 50)])
def test_percentile_is_the_latency_that_so_many_did_not_pass(percent: float, latency_us: float) -> None:
    assert Histogram({50_000: 1, 1_000: 50, 2_000: 49}).percentile_us(percent) == latency_us


def test_merged_histogram_has_the_requests_of_all() -> None:
    merged = Histogram.merged([Histogram({1: 2, 9: 1}), Histogram({9: 4})])
    assert merged.counts == {1: 2, 9: 5}
    assert merged.requests == 7


def test_share_of_slower_requests_falls_from_one_to_the_slowest() -> None:
    latencies_us, shares = Histogram({4_000: 1, 1_000: 3}).slower_than()
    assert (latencies_us, shares) == ([1, 4], [1, 0.25])
