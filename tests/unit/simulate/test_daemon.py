"""Requests that are handed over to a daemon: what they wait for, and who does their work."""

from pathlib import Path
from typing import Any

import pytest
from scenarios import ClosedLoad, Operation, Streams, device, machine, scenario

from zramfs.contracts import StreamPolicy
from zramfs.errors import InvalidValue
from zramfs.simulate import load_scenario, run
from zramfs.simulate.load_kinds import Distribution, Load
from zramfs.simulate.result import Result
from zramfs.simulate.scenario import Daemon, ManagedKind, Scheduler

COSTS = {"request_us": 3.0, "receive_us": 5.0, "copy_us": 0.5, "page_us": 1.0, "wake_us": 4.0}
SYNC = ClosedLoad(name="sync")
FLOOD = ClosedLoad(name="flood", depth=8, size_bytes=1 << 20, is_async=True)


def simulated(
    *loads: Load,
    cpus: int = 2,
    crew: int = 0,
    halt_us: float = 0.0,
    policy: StreamPolicy = StreamPolicy.PERCPU,
    **settings: Any,
) -> Result:
    defaults: dict[str, Any] = {
        "machine": machine(cpus, 2.0, **COSTS, halt_us=halt_us),
        "streams": Streams(
            policy=policy,
            managed=ManagedKind.NONBLOCKING,
            run_pages=64,
            percpu_run_pages=32,
            fallback_run_pages=8,
        ),
        "scheduler": Scheduler(migrates=True),
        "daemon": Daemon(crew=crew),
        "duration_us": 100_000.0,
        "warmup_us": 10_000.0,
    }
    return run(scenario(*loads, **(defaults | settings)))


def test_a_request_takes_its_caller_the_receiver_and_one_wake_up() -> None:
    # The receiver spins, so nobody has to wake it up.
    result = simulated(SYNC)
    assert result.latencies["sync_writes"].mean_us == pytest.approx(3.0 + 5.0 + 0.5 + 2.0 + 1.0 + 4.0)


def test_a_receiver_that_does_not_spin_has_to_be_woken_up() -> None:
    result = simulated(SYNC, daemon=Daemon(poll_us=0.0))
    assert result.latencies["sync_writes"].mean_us == pytest.approx(15.5 + 4.0)


def test_a_caller_whose_cpu_is_halted_waits_for_that_as_well() -> None:
    result = simulated(SYNC, halt_us=7.0)
    assert result.latencies["sync_writes"].mean_us == pytest.approx(15.5 + 7.0)


def test_nothing_is_halted_where_all_share_one_cpu() -> None:
    result = simulated(SYNC, cpus=1, halt_us=7.0)
    assert result.latencies["sync_writes"].mean_us == pytest.approx(15.5)


def test_one_receiver_serves_all_callers_in_turn() -> None:
    result = simulated(ClosedLoad(name="many", tasks=16), cpus=16)
    assert result.written_pages_per_s == pytest.approx(1e6 / 8.5, rel=0.01)


def test_the_crew_takes_shares_of_large_writes_on_percpu_streams() -> None:
    # A MiB is copied by the receiver in 133 us, and 768 us of compressing and storing are everybody's.
    alone, helped = simulated(FLOOD, cpus=3), simulated(FLOOD, cpus=3, crew=1)
    assert alone.written_pages_per_s == pytest.approx(256 / 901e-6, rel=0.02)
    assert helped.written_pages_per_s == pytest.approx(256 / (901e-6 / 2), rel=0.03)


def test_the_crew_takes_shares_of_large_reads() -> None:
    reads = ClosedLoad(name="reads", depth=8, size_bytes=1 << 20, operation=Operation.READ)
    alone, helped = simulated(reads, cpus=3), simulated(reads, cpus=3, crew=1)
    assert helped.read_pages_per_s == pytest.approx(2 * alone.read_pages_per_s, rel=0.05)


def test_a_flood_on_managed_streams_is_the_receivers_alone() -> None:
    slow = device("mtk_hwz,page_ns=50000")
    alone, helped = (simulated(FLOOD, cpus=4, crew=crew, devices=(slow,), policy=StreamPolicy.AUTO) for crew in (0, 2))
    assert helped.written_pages_per_s == pytest.approx(alone.written_pages_per_s, rel=0.01)


def test_engines_that_are_threads_take_cpu_time_that_hardware_does_not() -> None:
    results = [
        simulated(FLOOD, devices=(device("mtk_hwz,page_ns=3000", is_emulated=is_emulated),), policy=StreamPolicy.AUTO)
        for is_emulated in (False, True)
    ]
    hardware, emulated = (result.cpu_seconds["emulate"] for result in results)
    assert hardware == 0
    assert emulated == pytest.approx(2e-6 * results[1].pages.managed, rel=0.02)


def test_a_synchronous_write_passes_large_ones_that_wait() -> None:
    result = simulated(FLOOD, ClosedLoad(name="sync", think_us=300.0), cpus=3)
    assert result.latencies["sync_writes"].percentiles_us[50] < 150
    assert result.latencies["async_writes"].percentiles_us[50] > 5000


def test_a_write_that_waits_for_a_descriptor_does_not_hold_the_receiver_up() -> None:
    waits = device("mtk_hwz,page_ns=50000,when_full=wait,queue_depth=16")
    result = simulated(
        FLOOD, ClosedLoad(name="sync", think_us=300.0), cpus=3, devices=(waits,), policy=StreamPolicy.AUTO
    )
    assert result.pages.fallback == 0
    assert 0.9 * 1800 < result.pages.managed <= 1800  # it idles while a wake-up is under way
    assert result.latencies["sync_writes"].percentiles_us[99] < 150


def test_pages_of_an_asynchronous_request_are_let_go_just_before_it_is_answered() -> None:
    # Its caller pins 64 pages in 64 us, and the receiver lets them go in as much. It receives the second request before
    # the first is done, which waits for that, but for no other's pages: twice 64 us. The second waits for the first to
    # be pinned and let go, while its own are pinned beside that, and for its own to be let go: three times.
    batch = ClosedLoad(
        name="batch",
        depth=2,
        in_batches=True,
        size_bytes=65 << 12,
        is_async=True,
        think_us=1000.0,
        think=Distribution.FIXED,
    )
    free_us, paid_us = (
        simulated(batch, cpus=3, machine=machine(3, 2.0, **COSTS, pin_us=pin_us)).latencies["async_writes"].mean_us
        for pin_us in (0.0, 2.0)
    )
    assert paid_us - free_us == pytest.approx((2 + 3) / 2 * 64, abs=2)


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("[daemon]\ncrew = 1\n[[devices]]\nprofile = 'qpace'", r'daemon: .*say streams.managed = "nonblocking"'),
        ("[[devices]]\nprofile = 'qpace'\nemulated = true", r"devices.emulated: .*add \[daemon\]"),
        ("[daemon]\nreceivers = 2", "daemon.receivers"),
        ("[daemon]\nslice_us = -1", r"daemon.slice_us: it must be at least 0"),
    ],
)
def test_a_daemon_that_cannot_be_is_refused(lines: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "s.toml"
    path.write_text(f"{lines}\n[machine]\ntable = 'cortex-a76'\n[[loads]]\nkind = 'closed'\n")
    with pytest.raises(InvalidValue, match=message):
        load_scenario(path)
