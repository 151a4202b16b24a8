"""CPUs of a virtual machine that go at two speeds: measured, in a table or a scenario, and simulated."""

import os
from dataclasses import replace
from pathlib import Path

import pytest
from scenarios import ClosedLoad, machine, scenario

from zramfs.errors import InvalidValue
from zramfs.simulate import contention as measured
from zramfs.simulate import load_grid, load_scenario, run
from zramfs.simulate.calibrate import AlgorithmCosts, SwitchCosts, format_machine
from zramfs.simulate.contention import ONE_SPEED, Speeds, sample_speeds, speeds_of
from zramfs.simulate.machines import parse_machine
from zramfs.simulate.report import Circumstances, render_report
from zramfs.simulate.scenario import Contention
from zramfs.simulate.vary import parse_variation

SCENARIO = """
[machine]
table = "cortex-a76"
[[loads]]
kind = "closed"
[contention]
"""


def made(slowdown_percent: float, share_percent: float, lasts_us: float) -> Contention:
    return Contention(
        slowdown_percent=slowdown_percent,
        share_percent=share_percent,
        lasts_us=lasts_us,
        basis="given",
        source="by the scenario",
    )


def test_two_speeds_are_told_from_each_other() -> None:
    # Of the first CPU 30 windows of 50 are slow. Of its two stretches the first was not seen to begin.
    windows = [[3.0] * 20 + [2.0] * 10 + [3.0] * 10 + [2.0] * 10, [2.0] * 50]
    assert speeds_of(windows) == Speeds(slowdown_percent=50.0, share_percent=30.0, lasts_ms=600.0)


@pytest.mark.parametrize(
    "windows", [[[2.0, 2.1] * 50], [[2.0] * 99 + [30.0]], [[2.0] * 50, [3.0] * 50], [[2.0, 3.0]], []]
)
def test_a_machine_of_one_speed_has_one(windows: list[list[float]]) -> None:
    assert speeds_of(windows) == ONE_SPEED


def test_speeds_stand_in_the_table() -> None:
    costs = {"lz4": AlgorithmCosts(compress=1.25, decompress=0.75, request=0.5, page=0.875)}
    contention = parse_machine(
        "here", format_machine(costs, SwitchCosts(wake=4.0, ipi=3.0, timer=2.0), Speeds(50.0, 40.0, 250.0))
    ).contention
    assert contention is not None
    assert contention.paces == pytest.approx((1 / 1.2, 1.5 / 1.2))
    assert (contention.lasts_us, contention.alone_us) == (250_000, 375_000)


def test_all_cpus_are_looked_at() -> None:
    cpus = sorted(os.sched_getaffinity(0))
    windows = sample_speeds(cpus, 0.1)
    assert len(windows) == min(len(cpus), 64)
    assert all(us > 0.1 for each in windows for us in each)


def test_a_sampler_that_dies_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measured, "compressing_page_us", lambda *_: os._exit(1))
    assert not any(sample_speeds(sorted(os.sched_getaffinity(0)), 0.1))


@pytest.mark.parametrize("lasts_us", [500.0, 20_000.0])
def test_cpus_that_share_their_cores_go_at_two_speeds(lasts_us: float) -> None:
    """By 1.2 of the mean for half of the time, and by 0.8 of it for the other half."""
    contention = made(50.0, 50.0, lasts_us)
    busy = ClosedLoad(name="busy", tasks=2, size_bytes=4096)
    result = run(scenario(busy, machine=replace(machine(2, 10.0), contention=contention), duration_us=4_000_000.0))
    assert result.written_pages_per_s == pytest.approx(2e5 * (0.5 / 0.8 + 0.5 / 1.2), rel=0.03)


def test_a_load_that_ends_is_the_end() -> None:
    contention = made(50.0, 50.0, 200.0)
    load = ClosedLoad(name="busy", size_bytes=4096, requests=100)
    result = run(scenario(load, machine=replace(machine(2, 10.0), contention=contention), duration_us=1e6))
    assert 0.7e-3 < result.measured_s < 1.3e-3


def written(folder: Path, lines: str) -> Path:
    path = folder / "scenario.toml"
    path.write_text(SCENARIO + lines)
    return path


def test_a_scenario_has_its_own_and_can_vary_it(tmp_path: Path) -> None:
    path = written(tmp_path, "slowdown_percent = 50\nshare_percent = 20\nlasts_ms = 5")
    none, own = load_grid(path, [parse_variation("slowdown_percent=0,100")])
    assert none.machine.contention is None
    assert own.machine.contention == made(100.0, 20.0, 5000.0)


def test_a_report_says_where_it_comes_from(tmp_path: Path) -> None:
    path = written(tmp_path, "slowdown_percent = 50\nshare_percent = 20\nlasts_ms = 5")
    circumstances = Circumstances(command="zramfs simulate", version="9.9", when="today", source="seed = 1")
    page = " ".join(render_report([run(load_scenario(path))], None, circumstances).split())
    assert "for 20 % of the time, 5 ms on average, and what its tasks do takes 50 % longer then" in page
    assert '<span class="given">given</span>, by the scenario' in page


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("share_percent = 20\nlasts_ms = 5", "contention: slowdown_percent is missing"),
        (
            "slowdown_percent = 50\nshare_percent = 100\nlasts_ms = 5",
            "contention.share_percent: it must be at least 0.1",
        ),
        ("slowdown_percent = 50\nshare_percent = 20\nlasts_ms = 0", "contention.lasts_ms: it must be at least 0.001"),
        ("slow_percent = 50", "contention.slow_percent: unknown key"),
    ],
)
def test_a_bad_one_is_one_line(lines: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidValue) as caught:
        load_scenario(written(tmp_path, lines))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
