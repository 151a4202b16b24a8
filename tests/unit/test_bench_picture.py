"""The picture of `make bench`: what people see of its results."""

import importlib
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

SCRIPTS = Path(__file__).parents[2] / "scripts" / "bench"

RATIO = {"of_medians": 0.5, "lowest": 0.4, "highest": 0.6, "floor": 0.9, "passes": False}


def cell(**ratios: dict[str, Any]) -> dict[str, Any]:
    medians = {"zramfs": 50.0, **dict.fromkeys(ratios, 100.0)}
    return {
        "title": "4K random write QD1, otherwise 1",
        "caption": "4K random write, one at a time",
        "unit": "k IOPS",
        "medians": medians,
        "ratios": ratios,
    }


def document(*cells: dict[str, Any]) -> dict[str, Any]:
    return {
        "cells": list(cells),
        "machine": {"cpus": 2, "cpu": "a CPU", "kernel": "6.18"},
        "versions": {"zramfs": "1.0", "commit": "abcdef-dirty"},
        "settings": {"rounds": 5},
    }


@pytest.fixture
def drawing(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(SCRIPTS)
    return importlib.import_module("picture")


def test_it_says_what_is_compared_with_what(drawing: ModuleType) -> None:
    drawn = drawing.picture(document(cell(kernel=RATIO, peer=RATIO)))
    assert "How many times as fast is zramfs as the kernel&#x27;s zram, and as its nearest peer?" in drawn
    assert "nbdkit&#x27;s memory disk with zstd, mounted by nbdfuse" in drawn
    assert "0.50\N{MULTIPLICATION SIGN}" in drawn


def test_it_has_no_words_of_the_bench_alone(drawing: ModuleType) -> None:
    drawn = drawing.picture(document(cell(kernel=RATIO, nothing=RATIO, otherwise=RATIO, base=RATIO)))
    assert "abcdef, with changes" in drawn
    for word in ("otherwise", "nothing", "-dirty", "floor", "base", "QD"):
        assert word not in drawn


def test_a_cell_without_a_rival_is_left_out(drawing: ModuleType) -> None:
    assert list(drawing.groups_of(document(cell(base=RATIO)))) == []


def test_what_is_beyond_the_axis_is_drawn_at_its_end(drawing: ModuleType) -> None:
    assert drawing.x_of(1e6) == drawing.x_of(drawing.MOST)
    assert drawing.x_of(0.001) == drawing.x_of(drawing.LEAST)


def test_it_is_drawn_again_from_the_results_of_a_bench(drawing: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "results.json").write_text(json.dumps(document(cell(kernel=RATIO))))
    assert drawing.main([str(tmp_path / "results.json"), str(tmp_path / "drawn.svg")]) == 0
    assert (tmp_path / "drawn.svg").read_text().startswith("<svg ")


@pytest.mark.parametrize("results", ["{}", "junk"])
def test_what_are_no_results_is_one_line(
    drawing: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str], results: str
) -> None:
    (tmp_path / "results.json").write_text(results)
    assert drawing.main([str(tmp_path / "results.json"), str(tmp_path / "drawn.svg")]) == 1
    assert capsys.readouterr().err.count("\n") == 1
