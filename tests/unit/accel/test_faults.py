from collections import Counter
from itertools import pairwise

import pytest

from zramfs.accel.faults import FAULT_KINDS, STALL, FaultRate, parse_fault_rate
from zramfs.accel.injector import FaultInjector
from zramfs.errors import InvalidValue


def drawn(injector: FaultInjector, runs: int, pages: int) -> list[tuple[int, str]]:
    """Plan many runs; the descriptors that were hit, counted through."""
    return [
        (run * pages + descriptor, kind) for run in range(runs) for descriptor, kind in injector.plan(pages).items()
    ]


@pytest.mark.parametrize(
    ("text", "rate"),
    [
        ("0", FaultRate()),
        ("0.0", FaultRate()),
        ("1/1", FaultRate(every=1)),
        ("1/1000", FaultRate(every=1000)),
        ("1", FaultRate(probability=1.0)),
        (".5", FaultRate(probability=0.5)),
        ("1e-3", FaultRate(probability=0.001)),
    ],
)
def test_fault_rate_is_read(text: str, rate: FaultRate) -> None:
    assert parse_fault_rate(text) == rate
    assert parse_fault_rate(str(rate)) == rate


@pytest.mark.parametrize(
    "text",
    ["", "x", "-1", "-0.0", "1.01", "nan", "inf", "1e999", "0_1", "\u0660", "1/", "1/0", "1/-3", "2/3", "1/1.5", "0 1"],
)
def test_fault_rate_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(InvalidValue, match="is no fault rate"):
        parse_fault_rate(text)


def test_fault_injector_without_rates_injects_nothing() -> None:
    injector = FaultInjector()
    assert not injector
    assert injector.plan(4096) == {}
    assert set(injector.injected.values()) == {0}


@pytest.mark.parametrize("pages", [1, 3, 7, 10, 64])
@pytest.mark.parametrize("kind", ["timeout", "bus_error", "corrupt"])
def test_every_nth_descriptor_is_hit_exactly_whatever_the_runs(kind: str, pages: int) -> None:
    injector = FaultInjector({kind: FaultRate(every=7)})
    hit = drawn(injector, 1000, pages)
    assert hit == [(at, kind) for at in range(6, 1000 * pages, 7)]
    assert injector.injected[kind] == 1000 * pages // 7


def test_probability_hits_as_often_as_it_says() -> None:
    injector = FaultInjector({"bus_error": FaultRate(probability=0.1)}, seed=2026)
    hit = drawn(injector, 1000, 100)
    assert abs(len(hit) - 10_000) < 5 * (100_000 * 0.1 * 0.9) ** 0.5
    assert injector.injected["bus_error"] == len(hit)


def test_probability_has_no_memory() -> None:
    """After a hit the next descriptor is hit as often as any."""
    injector = FaultInjector({"corrupt": FaultRate(probability=0.5)}, seed=7)
    at = [descriptor for descriptor, _ in drawn(injector, 100, 100)]
    gaps = Counter(second - first for first, second in pairwise(at))
    assert abs(gaps[1] / len(at) - 0.5) < 0.05
    assert abs(gaps[2] / len(at) - 0.25) < 0.05


@pytest.mark.parametrize("rate", [FaultRate(every=1), FaultRate(probability=1.0)])
def test_certain_fault_hits_every_descriptor(rate: FaultRate) -> None:
    assert FaultInjector({"timeout": rate}).plan(5) == dict.fromkeys(range(5), "timeout")


@pytest.mark.parametrize("probability", [5e-324, 1e-300, 1e-18])
def test_probability_next_to_nothing_is_no_error(probability: float) -> None:
    injector = FaultInjector({"timeout": FaultRate(probability=probability)}, seed=1)
    assert injector.plan(4096) == {}


def test_of_two_faults_of_one_descriptor_the_first_kind_happens_and_is_counted() -> None:
    rates = {"corrupt": FaultRate(every=3), "bus_error": FaultRate(every=2), "timeout": FaultRate(every=6)}
    injector = FaultInjector(rates)
    assert injector.plan(6) == {5: "timeout", 1: "bus_error", 3: "bus_error", 2: "corrupt"}
    assert injector.injected == {"timeout": 1, "bus_error": 2, "corrupt": 1, "stall": 0}


def test_stall_happens_to_the_device_once_a_run_beside_other_faults() -> None:
    injector = FaultInjector({"stall": FaultRate(every=2), "bus_error": FaultRate(every=4)})
    assert injector.plan(4) == {3: "bus_error", STALL: "stall"}
    assert injector.injected == {"timeout": 0, "bus_error": 1, "corrupt": 0, "stall": 1}


def test_rate_that_changes_begins_anew_and_its_count_goes_on() -> None:
    injector = FaultInjector({"bus_error": FaultRate(every=10)})
    injector.plan(9)
    injector.set_rate("bus_error", FaultRate(every=2))
    assert injector.plan(2) == {1: "bus_error"}
    injector.set_rate("bus_error", FaultRate())
    assert not injector
    assert injector.plan(100) == {}
    assert injector.injected["bus_error"] == 1


def test_rate_that_changes_leaves_the_other_kinds_alone() -> None:
    injector = FaultInjector({"bus_error": FaultRate(every=10)})
    injector.plan(9)
    injector.set_rate("corrupt", FaultRate(every=100))
    assert injector.plan(1) == {0: "bus_error"}


@pytest.mark.parametrize("kind", FAULT_KINDS)
def test_fault_injector_says_whether_a_run_may_hang(kind: str) -> None:
    assert FaultInjector({kind: FaultRate(every=9)}).may_hang is (kind in ("timeout", "stall"))
