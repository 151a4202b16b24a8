"""Whether managed streams pay: what counts as a gain, as a loss, and as neither."""

from dataclasses import replace
from pathlib import Path

import pytest

from zramfs.simulate.reading import load_grid, load_scenario
from zramfs.simulate.result import Result
from zramfs.simulate.run import run
from zramfs.simulate.vary import Variation
from zramfs.simulate.verdict import Pays, judge, judge_all, on_percpu_streams, with_managed_streams

SCENARIO = """
duration_ms = 5
[machine]
table = "ryzen-7950x"
cpus = 2
[[devices]]
profile = "iaa"
[[loads]]
kind = "closed"
async = true
[[loads]]
kind = "closed"
name = "faults"
operation = "read"
"""


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("verdict") / "two.toml"
    path.write_text(SCENARIO)
    return path


@pytest.fixture(scope="module")
def result(path: Path) -> Result:
    return run(on_percpu_streams(load_scenario(path)))


def changed(result: Result, *, written: float = 1.0, cpu: float = 1.0, read_p99: float = 1.0) -> Result:
    reads = result.latencies["reads"]
    p99s = {**reads.percentiles_us, 99.0: reads.percentiles_us[99.0] * read_p99}
    return replace(
        result,
        pages=replace(result.pages, percpu=round(result.pages.percpu * written)),
        cpu_seconds={key: seconds * cpu for key, seconds in result.cpu_seconds.items()},
        latencies={**result.latencies, "reads": replace(reads, percentiles_us=p99s)},
    )


@pytest.mark.parametrize(
    ("changes", "pays"),
    [
        ({}, Pays.EVEN),
        ({"written": 1.04, "read_p99": 1.09}, Pays.EVEN),
        ({"cpu": 0.5}, Pays.YES),
        ({"read_p99": 0.5}, Pays.YES),
        ({"cpu": 0.5, "read_p99": 2.0}, Pays.DEPENDS),
        ({"cpu": 2.0}, Pays.NO),
    ],
)
def test_gains_and_losses_make_the_verdict(changes: dict[str, float], pays: Pays, result: Result) -> None:
    assert judge(changed(result, **changes), result).pays is pays


def test_verdict_names_what_has_changed(result: Result) -> None:
    assert str(judge(changed(result, cpu=0.5, read_p99=3.0), result)) == "depends: CPU s/GiB -50 %, read p99 +200 %"
    assert str(judge(result, result)) == "no difference"


def test_each_setting_is_judged_beside_its_like_on_percpu_streams(path: Path) -> None:
    variations = [Variation("policy", ("percpu", "auto")), Variation("page_ns", ("1000", "90000"))]
    results = [run(each) for each in load_grid(path, variations)]
    judged = judge_all(results)
    assert [dict(each.scenario.varied) for each, _ in judged] == [
        {"policy": "auto", "page_ns": "1000"},
        {"policy": "auto", "page_ns": "90000"},
    ]
    assert judged[1][1] == judge(results[3], results[1])


def test_a_scenario_that_has_only_percpu_streams_is_tried_with_auto(path: Path) -> None:
    scenario = load_scenario(path)
    assert with_managed_streams(scenario) is scenario
    assert with_managed_streams(on_percpu_streams(scenario)) == scenario
