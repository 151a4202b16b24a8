import pytest
from status_reports import a_report

from zramfs.cli.tables import describe


@pytest.mark.parametrize("width", [60, 80])
def test_all_fits(width: int) -> None:
    assert max(map(len, describe(a_report(), width))) <= width


def test_a_full_limit_is_told() -> None:
    lines = describe(a_report(), 200)
    assert "zram0: mem_limit is full; pages kept out: 7" in lines
    assert any("8K full" in line for line in lines)


def test_words_are_explained_in_one_line() -> None:
    told = [line for line in describe(a_report(), 60) if all(word in line for word in ("same:", "huge:", "peak:"))]
    assert len(told) == 1


def test_failures_stand_beside_the_requests() -> None:
    write = next(line for line in describe(a_report(), 200) if " write " in line)
    assert write.split() == ["zram0", "write", "50", "9.0", "9.0", "9.0", "6"]
