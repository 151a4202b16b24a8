"""Drawings of latencies have numbers on their axes, however far apart the ends are."""

import pytest

pytest.importorskip("matplotlib")

from zramfs.reporting.drawing import drawing, show_latencies


@pytest.mark.parametrize(("least_us", "most_us"), [(6600.0, 7300.0), (40.0, 95.0), (8.0, 300.0), (10.0, 1e6)])
def test_an_axis_has_at_least_two_numbers(least_us: float, most_us: float) -> None:
    with drawing(1, 1, 3.0) as (figure, (axes,)):
        axes.plot([least_us, most_us], [1.0, 0.01])
        show_latencies(axes)
        figure.draw_without_rendering()
        low, high = axes.get_xlim()
        shown = [
            label.get_text()
            for place, label in zip(axes.get_xticks(), axes.get_xticklabels(), strict=True)
            if low <= place <= high and label.get_text()
        ]
    assert len(shown) >= 2
