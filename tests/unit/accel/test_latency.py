"""The latencies of the last runs, for percentiles that are exact."""

import random
from typing import Any, Final

from hypothesis import given
from hypothesis import strategies as st

from zramfs.accel.latency import LatencyWindow

WINDOW: Final = 4096


def added(doors: Any, *samples_us: int) -> LatencyWindow:
    window = LatencyWindow()
    for sample_us in samples_us:
        doors.add_latency(window, sample_us * 1000)
    return window


def test_window_without_a_run_says_0(doors: Any) -> None:
    assert added(doors).percentiles_us(50, 99) == [0.0, 0.0]


@given(st.lists(st.integers(0, 10**6), min_size=1, max_size=300), st.integers(0, 100))
def test_percentile_is_one_of_the_latencies_in_their_order(doors: Any, samples_us: list[int], percent: int) -> None:
    place = min(len(samples_us) - 1, len(samples_us) * percent // 100)
    assert added(doors, *samples_us).percentile_us(percent) == sorted(samples_us)[place]


def test_only_the_last_4096_count(doors: Any) -> None:
    late = random.Random(7).sample(range(10_000, 90_000), WINDOW)
    window = added(doors, *range(5000), *late)
    assert window.percentile_us(0) == min(late)
    assert window.percentile_us(100) == max(late)


def test_what_is_cleared_counts_no_more(doors: Any) -> None:
    window = added(doors, *[1000] * 10)
    doors.clear_latencies(window)
    assert window.percentile_us(99) == 0.0
    doors.add_latency(window, 5000)
    assert window.percentile_us(99) == 5.0


def test_fractions_are_tenths_of_a_microsecond(doors: Any) -> None:
    window = added(doors)
    doors.add_latency(window, 1249)
    assert window.percentile_us(50) == 1.2
    assert repr(window) == "<LatencyWindow p50 1.2 us, p99 1.2 us>"
