import tomllib
from pathlib import Path

import pytest

from zramfs.compare.fio import FioWorkload
from zramfs.compare.rounds import Comparison, Run
from zramfs.compare.scenario import scenario_of, simulate_line
from zramfs.compare.settings import POLICIES, Variation, combine
from zramfs.compare.workload import SWAP_STORM, Made, Plan, builtin_job_names

TABLE = Path("/somewhere/here.toml")
PLAN = Plan(size_bytes=1 << 20, runtime_s=1)


def comparison(accelerator: str, *variations: Variation, workload: str = "mixed") -> Comparison:
    settings = combine(variations or [POLICIES], accelerator)
    return Comparison.of(FioWorkload(workload, ""), PLAN, 1, settings)


@pytest.mark.parametrize("workload", [*builtin_job_names(), SWAP_STORM])
def test_scenario_of_every_workload_of_the_package_has_its_loads(workload: str) -> None:
    text = scenario_of(comparison("qpace", workload=workload), TABLE)
    assert text is not None
    scenario = tomllib.loads(text)
    assert scenario["devices"] == [{"profile": "qpace"}]
    assert scenario["machine"] == {"table": "/somewhere/here.toml"}
    assert scenario["daemon"]["crew"] >= 0
    assert [load["kind"] in ("closed", "swap") for load in scenario["loads"]] == [True] * len(scenario["loads"])


def test_scenario_has_what_the_user_gave_and_leaves_what_varies_to_the_command() -> None:
    made = comparison("iaa,page_ns=200,when_full=wait,engines=8", Variation("engines", ("4", "8")))
    text = scenario_of(made, TABLE)
    assert text is not None
    assert tomllib.loads(text)["devices"] == [{"profile": "iaa", "page_ns": 200, "when_full": "wait"}]
    assert simulate_line(made, Path("x y.toml")) == (
        "zramfs simulate 'x y.toml' --vary engines=4,8 --vary policy=percpu,auto"
    )


def test_scenario_names_a_profile_of_the_users_by_its_whole_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    numbers = Path("mine.toml")
    monkeypatch.chdir(tmp_path)
    numbers.write_text(
        "queue_depth = 1\nengines = 1\npolled_run_pages = 0\nbatch_max_pages = 1\nsubmit_ns = 0\njob_ns = 0\n"
        "page_ns = 1\ncoalesce_runs = 1\ncoalesce_us = 0\ninterrupt_ns = 0\ntimeout_us = 1000\nverify_compress = 0\n"
    )
    text = scenario_of(comparison("mine.toml"), TABLE)
    assert text is not None
    assert tomllib.loads(text)["devices"] == [{"profile": str(tmp_path / "mine.toml")}]


def test_command_varies_what_was_compared_but_for_no_device() -> None:
    made = comparison("none", Variation("profile", ("none", "qpace")), Variation("policy", ("auto", "percpu")))
    assert simulate_line(made, Path("s.toml")) == (
        "zramfs simulate s.toml --vary profile=qpace --vary policy=auto,percpu"
    )


def test_load_of_the_users_own_has_no_scenario() -> None:
    assert scenario_of(comparison("qpace", workload="own.fio"), TABLE) is None
    assert scenario_of(comparison("none"), TABLE) is None


def test_scenario_has_what_requests_took_in_all_runs_and_says_how_far_settings_are_apart() -> None:
    made = comparison("qpace", Variation("policy", ("percpu", "auto")))
    for row, user_s in zip(made.rows, ((0.25, 0.15), (0.8,)), strict=True):
        row.runs.extend(Run(figures={}, latencies={}, commands=[], made={"flood": Made(1000, each)}) for each in user_s)
    text = scenario_of(made, TABLE)
    assert text is not None
    assert {load["name"]: load.get("make_us") for load in tomllib.loads(text)["loads"]} == {
        "flood": 400.0,
        "sync": None,
    }
    assert "1.20 s for 3,000 requests, 200.0 to 800.0 us under single settings" in text
