import pytest
from status_reports import a_report

from zramfs.cli.rates import rates_of
from zramfs.cli.top_view import fitting_screen, screen_lines


def test_rates_are_of_what_came_since() -> None:
    after = a_report()
    device = after["devices"][0]
    device["requests"]["write"] = {"ios": 250, "bytes": 1024000, "time_ms": 9}
    device["latency"]["write"] |= {"requests": 250, "bins": {"9216": 50, "18432": 200}}
    device["streams"] |= {"managed_pages": 180, "fallback_pages": 60, "percpu_pages_cpu1": 20}
    device["accel"]["late_completions"] = 5
    rates = rates_of(a_report(), after, 2.0)["devices"][0]
    write = rates["operations"]["write"]
    assert (write["iops"], write["bytes_per_second"], write["p50_us"]) == (100.0, 409600, 18.432)
    assert (rates["fallback_share"], rates["late_completions"]) == (0.25, 3)
    assert rates["percpu_pages_per_second"] == {"0": 0.0, "1": 10.0}
    assert rates["operations"]["read"]["p99_us"] is None


def test_counts_that_begin_anew_are_no_negative_rates() -> None:
    after = a_report()
    after["devices"][0]["streams"]["managed_pages"] = 4
    assert rates_of(a_report(), after, 1.0)["devices"][0]["pages_per_second"]["managed"] == 4.0


def test_a_new_device_is_left_out() -> None:
    after = a_report()
    after["devices"].append(a_report()["devices"][0] | {"name": "zram1"})
    assert [device["name"] for device in rates_of(a_report(), after, 1.0)["devices"]] == ["zram0"]


@pytest.mark.parametrize("width", [60, 80])
def test_the_screen_fits(width: int) -> None:
    lines = screen_lines([rates_of(a_report(), a_report(), 1.0)], width)
    assert max(map(len, lines)) <= width


def test_a_long_mount_point_is_cut_where_it_begins() -> None:
    rates = rates_of(a_report(), a_report() | {"mountpoint": f"/srv/{'long/' * 20}end"}, 1.0)
    heading = screen_lines([rates], 60)[0]
    assert len(heading) == 60
    assert heading.startswith("…")
    assert "/long/end by " in heading
    assert heading.endswith("; q ends")


def test_lines_that_a_terminal_has_no_room_for_are_told() -> None:
    lines = [f"line {number}" for number in range(30)]
    assert fitting_screen(lines, 80, 30) == lines
    shown = fitting_screen(lines, 80, 24)
    assert (len(shown), shown[:23]) == (24, lines[:23])
    assert shown[23] == "… 7 more lines: a higher terminal shows them"
    assert all(len(line) <= 9 for line in fitting_screen(lines, 9, 4))
