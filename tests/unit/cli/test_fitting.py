import pytest

from zramfs.cli.fitting import Heading, fitting_list, fitting_tables

HEADINGS = [Heading("device", is_text=True), Heading("alg", is_text=True), Heading("data"), Heading("used")]
ROWS = [["zram0", "lz4", "1.5G", "800M"], ["zram1", "lzo-rle", "0B", "0B"]]
NAMES = [["/mnt/a/long/path/zram0", "lz4", "1.5G", "800M"]]


def test_text_stands_left_and_figures_right() -> None:
    assert fitting_tables(HEADINGS, ROWS, 80) == [
        "device alg     data used",
        "zram0  lz4     1.5G 800M",
        "zram1  lzo-rle   0B   0B",
    ]


def test_columns_that_do_not_fit_come_below_with_the_first_again() -> None:
    assert fitting_tables(HEADINGS, ROWS, 20) == [
        "device alg     data",
        "zram0  lz4     1.5G",
        "zram1  lzo-rle   0B",
        "device used",
        "zram0  800M",
        "zram1    0B",
    ]


@pytest.mark.parametrize("width", range(1, 40))
def test_no_figure_is_ever_cut(width: int) -> None:
    for lines in (fitting_tables(HEADINGS, ROWS, width), fitting_list(HEADINGS, ROWS, width)):
        words = {word for line in lines for word in line.split()}
        assert {cell for row in ROWS for cell in row} <= words


def test_a_list_too_wide_has_the_name_above() -> None:
    assert fitting_list(HEADINGS, NAMES, 30) == [
        "device",
        "  alg data used",
        "/mnt/a/long/path/zram0",
        "  lz4 1.5G 800M",
    ]
    assert len(fitting_list(HEADINGS, NAMES, 60)) == 2


def test_a_list_without_headings_takes_no_room_for_them() -> None:
    assert fitting_list(HEADINGS, [["a", "b", "1", "2"]], 10, has_headings=False) == ["a b 1 2"]
