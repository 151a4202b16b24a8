from zramfs.latencies import Latencies, format_latencies, parse_latencies

SOME = Latencies({2048: 90, 4096: 9, 1 << 20: 1}, 1_500_000)


def test_percentile_is_the_edge_that_so_many_stayed_below() -> None:
    assert [SOME.percentile_us(percent) for percent in (50, 90, 99, 100)] == [2.048, 2.048, 4.096, 1048.576]


def test_no_requests_have_no_percentile() -> None:
    assert Latencies().percentile_us(50) is None


def test_below_an_edge_are_all_bins_that_end_there_or_before() -> None:
    assert [SOME.below(edge) for edge in (1024, 2048, 4095, 4096, 1 << 21)] == [0, 90, 90, 99, 100]


def test_since_leaves_out_what_was_there_before() -> None:
    later = Latencies({2048: 95, 4096: 9, 8192: 3, 1 << 20: 1}, 2_000_000)
    assert later.since(SOME) == Latencies({2048: 5, 8192: 3}, 500_000)


def test_since_a_reset_are_all() -> None:
    fresh = Latencies({2048: 3}, 4000)
    assert fresh.since(SOME) == fresh
    more_of_another_kind = Latencies({1024: 200}, 4000)
    assert more_of_another_kind.since(SOME) == more_of_another_kind


def test_text_tells_them_all() -> None:
    told = format_latencies({"read": SOME, "write": Latencies(), "discard": Latencies({2048: 1}, 1000)})
    assert (told["read_requests"], told["read_p50_us"], told["write_p99_us"]) == (100, 2.048, 0.0)
    assert parse_latencies(told) == {"read": SOME, "write": Latencies(), "discard": Latencies({2048: 1}, 1000)}
