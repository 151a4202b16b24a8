import io
import json

import pytest
from rich.console import Console

from zramfs.compare.fio import FioWorkload
from zramfs.compare.histogram import Histogram
from zramfs.compare.rounds import Comparison, Row, Run
from zramfs.compare.settings import Variation, combine
from zramfs.compare.table import as_json, print_table
from zramfs.compare.workload import Plan

KINDS = ("sync", "async", "read")
FIGURES = {
    **{f"{kind}_{name}": 123_456.0 for kind in KINDS for name in ("mb_s", "iops", "p50_us", "p99_us")},
    **{f"cpu_{kind}_s_per_gib": 12.34 for kind in ("serving", "other", "device")},
    **{f"{kind}_pages": 12_345_678 for kind in ("managed", "percpu", "fallback")},
    "fallback_percent": 100.0,
    "queue_depth_reached": 256,
}


@pytest.fixture
def comparison() -> Comparison:
    settings = combine([Variation("policy", ("managed", "auto"))], "ideal")
    made = Comparison.of(FioWorkload("mixed", ""), Plan(size_bytes=4096, runtime_s=1), 3, settings)
    for row, factors in zip(made.rows, ((1, 3, 2), (5,)), strict=True):
        row.runs.extend(run(factor) for factor in factors)
    return made


def run(factor: float) -> Run:
    figures: dict[str, float | None] = {key: value * factor for key, value in FIGURES.items()}
    return Run(figures=figures, latencies={"sync": Histogram({1000: 1})}, commands=["zramfs mount"])


def printed(comparison: Comparison, width: int) -> list[str]:
    console = Console(file=io.StringIO(), width=width)
    print_table(comparison, console)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue().splitlines()


@pytest.mark.parametrize("width", [80, 120, 160, 300])
def test_table_is_never_wider_than_the_terminal_nor_cut_off(comparison: Comparison, width: int) -> None:
    lines = printed(comparison, width)
    assert max(map(len, lines)) <= width
    assert not any("…" in line for line in lines)


def test_table_is_one_where_there_is_room(comparison: Comparison) -> None:
    assert sum("policy " in line for line in printed(comparison, 300)) == 1
    assert sum("policy " in line for line in printed(comparison, 80)) > 1


def test_table_has_the_medians(comparison: Comparison) -> None:
    row = next(line for line in printed(comparison, 300) if "managed " in line and "auto" not in line and "246" in line)
    assert "246,912.0" in row


def test_verdicts_stand_below_the_table(comparison: Comparison) -> None:
    lines = printed(comparison, 300)
    assert lines[-1].startswith("policy=auto: hardware would have saved 61.70 CPU s/GiB")


def test_device_that_was_late_gets_a_warning_below_the_table_and_in_json(comparison: Comparison) -> None:
    late = {"late_percent": 99.9, "late_pages_percent": 99.8, "run_p50_us": 700.0, "model_p50_us": 7.0}
    for row in comparison.rows:
        for run in row.runs:
            run.figures.update(late)
    assert "Warning: policy=auto: no verdict. This machine cannot emulate" in " ".join(printed(comparison, 300))
    told = as_json(comparison)["settings"][1]
    assert (told["kept_up"], told["conclusion"]) == (False, "")
    assert told["warning"].startswith("policy=auto: no verdict.")
    assert told["figures"]["late_percent"]["median"] == 99.9


def test_json_has_the_numbers_of_the_device(comparison: Comparison) -> None:
    told = as_json(comparison)["settings"][0]["profile"]
    assert told["name"] == "ideal"
    assert told["settings"]["queue_depth"]["basis"] == "published"


def test_row_without_a_run_is_in_no_table(comparison: Comparison) -> None:
    comparison.rows[1] = Row(comparison.rows[1].setting)
    assert not any(line.startswith((" auto", "policy=auto")) for line in printed(comparison, 300))


def test_json_has_the_spread_and_says_whether_it_is_complete(comparison: Comparison) -> None:
    report = json.loads(json.dumps(as_json(comparison)))
    assert report["complete"] is False
    assert report["settings"][0]["setting"] == {"policy": "managed"}
    assert report["settings"][0]["figures"]["sync_mb_s"] == {"median": 246912, "lowest": 123456, "highest": 370368}
    assert len(report["settings"][0]["rounds"]) == 3
