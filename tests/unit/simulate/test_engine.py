"""What becomes of requests: none is lost, each page is one stream's, and the same seed gives the same result."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scenarios import ClosedLoad, OpenLoad, Operation, Streams, device, machine, scenario

from zramfs.accel.timeline import completion_times
from zramfs.contracts import StreamPolicy
from zramfs.errors import InvalidValue
from zramfs.simulate import run
from zramfs.simulate.load_kinds import Distribution, ReclaimLoad
from zramfs.simulate.result import Result
from zramfs.simulate.scenario import Daemon, Device, ManagedKind, PercpuKind, Rule, Scenario, Scheduler, Spread

FLOOD = ClosedLoad(name="flood", tasks=6, depth=4, size_bytes=16 * 4096, is_async=True)
FAULTS = ClosedLoad(name="faults", tasks=4, operation=Operation.READ, think_us=50.0)
SYNC = OpenLoad(name="sync", rate_per_s=20_000, tasks=3, burst=4)
IAA = "iaa,queue_depth=16"


def measurements(result: Result) -> Result:
    return replace(result, wall_s=0.0)


scenarios = st.builds(
    lambda streams, devices, scheduler, service, seed, daemon: scenario(
        FLOOD,
        FAULTS,
        SYNC,
        ReclaimLoad(name="reclaim", reclaimers=2, faulters=2, pause_us=20.0),
        machine=machine(
            3,
            7.0,
            request_us=0.3,
            page_us=0.4,
            wake_us=1.0,
            completion_us=0.5,
            halt_us=2.0,
            receive_us=0.7,
            pin_us=0.2,
            cold_us=3.0,
            fetch_us=0.1,
            ipi_us=0.9,
            timer_us=0.6,
            loop_us=4.0 * (seed % 2),
        ),
        streams=replace(streams, managed=ManagedKind.NONBLOCKING) if daemon else streams,
        devices=tuple(replace(each, is_emulated=each.is_emulated and daemon is not None) for each in devices),
        daemon=daemon,
        scheduler=scheduler,
        service=service,
        seed=seed,
        duration_us=10_000.0,
    ),
    streams=st.builds(
        Streams,
        policy=st.sampled_from(StreamPolicy),
        percpu=st.sampled_from(PercpuKind),
        managed=st.sampled_from(ManagedKind),
        spread=st.sampled_from(Spread),
        percpu_run_pages=st.sampled_from([1, 5, 32]),
        fallback_run_pages=st.sampled_from([1, 8]),
        run_pages=st.sampled_from([1, 3, 64]),
        device_reads=st.booleans(),
    ),
    devices=st.lists(
        st.builds(
            device,
            st.sampled_from(
                [
                    "ideal",
                    IAA,
                    f"{IAA},when_full=wait",
                    f"{IAA},when_full=wait,fault_timeout=1/50,timeout_us=1000,fault_stall=1/90,stall_us=700",
                    "qpace,fault_bus_error=0.05,fault_corrupt=0.05",
                    "iaa,polled_run_pages=8,fault_bus_error=1/10",
                    "poc,when_full=wait,queue_depth=1",
                ]
            ),
            offline_us=st.sampled_from([(), ((1000.0, 3000.0), (5000.0, 5001.0)), ((0.0, 20_000.0),)]),
            decompress_page_us=st.sampled_from([-1.0, 2.0]),
            is_emulated=st.booleans(),
        ),
        max_size=3,
    ).map(tuple),
    scheduler=st.builds(
        Scheduler,
        quantum_us=st.sampled_from([0.0, 10.0, 3000.0]),
        wakeup_preempts=st.booleans(),
        migrates=st.booleans(),
    )
    | st.just(Scheduler(rule=Rule.EEVDF)),
    daemon=st.sampled_from([None, Daemon(), Daemon(crew=2, one_go_us=20.0, poll_us=0.0)]),
    service=st.sampled_from(Distribution),
    seed=st.integers(0, 2**63 - 1),
)


@settings(derandomize=True, max_examples=150, database=None)
@given(scenarios)
def test_every_request_ends_and_every_page_is_counted_once(given_scenario: Scenario) -> None:
    result = run(given_scenario)
    assert all(load.submitted == load.ended + load.dropped for load in result.loads)
    pages = result.pages
    if not given_scenario.devices or given_scenario.streams.policy is StreamPolicy.PERCPU:
        assert pages.managed == pages.fallback == 0
    assert pages.polled <= pages.managed
    assert pages.redone <= pages.managed + pages.read_device
    assert sum(result.cpu_seconds.values()) <= 3 * result.measured_s * 1.0001
    assert all(max(each.depth.maxima, default=0) <= device.profile.queue_depth for each, device in used(result))


def used(result: Result) -> list[tuple[object, Device]]:
    return list(zip(result.devices, result.scenario.devices, strict=True))


@settings(derandomize=True, max_examples=30, database=None)
@given(scenarios)
def test_the_same_scenario_gives_the_same_result(given_scenario: Scenario) -> None:
    assert measurements(run(given_scenario)) == measurements(run(given_scenario))


def test_another_seed_gives_another_result() -> None:
    results = [run(scenario(SYNC, seed=seed)) for seed in (1, 2)]
    assert results[0].latencies != results[1].latencies


def test_what_is_measured_begins_after_the_warmup() -> None:
    load = ClosedLoad(name="closed")
    result = run(scenario(load, machine=machine(1, 10.0), duration_us=1000.0, warmup_us=500.0))
    assert result.pages.percpu == 50
    assert result.loads[0].ended == 100
    assert result.cpu_seconds["compress"] == pytest.approx(500e-6)


def test_what_a_caller_does_before_a_request_delays_it_and_is_no_part_of_it() -> None:
    load = ClosedLoad(name="closed", make_us=30.0)
    result = run(scenario(load, machine=machine(1, 10.0), duration_us=1001.0))
    assert result.pages.percpu == 25
    assert result.latencies["sync_writes"].max_us == pytest.approx(10.0)
    assert result.cpu_seconds["make"] == pytest.approx(751e-6)
    assert result.cpu_seconds_per_gib == pytest.approx(10e-6 * (1 << 18))


def test_memory_does_not_grow_with_simulated_time() -> None:
    short, long = (run(scenario(SYNC, devices=(device(IAA),), duration_us=us)) for us in (1e5, 3e6))
    assert len(long.devices[0].depth.means) <= 512
    assert len(long.latencies["sync_writes"].bins) < 7424
    assert long.loads[0].ended > 20 * short.loads[0].ended


def test_arrivals_that_nobody_can_serve_are_dropped_and_counted() -> None:
    load = OpenLoad(name="open", rate_per_s=2e6)
    result = run(scenario(load, machine=machine(1, 10.0), duration_us=1e5))
    assert result.loads[0].dropped > 100_000
    assert result.loads[0].submitted == result.loads[0].ended + result.loads[0].dropped


def test_a_load_that_takes_no_time_is_refused() -> None:
    load = ClosedLoad(name="closed", is_async=True)
    streams = Streams(managed=ManagedKind.NONBLOCKING)
    with pytest.raises(InvalidValue, match="time stands still"):
        run(scenario(load, devices=(device("ideal"),), streams=streams))


def test_an_interrupted_run_is_partial_and_has_what_there_is() -> None:
    def interrupt(share: float) -> None:
        if share > 0.3:
            raise KeyboardInterrupt

    result = run(scenario(FLOOD, duration_us=1e8), on_progress=interrupt)
    assert result.is_partial
    assert 30 < result.measured_s < 50
    assert result.written_pages_per_s == pytest.approx(1e5, rel=0.01)


def test_a_blocking_writer_gets_the_time_of_the_emulators_timeline() -> None:
    taker = device("qpace,polled_run_pages=0")
    load = ClosedLoad(name="closed", is_async=True)
    result = run(scenario(load, devices=(taker,), duration_us=1e5))
    (told_ns,) = completion_times([(0, 1)], taker.profile.timing)
    assert result.latencies["async_writes"].mean_us == pytest.approx(told_ns / 1000, rel=1e-6)


@pytest.mark.parametrize("is_async", [False, True])
@pytest.mark.parametrize("daemon", [None, Daemon(crew=0)])
def test_pages_of_a_request_but_the_first_are_pinned(*, is_async: bool, daemon: Daemon | None) -> None:
    # By whom does not matter: nobody does anything else meanwhile.
    load = ClosedLoad(name="closed", size_bytes=8 << 12, is_async=is_async)
    streams = Streams(policy=StreamPolicy.PERCPU, managed=ManagedKind.NONBLOCKING)
    result = run(scenario(load, machine=machine(1, 10.0, pin_us=2.0), daemon=daemon, streams=streams))
    kind = "async_writes" if is_async else "sync_writes"
    assert result.latencies[kind].mean_us == pytest.approx(8 * 10.0 + 7 * 2.0, rel=1e-3)


def test_a_batch_is_thought_about_once_and_ends_as_a_whole() -> None:
    load = ClosedLoad(name="closed", depth=8, in_batches=True, think_us=100.0, think=Distribution.FIXED)
    result = run(scenario(load, machine=machine(1, 10.0), duration_us=18_001.0))
    assert result.pages.percpu == 100 * 8


@pytest.mark.parametrize(
    "first",
    [
        ClosedLoad(name="first", tasks=3, depth=2, requests=100),
        ClosedLoad(name="first", depth=8, in_batches=True, requests=100),
        OpenLoad(name="first", rate_per_s=1e5, burst=7, requests=100),
    ],
)
def test_a_load_begins_when_the_one_before_has_ended(first: ClosedLoad | OpenLoad) -> None:
    second = OpenLoad(name="second", rate_per_s=1e6, requests=5, operation=Operation.READ, after="first")
    result = run(scenario(first, second, duration_us=1e5))
    assert [load.ended for load in result.loads] == [100, 5]
    assert result.lock_waits.count == 0
    never = OpenLoad(name="second", rate_per_s=1e6, operation=Operation.READ, after="first")
    assert run(scenario(first, never, duration_us=500.0)).loads[1].submitted == 0


@pytest.mark.parametrize("is_served", [False, True])
def test_a_page_of_a_device_is_fetched_and_one_of_the_software_is_not(*, is_served: bool) -> None:
    """Page time of the CPUs for each page that is stored: 2 us, and 3 more where a device has compressed it."""
    flood = ClosedLoad(name="flood", size_bytes=64 * 4096, is_async=True)
    for policy, page_us in ((StreamPolicy.PERCPU, 2.0), (StreamPolicy.MANAGED, 5.0)):
        result = run(
            scenario(
                flood,
                machine=machine(2, 10.0, page_us=2.0, fetch_us=3.0),
                devices=(device("mtk_hwz"),),
                streams=Streams(policy=policy, managed=ManagedKind.NONBLOCKING, run_pages=64),
                daemon=Daemon() if is_served else None,
            )
        )
        stored = result.pages.percpu + result.pages.managed + result.pages.fallback
        assert result.pages.fallback == 0
        assert 1e6 * result.cpu_seconds["page"] / stored == pytest.approx(page_us, rel=0.02)
