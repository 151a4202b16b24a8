from typing import Any

import click
import pytest
from status_reports import a_dead_report, a_report

from zramfs.cli.columns import ALL, BY_NAME, parse_columns

ZRAMCTL = {
    *("NAME", "DISKSIZE", "DATA", "COMPR", "ALGORITHM", "STREAMS"),
    *("ZERO-PAGES", "TOTAL", "MEM-LIMIT", "MEM-USED", "MIGRATED", "MOUNTPOINT"),
}


def cell(name: str, *, in_bytes: bool = False, report: dict[str, Any] | None = None) -> str:
    report = report or a_report()
    return BY_NAME[name].cell(report, report["devices"][0], in_bytes=in_bytes)


def test_zramctls_columns_are_there() -> None:
    assert set(BY_NAME) >= ZRAMCTL


def test_names_are_taken_in_any_case_and_their_order() -> None:
    assert [column.name for column in parse_columns("data,Name")] == ["DATA", "NAME"]


@pytest.mark.parametrize("text", ["", "NAME,", "nam", "NAME;DATA"])
def test_an_unknown_column_is_bad_usage(text: str) -> None:
    with pytest.raises(click.BadParameter, match="is no column"):
        parse_columns(text)


def test_sizes_are_for_people_or_in_bytes() -> None:
    assert (cell("DISKSIZE"), cell("DISKSIZE", in_bytes=True)) == ("1G", str(1 << 30))


def test_ratio_is_data_over_compressed_data_and_overhead_stands_apart() -> None:
    assert (cell("RATIO"), cell("OVERHEAD")) == ("2.50", "96B")


def test_pages_are_counts() -> None:
    assert (cell("ZERO-PAGES"), cell("SAME", in_bytes=True), cell("LIMIT-HITS")) == ("3", str(3 * 4096), "7")


def test_a_full_limit_is_the_state() -> None:
    assert cell("STATE") == "full"
    report = a_report()
    report["devices"][0]["mem_limit_stat"]["is_full"] = 0
    assert cell("STATE", report=report) == "live"


def test_a_dead_mount_has_its_name_and_state_only() -> None:
    dead = a_dead_report()
    shown = {column.name: column.cell(dead, {"path": "/dead"}, in_bytes=False) for column in ALL}
    assert {name: text for name, text in shown.items() if text != "-"} == {
        "NAME": "/dead",
        "OWNER": "root",
        "FOLDER": "/dead",
        "STATE": "dead",
    }
