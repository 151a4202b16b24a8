"""For which devices managed streams pay: small grids with answers that are plain."""

from dataclasses import replace
from pathlib import Path

import pytest

from zramfs.errors import InvalidValue
from zramfs.simulate.break_even import AXES, BreakEven, axes_of, break_even_as_json, find_break_even, sentence_of
from zramfs.simulate.reading import load_scenario
from zramfs.simulate.scenario import Scenario
from zramfs.simulate.vary import Variation
from zramfs.simulate.verdict import Pays

FLOOD = """
duration_ms = 20
warmup_ms = 2
[machine]
table = "ryzen-7950x"
cpus = 2
[streams]
managed = "nonblocking"
run_pages = 16
[[devices]]
profile = "ideal"
polled_run_pages = 0
interrupt_ns = 1000
[[loads]]
kind = "closed"
tasks = 2
depth = 8
size = "64K"
async = true
"""
SMALL = {"page_ns": (1000, 200_000), "engines": (1, 4), "queue_depth": (64,)}


def scenario(folder: Path, text: str = FLOOD) -> Scenario:
    (folder / "flood.toml").write_text(text)
    return load_scenario(folder / "flood.toml")


@pytest.fixture(scope="module")
def grid(tmp_path_factory: pytest.TempPathFactory) -> BreakEven:
    return find_break_even(scenario(tmp_path_factory.mktemp("scenario")), SMALL)


def test_a_fast_device_beats_two_slow_cpus(grid: BreakEven) -> None:
    cell = grid.cell(1000, 4, 64)
    assert cell is not None
    assert cell.verdict.pays is Pays.YES
    assert cell.verdict.changes[0].ratio > 2


def test_a_slow_device_that_hardly_takes_anything_is_no_great_gain(grid: BreakEven) -> None:
    cell = grid.cell(200_000, 1, 64)
    assert cell is not None
    assert cell.verdict.changes[0].ratio < 1.1


def test_the_sentence_names_the_limit(grid: BreakEven) -> None:
    said = sentence_of(grid)
    assert said.startswith("Managed streams beat per-CPU ones for this load at a depth of 64 ")
    assert "µs a page with" in said
    assert "of the 4 devices tried" in said


def test_json_has_every_cell(grid: BreakEven) -> None:
    told = break_even_as_json(grid)
    assert told["sentence"] == sentence_of(grid)
    assert [(cell["page_ns"], cell["engines"]) for cell in told["cells"]] == [
        (1000, 1),
        (200_000, 1),
        (1000, 4),
        (200_000, 4),
    ]
    assert told["cells"][2]["ratios"]["pages written/s"] > 2


def test_the_grid_is_the_same_each_time(grid: BreakEven, tmp_path: Path) -> None:
    again = find_break_even(scenario(tmp_path), SMALL)
    assert [cell.verdict for cell in again.cells] == [cell.verdict for cell in grid.cells]


def test_no_device_pays_for_a_load_without_pages_for_it(tmp_path: Path) -> None:
    sync = scenario(tmp_path, FLOOD.replace("async = true", "async = false"))
    said = sentence_of(find_break_even(sync, SMALL))
    assert said.startswith("Managed streams beat per-CPU ones for this load with no device of 1 to 200 µs a page")
    assert "4 make no difference" in said


def test_a_scenario_without_devices_has_no_break_even(tmp_path: Path) -> None:
    alone = replace(scenario(tmp_path), devices=())
    with pytest.raises(InvalidValue, match=r"flood: --break-even needs a device"):
        find_break_even(alone, SMALL)


def test_a_number_that_is_none_of_a_device_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidValue, match="engines: it must be 0 to 64, not 65"):
        find_break_even(scenario(tmp_path), {**SMALL, "engines": (65,)})


def test_the_users_values_take_the_place_of_an_axis() -> None:
    axes = axes_of([Variation("page_ns", ("2000", "1000")), Variation("devices.engines", ("3",))])
    assert axes == {**AXES, "page_ns": (1000, 2000), "engines": (3,)}


@pytest.mark.parametrize(
    ("variation", "message"),
    [
        (Variation("policy", ("auto",)), "--vary policy: with --break-even these vary: page_ns, engines, queue_depth"),
        (Variation("page_ns", ("fast",)), "--vary page_ns: with --break-even it takes whole numbers"),
        (Variation("page_ns", tuple(map(str, range(1, 999)))), "settings are too many"),
    ],
)
def test_what_cannot_vary_is_said(variation: Variation, message: str) -> None:
    with pytest.raises(InvalidValue, match=message):
        axes_of([variation])
