"""The model against queueing results that are known, and against a reference that is too simple to be wrong."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zramfs.accel.profile import load_profile, profile_names
from zramfs.accel.timeline import NEVER, Timeline, completion_times
from zramfs.accel.timing import Timing

SECOND = 1_000_000_000

timings = st.builds(
    Timing,
    submit_ns=st.integers(0, 50),
    job_ns=st.integers(0, 50),
    page_ns=st.integers(0, 50),
    engines=st.integers(1, 4),
    batch_max_pages=st.integers(1, 4),
    coalesce_runs=st.integers(1, 4),
    coalesce_ns=st.integers(0, 200),
    interrupt_ns=st.integers(0, 50),
)
submissions = st.lists(st.tuples(st.integers(0, 1000), st.integers(1, 9)), max_size=20).map(sorted)


def reference(runs: list[tuple[int, int]], timing: Timing) -> list[int]:
    """The model as its definition: each job to the engine that is free first, then interrupts over what is done."""
    free = [0] * timing.engines
    done = []
    for now, pages in runs:
        ends = []
        for begin in range(0, pages, timing.batch_max_pages):
            job_pages = min(timing.batch_max_pages, pages - begin)
            engine = free.index(min(free))
            free[engine] = max(free[engine], now + timing.submit_ns) + timing.job_ns + job_pages * timing.page_ns
            ends.append(free[engine])
        done.append(max(ends))
    told: dict[int, int] = {}
    while len(told) < len(done):
        left = sorted(end for run, end in enumerate(done) if run not in told)
        fires = [left[0] + timing.coalesce_ns, *left[timing.coalesce_runs - 1 : timing.coalesce_runs]]
        told |= {run: min(fires) for run, end in enumerate(done) if run not in told and end <= min(fires)}
    return [told[run] + timing.interrupt_ns for run in range(len(done))]


def drain(timeline: Timeline) -> dict[int, int]:
    """Let every interrupt happen; when each run is told of."""
    told = {}
    while (at := timeline.next_interrupt_ns()) != NEVER:
        told.update(dict.fromkeys(timeline.take_interrupt(), at))
    return told


# ---- known results ------------------------------------------------------------------------------------------------


def test_model_of_a_device_without_costs_is_done_at_once() -> None:
    assert completion_times([(5, 1), (5, 256), (7, 3)], Timing()) == [5, 5, 7]


def test_model_adds_up_the_costs_of_a_single_run() -> None:
    timing = Timing(submit_ns=1, job_ns=20, page_ns=300, batch_max_pages=4, interrupt_ns=4000)
    assert completion_times([(50_000, 10)], timing) == [50_000 + 1 + 3 * 20 + 10 * 300 + 4000]


def test_model_of_one_engine_and_fixed_service_is_a_queue() -> None:
    """D/D/1: arrivals faster than the service wait for all that came before; slower ones never wait."""
    timing = Timing(page_ns=100)
    assert completion_times([(60 * i, 1) for i in range(5)], timing) == [100, 200, 300, 400, 500]
    assert completion_times([(150 * i, 1) for i in range(5)], timing) == [150 * i + 100 for i in range(5)]


@pytest.mark.parametrize("engines", [1, 2, 3, 8])
@pytest.mark.parametrize("batch", [1, 8])
def test_model_saturates_at_engines_divided_by_the_time_of_a_page(engines: int, batch: int) -> None:
    timing = Timing(page_ns=4300, engines=engines, batch_max_pages=batch)
    rounds = 50
    told = completion_times([(0, engines * batch)] * rounds, timing)
    assert max(told) * engines == rounds * engines * batch * 4300


def test_model_of_coalescing_adds_its_time_at_most_and_exactly_to_a_lone_run() -> None:
    timing = Timing(page_ns=100, coalesce_runs=4, coalesce_ns=1000)
    assert completion_times([(0, 1)], timing) == [1100]
    assert completion_times([(0, 1)] * 4, timing) == [400] * 4
    assert completion_times([(0, 1)] * 5, timing) == [400] * 4 + [1500]


@given(submissions, timings)
def test_model_of_coalescing_is_never_later_than_its_time(runs: list[tuple[int, int]], timing: Timing) -> None:
    at_once = Timing(
        submit_ns=timing.submit_ns,
        job_ns=timing.job_ns,
        page_ns=timing.page_ns,
        engines=timing.engines,
        batch_max_pages=timing.batch_max_pages,
        interrupt_ns=timing.interrupt_ns,
    )
    for late, early in zip(completion_times(runs, timing), completion_times(runs, at_once), strict=True):
        assert early <= late <= early + timing.coalesce_ns


@given(submissions, timings)
def test_model_is_its_reference(runs: list[tuple[int, int]], timing: Timing) -> None:
    assert completion_times(runs, timing) == reference(runs, timing)


@given(submissions, timings)
def test_timeline_that_is_polled_on_the_way_tells_the_same(runs: list[tuple[int, int]], timing: Timing) -> None:
    timeline = Timeline(timing, len(runs))
    told: dict[int, int] = {}
    for run, (now, pages) in enumerate(runs):
        while (at := timeline.next_interrupt_ns()) <= now:
            told.update(dict.fromkeys(timeline.take_interrupt(), at))
        timeline.submit(now, run, pages)
    told |= drain(timeline)
    assert [told[run] for run in range(len(runs))] == reference(runs, timing)


@given(submissions, timings, st.integers(1, 9))
def test_prediction_is_an_upper_bound_and_exact_with_one_engine(
    runs: list[tuple[int, int]], timing: Timing, pages: int
) -> None:
    timeline = Timeline(timing, len(runs))
    for run, (now, size) in enumerate(runs):
        timeline.submit(now, run, size)
    predicted = timeline.predict(1000, pages)
    ready = timeline.occupy(1000, pages)
    assert ready == predicted if timing.engines == 1 else ready <= predicted


@pytest.mark.parametrize("name", profile_names())
def test_model_of_every_profile_keeps_up_with_its_published_rate(name: str) -> None:
    timing = load_profile(name).timing
    told = completion_times([(0, 8)] * 1000, timing)
    assert told == sorted(told)
    busy_ns = 8000 * timing.page_ns / timing.engines
    assert max(told) >= busy_ns
    assert bool(max(told)) is timing.takes_time


# ---- the timeline as the device uses it ---------------------------------------------------------------------------


def test_timeline_gives_back_run_numbers_in_the_order_of_their_ends() -> None:
    timeline = Timeline(Timing(page_ns=10, engines=2), 3)
    timeline.submit(0, 7, 5)  # its pages keep both engines busy
    timeline.submit(0, 3, 1)
    assert drain(timeline) == {7: 30, 3: 30}
    assert len(timeline) == 0


def test_timeline_takes_no_more_runs_than_it_has_room_for_and_stays_as_it_was() -> None:
    timeline = Timeline(Timing(page_ns=10), 1)
    timeline.submit(0, 0, 1)
    with pytest.raises(ValueError, match="more than 1 runs"):
        timeline.submit(0, 1, 1)
    assert timeline.occupy(0, 1) == 20  # the engine did nothing for the run that was refused
    assert drain(timeline) == {0: 10}


def test_timeline_without_runs_has_no_interrupt() -> None:
    timeline = Timeline(Timing(page_ns=10), 1)
    assert timeline.next_interrupt_ns() == NEVER
    assert timeline.take_interrupt() == []


def test_run_that_is_occupied_only_keeps_engines_busy_and_is_never_told_of() -> None:
    timeline = Timeline(Timing(page_ns=10), 1)
    assert timeline.occupy(0, 3) == 30
    assert timeline.next_interrupt_ns() == NEVER
    assert timeline.submit(0, 0, 1) == 40


def test_run_that_is_forgotten_is_not_told_of_and_its_engine_stays_busy() -> None:
    timeline = Timeline(Timing(page_ns=10), 3)
    for run in range(3):
        timeline.submit(0, run, 1)
    timeline.forget(1)
    timeline.forget(99)
    assert drain(timeline) == {0: 10, 2: 30}
    timeline.submit(0, 0, 1)
    assert drain(timeline) == {0: 40}


def test_stall_delays_what_is_not_done_and_what_comes_while_it_lasts() -> None:
    timeline = Timeline(Timing(page_ns=10, interrupt_ns=3), 4)
    timeline.submit(0, 0, 1)
    timeline.submit(0, 1, 1)
    timeline.stall(15, 1000)
    timeline.submit(500, 2, 1)
    timeline.submit(2000, 3, 1)
    assert drain(timeline) == {0: 13, 1: 1023, 2: 1033, 3: 2013}


def test_stall_of_an_idle_device_delays_what_comes_while_it_lasts() -> None:
    timeline = Timeline(Timing(page_ns=10, engines=2), 2)
    timeline.stall(100, 50)
    timeline.submit(100, 0, 1)
    timeline.submit(160, 1, 1)
    assert drain(timeline) == {0: 160, 1: 170}


def test_stalls_add_up() -> None:
    timeline = Timeline(Timing(page_ns=10), 1)
    timeline.stall(0, 100)
    timeline.stall(50, 100)
    timeline.submit(60, 0, 1)
    assert drain(timeline) == {0: 210}


def test_device_that_restarts_is_idle_and_stalls_no_more() -> None:
    timeline = Timeline(Timing(page_ns=SECOND, engines=2), 2)
    timeline.submit(0, 0, 9)
    timeline.stall(0, SECOND)
    timeline.restart()
    assert (len(timeline), timeline.next_interrupt_ns()) == (0, NEVER)
    timeline.submit(10, 1, 1)
    assert drain(timeline) == {1: 10 + SECOND}


def test_timing_that_changes_holds_from_the_next_run_on() -> None:
    timeline = Timeline(Timing(page_ns=10), 3)
    timeline.submit(0, 0, 2)
    timeline.change_timing(Timing(page_ns=100))
    timeline.submit(0, 1, 2)
    timeline.change_timing(Timing())
    timeline.submit(0, 2, 1)
    assert drain(timeline) == {0: 20, 1: 220, 2: 220}


def test_engines_that_are_added_are_idle_and_engines_that_go_are_gone() -> None:
    timeline = Timeline(Timing(page_ns=10), 4)
    timeline.submit(0, 0, 5)
    timeline.change_timing(Timing(page_ns=10, engines=2))
    timeline.submit(0, 1, 1)
    assert timeline.costs["engines"] == 2
    timeline.change_timing(Timing(page_ns=10))
    timeline.submit(0, 2, 1)
    assert drain(timeline) == {1: 10, 0: 50, 2: 60}


def test_interrupt_settings_that_change_hold_at_once() -> None:
    timeline = Timeline(Timing(page_ns=10, coalesce_runs=3, coalesce_ns=SECOND), 2)
    timeline.submit(0, 0, 1)
    assert timeline.next_interrupt_ns() == 10 + SECOND
    timeline.change_timing(Timing(page_ns=10))
    assert timeline.next_interrupt_ns() == 10
