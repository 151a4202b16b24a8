"""What the kinds of stream do to each other's latencies, in cases that can be worked out by hand."""

import pytest
from scenarios import ClosedLoad, Operation, Streams, device, machine, scenario

from zramfs.contracts import StreamPolicy
from zramfs.simulate import run
from zramfs.simulate.result import Result
from zramfs.simulate.scenario import ManagedKind, PercpuKind, Scheduler, Spread

WRITER = ClosedLoad(name="writer", is_async=True)
READER = ClosedLoad(name="reader", operation=Operation.READ, think_us=1037.0)
PREEMPTIVE = Scheduler(quantum_us=0, wakeup_preempts=True)


def reads_beside_writes(percpu: PercpuKind) -> Result:
    """A page takes 200 µs to write, and 5 to read; the reader preempts whom it may."""
    slow = machine(1, 200.0, 5.0)
    return run(scenario(WRITER, READER, machine=slow, scheduler=PREEMPTIVE, streams=Streams(percpu=percpu)))


def test_a_reader_waits_for_the_mutex_of_the_writer_that_it_preempted() -> None:
    result = reads_beside_writes(PercpuKind.MUTEX)
    assert result.lock_waits.count > 0.9 * result.latencies["reads"].requests
    assert result.latencies["reads"].percentiles_us[99.0] > 100


def test_a_stream_for_reads_of_their_own_spares_them_that() -> None:
    result = reads_beside_writes(PercpuKind.SPLIT)
    assert result.lock_waits.count == 0
    assert result.latencies["reads"].max_us == pytest.approx(5.0)


def test_a_stream_that_keeps_its_cpu_lets_the_reader_wait_without_a_lock() -> None:
    result = reads_beside_writes(PercpuKind.NONPREEMPTIBLE)
    assert result.lock_waits.count == 0
    assert 5 < result.latencies["reads"].max_us <= 205.1


def test_the_quantum_lets_tasks_of_a_cpu_take_turns() -> None:
    long = ClosedLoad(name="long", size_bytes=100 * 4096, think_us=100.0)
    short = ClosedLoad(name="short", operation=Operation.READ, think_us=500.0)
    streams = Streams(percpu=PercpuKind.SPLIT)

    def slowest_read(quantum_us: float) -> float:
        scheduler = Scheduler(quantum_us=quantum_us)
        return run(scenario(long, short, streams=streams, scheduler=scheduler)).latencies["reads"].max_us

    assert slowest_read(20.0) < 30.0
    assert slowest_read(0.0) > 900.0


def test_blocking_writers_keep_one_page_each_in_the_queue_and_others_their_depth() -> None:
    load = ClosedLoad(name="load", tasks=3, depth=8, is_async=True)
    taker = device("qpace,polled_run_pages=0,coalesce_runs=1,engines=1")

    def deepest(managed: ManagedKind) -> int:
        streams = Streams(managed=managed)
        result = run(scenario(load, machine=machine(3), devices=(taker,), streams=streams, duration_us=1e5))
        return max(result.devices[0].depth.maxima)

    assert deepest(ManagedKind.BLOCKING) == 3
    assert deepest(ManagedKind.NONBLOCKING) == 24


def test_who_finds_the_queue_full_falls_back_or_waits_as_the_profile_says() -> None:
    load = ClosedLoad(name="load", tasks=8, is_async=True)

    def pages(when_full: str) -> tuple[int, int]:
        taker = device(f"qpace,queue_depth=2,page_ns=50000,when_full={when_full}")
        counts = run(scenario(load, machine=machine(8), devices=(taker,), duration_us=1e5)).pages
        return counts.managed, counts.fallback

    assert pages("wait")[1] == 0
    assert pages("fallback")[1] > 1000


def test_synchronous_writes_stay_on_percpu_streams_unless_all_are_managed() -> None:
    load = ClosedLoad(name="load")

    def managed(policy: StreamPolicy) -> int:
        streams = Streams(policy=policy)
        return run(scenario(load, devices=(device("iaa"),), streams=streams, duration_us=1e4)).pages.managed

    assert managed(StreamPolicy.AUTO) == managed(StreamPolicy.PERCPU) == 0
    assert managed(StreamPolicy.MANAGED) > 100


def test_who_polls_keeps_the_cpu() -> None:
    taker = device("qpace,polled_run_pages=1,fault_timeout=0")
    result = run(scenario(WRITER, devices=(taker,), duration_us=1e4))
    assert result.pages.polled == result.pages.managed > 0
    assert result.cpu_share == pytest.approx(1.0, abs=0.01)
    assert result.devices[0].interrupts == 0


def test_pages_of_a_device_that_fails_are_done_again_in_software() -> None:
    taker = device("qpace,fault_bus_error=1/4,polled_run_pages=0")
    result = run(scenario(WRITER, devices=(taker,), duration_us=1e5))
    assert result.pages.redone == pytest.approx(result.pages.managed / 4, abs=1)
    assert result.cpu_seconds["redo"] == pytest.approx(result.pages.redone * 10e-6, abs=20e-6)


def test_a_device_that_is_away_gets_nothing_and_loses_what_it_had() -> None:
    taker = device("qpace,polled_run_pages=0", offline_us=((20_000.0, 70_000.0),))
    result = run(scenario(WRITER, devices=(taker,), duration_us=1e5))
    assert result.devices[0].lost_runs == 1
    assert result.pages.fallback == pytest.approx(50_000 / 10, abs=5)


def test_a_run_that_never_ends_is_given_up_after_the_timeout() -> None:
    taker = device("qpace,polled_run_pages=0,fault_timeout=1/100,timeout_us=5000")
    result = run(scenario(WRITER, devices=(taker,), duration_us=1e6))
    assert result.pages.redone == pytest.approx(result.pages.managed / 100, abs=2)
    assert result.latencies["async_writes"].max_us == pytest.approx(5010, rel=0.02)


def test_a_device_decompresses_where_it_can() -> None:
    reader = ClosedLoad(name="reader", operation=Operation.READ)
    taker = device("qpace", decompress_page_us=1.0)
    result = run(scenario(reader, devices=(taker,), streams=Streams(device_reads=True), duration_us=1e4))
    assert result.pages.read_software == 0
    assert result.pages.read_device > 100


@pytest.mark.parametrize("spread", Spread)
def test_devices_that_are_alike_get_alike(spread: Spread) -> None:
    load = ClosedLoad(name="load", tasks=16, depth=4, is_async=True)
    devices = tuple(device("iaa", name=f"iaa{number}") for number in range(4))
    streams = Streams(managed=ManagedKind.NONBLOCKING, spread=spread)
    result = run(scenario(load, machine=machine(16), devices=devices, streams=streams, duration_us=1e5))
    shares = [each.pages / result.pages.managed for each in result.devices]
    assert all(share == pytest.approx(0.25, abs=0.01) for share in shares)


def test_the_least_full_device_is_not_the_slow_one() -> None:
    load = ClosedLoad(name="load", tasks=8, depth=4, is_async=True)
    devices = (device("iaa", name="fast"), device("iaa,page_ns=100000", name="slow"))

    def refused(spread: Spread) -> int:
        streams = Streams(managed=ManagedKind.NONBLOCKING, spread=spread)
        counts = run(scenario(load, machine=machine(8), devices=devices, streams=streams, duration_us=1e5))
        return counts.devices[0].pages

    assert refused(Spread.LEAST_FULL) > 1.5 * refused(Spread.ROUND_ROBIN)
