from zramfs.zcomp.statistics import StreamStatistics

BEFORE = StreamStatistics(percpu_pages=5, managed_pages=7, fallback_pages=3, percpu_pages_by_cpu={0: 5, 1: 0})


def test_since_leaves_out_what_was_counted_before() -> None:
    now = StreamStatistics(
        percpu_pages=9, managed_pages=8, fallback_pages=3, inflight=4, inflight_max=6, percpu_pages_by_cpu={0: 5, 1: 4}
    )
    assert now.since(BEFORE) == StreamStatistics(
        percpu_pages=4, managed_pages=1, inflight=4, inflight_max=6, percpu_pages_by_cpu={0: 0, 1: 4}
    )


def test_no_count_is_below_zero() -> None:
    """A snapshot may have counted a run of a stream as its own that counts as a fallback a moment later."""
    now = StreamStatistics(percpu_pages=4, managed_pages=7, fallback_pages=4, percpu_pages_by_cpu={0: 4, 1: 0})
    assert now.since(BEFORE).percpu_pages == 0
