"""The average of what is measured several times, on CPUs that go at two speeds."""

import statistics
from collections.abc import Iterable


def middle_mean(values: Iterable[float]) -> float:
    """The mean, without the lowest and the highest of three and more.

    A median would be one of the two speeds that a virtual machine's CPUs have (`contention`), and most costs are means.
    """
    ordered = sorted(values)
    return statistics.mean(ordered[1:-1] if len(ordered) > 2 else ordered)
