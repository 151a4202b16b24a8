"""What a comparison may conclude of each setting: nothing, where this machine was too slow to be the device.

The device is emulated by threads of this machine. Where their work outlasts the modelled time, what was measured is the
machine and not the device, and only a simulation can answer.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from zramfs.compare.figures import Spread
from zramfs.compare.rounds import Row
from zramfs.compare.workload import KINDS

MOST_LATE_PERCENT: Final = 10.0
"""Of runs that may come late, and of pages: with a writer of single pages beside a flood, most runs are the former's,
and most pages the latter's.

async-flood, callers that wait, devices of 1 and 8 engines of 0.2 to 200 µs a page, on 2 CPUs, a run each: where 0.1 to
3 % of the runs were late, the flood had 94 to 100 % of the modelled throughput; with 16 % late 95 %, with 30 % 83 %,
with 48 % 67 %, with 66 % half. So up to 10 % the emulation's own error is no larger than what rounds differ by."""

MOST_MEDIAN_RATIO: Final = 1.25
"""Of the observed median to the modelled one. Runs that are in time, but told of late, are not late: the threads that
would be told had no CPU. In the same measurements, and in those of single writers and of `mixed`, it was 1.00 to 1.14
where up to 30 % of the runs were late, and 1.5 or more beyond."""

_HOST_CPU: Final = "cpu_serving_s_per_gib"
_WANTED: Final = (
    *((f"{kind} throughput", f"{kind}_mb_s") for kind in KINDS),
    *((f"{kind} p99", f"{kind}_p99_us") for kind in KINDS),
)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is said of a setting: a conclusion, or a warning that there is none; both "" where no device was at work.

    `kept_up` is whether the emulation did; None for a device without a time of its own.
    """

    kept_up: bool | None
    conclusion: str = ""
    warning: str = ""


def judge(row: Row, rows: Sequence[Row]) -> Verdict:
    """Judge a setting that was measured, beside the one of `rows` that is the same on per-CPU streams alone."""
    spreads = row.spreads
    if "managed_pages" not in spreads or not spreads["managed_pages"].median:
        return Verdict(None)
    kept_up = _kept_up(spreads)
    if kept_up is False:
        return Verdict(kept_up, warning=f"{row.setting.name}: no verdict. {_emulation(spreads)}")
    baseline = next((each for each in rows if each.setting.is_baseline_of(row.setting)), None)
    said = _saved_on_its_own(spreads) if baseline is None else _against(spreads, baseline)
    remark = "" if kept_up is None else f" {_emulation(spreads)}"
    return Verdict(kept_up, conclusion=f"{row.setting.name}: {said}{remark}")


def _kept_up(spreads: dict[str, Spread]) -> bool | None:
    if "late_percent" not in spreads:
        return None
    late = max(spreads[key].median for key in ("late_percent", "late_pages_percent"))
    observed, modelled = spreads["run_p50_us"].median, spreads["model_p50_us"].median
    return late <= MOST_LATE_PERCENT and observed <= MOST_MEDIAN_RATIO * modelled


def _emulation(spreads: dict[str, Spread]) -> str:
    runs, pages, observed, modelled = (
        spreads[key].median for key in ("late_percent", "late_pages_percent", "run_p50_us", "model_p50_us")
    )
    late = f"{runs:.1f} % of the device's runs, with {pages:.1f} % of its pages, came later than modelled"
    said = f"{late}; median {observed:,.1f} µs, modelled {modelled:,.1f}"
    return f"({said}.)" if _kept_up(spreads) else f"This machine cannot emulate the device: {said}."


def _saved_on_its_own(spreads: dict[str, Spread]) -> str:
    device, host = spreads["cpu_device_s_per_gib"].median, spreads[_HOST_CPU].median
    return f"hardware would have saved {device:.2f} CPU s/GiB of emulation, beside {host:.2f} for serving."


def _against(spreads: dict[str, Spread], baseline: Row) -> str:
    """Say what differs from per-CPU streams, as far as the rounds tell them apart, and whether it pays."""
    before = baseline.spreads
    cpu_time = _Difference.of("CPU time", _HOST_CPU, spreads, before)
    others = [each for each in (_Difference.of(*wanted, spreads, before) for wanted in _WANTED) if each]
    said = f"{_in_a_word(cpu_time, others)}. {_cpu_saved(spreads, before, cpu_time)}; {', '.join(map(str, others))}."
    if not any(each.is_gain is False for each in others):
        return said
    device = spreads["cpu_device_s_per_gib"].median
    return f"{said} A loss may be the emulation's, whose work took {device:.2f} CPU s/GiB of the same CPUs."


def _in_a_word(cpu_time: "_Difference | None", others: Sequence["_Difference"]) -> str:
    """Throughput that is lost and latency that grows may be the emulation's work: they gainsay, and prove nothing."""
    costs_cpu_time = cpu_time is not None and cpu_time.is_gain is False
    gains = any(each.is_gain for each in [*([cpu_time] if cpu_time else []), *others])
    losses = any(each.is_gain is False for each in others)
    if gains:
        return "it depends" if losses or costs_cpu_time else "managed streams pay"
    if costs_cpu_time:
        return "managed streams do not pay"
    return "no gain was seen" if losses else "not told apart from per-CPU streams"


def _cpu_saved(spreads: dict[str, Spread], before: dict[str, Spread], difference: "_Difference | None") -> str:
    host, host_before = spreads[_HOST_CPU].median, before[_HOST_CPU].median
    share = f" ({abs(difference.percent):.0f} %{difference.remark})" if difference else ""
    what = f"{'saved' if host <= host_before else 'cost'} {abs(host_before - host):.2f} CPU s/GiB{share}"
    return f"Hardware would have {what}: {host:.2f} for serving instead of {host_before:.2f}"


@dataclass(frozen=True, slots=True)
class _Difference:
    """Of one figure, from per-CPU streams. `is_gain` is None where the rounds of both overlap."""

    name: str
    percent: float
    is_gain: bool | None

    @classmethod
    def of(cls, name: str, key: str, after: dict[str, Spread], before: dict[str, Spread]) -> "_Difference | None":
        """Compare a figure, if both settings have it; of throughput more is better, of all others less."""
        if key not in after or key not in before or not before[key].median:
            return None
        is_gain = None
        if after[key].lowest > before[key].highest or after[key].highest < before[key].lowest:
            is_gain = (after[key].median > before[key].median) == key.endswith("_mb_s")
        return cls(name, 100 * (after[key].median / before[key].median - 1), is_gain)

    @property
    def remark(self) -> str:
        """What is to be said of a difference that may be none."""
        return ", ranges overlap" if self.is_gain is None else ""

    def __str__(self) -> str:
        return f"{self.name} {self.percent:+.0f} %{self.remark and ' (ranges overlap)'}"
