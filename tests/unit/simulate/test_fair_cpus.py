"""CPUs that are shared as Linux's scheduler does: who runs, for how long, and where."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest
from scenarios import ClosedLoad, Streams, device, machine, scenario

from zramfs.contracts import StreamPolicy
from zramfs.errors import InvalidValue
from zramfs.simulate import load_scenario, run
from zramfs.simulate.load_kinds import Load
from zramfs.simulate.result import Result
from zramfs.simulate.scenario import Daemon, ManagedKind, Rule, Scheduler

FAIR = Scheduler(rule=Rule.EEVDF)
COSTS = {"request_us": 3.0, "receive_us": 2.0, "copy_us": 0.5, "page_us": 0.7, "wake_us": 1.5}
FLOOD = ClosedLoad(name="flood", depth=8, size_bytes=1 << 20, is_async=True, make_us=240.0)
SYNC = ClosedLoad(name="sync", make_us=1.0)


def served(*loads: Load, scheduler: Scheduler = FAIR, **settings: Any) -> Result:
    """A daemon's answer, on two CPUs."""
    defaults: dict[str, Any] = {
        "machine": machine(2, 2.8, **COSTS),
        "streams": Streams(
            policy=StreamPolicy.PERCPU,
            managed=ManagedKind.NONBLOCKING,
            run_pages=64,
            percpu_run_pages=32,
            fallback_run_pages=8,
        ),
        "scheduler": scheduler,
        "daemon": Daemon(crew=1),
        "duration_us": 500_000.0,
        "warmup_us": 100_000.0,
    }
    return run(scenario(*loads, **(defaults | settings)))


def busy(tasks: int, cpus: int, **load: Any) -> Result:
    """Callers that do their own work, 10 us a page, and never think."""
    return run(
        scenario(
            ClosedLoad(name="busy", tasks=tasks, **load),
            machine=machine(cpus, 10.0),
            scheduler=FAIR,
            duration_us=400_000.0,
        )
    )


@pytest.mark.parametrize(("tasks", "cpus"), [(1, 1), (2, 1), (5, 2), (64, 4)])
def test_no_cpu_is_idle_while_tasks_wait(tasks: int, cpus: int) -> None:
    assert busy(tasks, cpus).written_pages_per_s == pytest.approx(cpus * 1e5, rel=0.02)


def test_tasks_that_cpus_cannot_share_alike_change_places() -> None:
    # Three on two CPUs: whoever was alone would have half of all.
    result = run(
        scenario(
            *(ClosedLoad(name=name) for name in ("one", "other", "third")),
            machine=machine(2, 10.0),
            scheduler=FAIR,
            duration_us=4_000_000.0,
        )
    )
    shares = [load.ended / sum(each.ended for each in result.loads) for load in result.loads]
    assert max(shares) < 0.4


def test_tasks_of_a_cpu_have_equal_shares_of_it() -> None:
    result = run(
        scenario(
            *(ClosedLoad(name=name, size_bytes=size) for name, size in (("small", 4096), ("large", 64 * 4096))),
            machine=machine(1, 10.0),
            scheduler=FAIR,
            duration_us=400_000.0,
        )
    )
    small, large = (load.ended for load in result.loads)
    assert small == pytest.approx(64 * large, rel=0.05)


def test_pieces_of_work_vary_by_the_jitter_and_take_as_long_on_the_average() -> None:
    fixed, varied = (
        run(
            scenario(
                ClosedLoad(name="one", size_bytes=4096),
                machine=machine(1, 10.0),
                scheduler=FAIR,
                jitter_percent=jitter_percent,
                duration_us=400_000.0,
            )
        )
        for jitter_percent in (0.0, 20.0)
    )
    latency = varied.latencies["sync_writes"]
    assert varied.written_pages_per_s == pytest.approx(fixed.written_pages_per_s, rel=0.01)
    assert latency.percentiles_us[50] == pytest.approx(10.0, rel=0.02)
    assert latency.percentiles_us[99] == pytest.approx(12.0, rel=0.02)
    assert latency.max_us <= 12.01


def test_a_slice_ends_at_a_tick() -> None:
    # Of two tasks that never sleep, each runs until a tick (4 ms), or where both have had the same the next one.
    result = busy(2, 1, size_bytes=4096)
    latency = result.latencies["sync_writes"]
    assert latency.percentiles_us[50] == pytest.approx(10.0, rel=0.02)
    assert 3980 < latency.max_us < 8020


def test_a_caller_takes_the_receivers_cpu_and_asks_again_before_it_does_anything_else() -> None:
    # 1.5 us to wake up, 3 to ask, 2 + 0.5 + 2.8 + 0.7 to be served.
    result = served(FLOOD, SYNC)
    assert result.latencies["sync_writes"].percentiles_us[50] == pytest.approx(10.5, abs=1.0)
    assert result.latencies["async_writes"].percentiles_us[50] > 5000


@pytest.mark.parametrize(("autogroup", "share"), [(True, 2 / 3), (False, 2 / 4)])
def test_a_daemon_and_each_caller_are_sessions_that_share_a_cpu(*, autogroup: bool, share: float) -> None:
    # Receiver and crew have more to do than their part, the flood's caller less: the makers have two parts of three, or
    # of four where each of these is a task like all others.
    makers = ClosedLoad(name="makers", tasks=2, make_us=50_000.0)
    scheduler = Scheduler(rule=Rule.EEVDF, autogroup=autogroup)
    flood = dataclasses.replace(FLOOD, make_us=0.0)
    result = served(flood, makers, machine=machine(1, 2.8, **COSTS), scheduler=scheduler, duration_us=4_000_000.0)
    assert result.cpu_seconds["make"] / result.measured_s == pytest.approx(share, abs=0.05)


def test_more_callers_than_there_are_sessions_for_share_cpus_alike() -> None:
    loads = [ClosedLoad(name=f"load{number}", size_bytes=64 * 4096) for number in range(130)]
    result = run(scenario(*loads, machine=machine(2, 10.0), scheduler=FAIR, duration_us=60_000_000.0))
    ended = [load.ended for load in result.loads]
    assert sum(ended) == pytest.approx(2 * 60e6 / 640, rel=0.01)
    assert min(ended) > 0.5 * max(ended)


@pytest.mark.parametrize(("tasks", "least", "most"), [(1, 0.998, 1.001), (2, 0.6, 0.96)])
def test_a_task_takes_longer_to_go_on_after_others_have_had_its_cpu(tasks: int, least: float, most: float) -> None:
    # One of two has the CPU until a tick, and then both in turn for a request.
    warm, cold = (
        run(
            scenario(
                ClosedLoad(name="busy", tasks=tasks, size_bytes=4096),
                machine=machine(1, 10.0, cold_us=cold_us),
                scheduler=FAIR,
                duration_us=400_000.0,
            )
        ).written_pages_per_s
        for cold_us in (0.0, 400.0)
    )
    assert least < cold / warm < most


def test_the_event_loop_is_woken_by_interrupts_and_takes_its_time() -> None:
    engine = device("mtk_hwz,page_ns=15000", is_emulated=True)
    wakes_s = [
        served(
            FLOOD,
            machine=machine(2, 2.8, **COSTS, loop_us=loop_us),
            devices=(engine,),
            streams=Streams(policy=StreamPolicy.AUTO, managed=ManagedKind.NONBLOCKING, run_pages=64),
        ).cpu_seconds["wake"]
        for loop_us in (0.0, 30.0)
    ]
    assert wakes_s[1] - wakes_s[0] > 0.4 * 500 * 30e-6  # seconds, turns a second at the least, and a turn's


@pytest.mark.parametrize("timer_us", [0.0, 7.0])
def test_a_timer_wakes_the_event_loop_25_us_late_as_the_receiver_sleeps(timer_us: float) -> None:
    # A run of 64 pages takes the device 960 us: too long for the receiver to look for its end. The loop sets the timer
    # anew before anything else.
    load = ClosedLoad(name="one", size_bytes=64 * 4096, is_async=True)
    by_receiver, by_loop = (
        served(
            load,
            machine=machine(2, 2.8, **COSTS, loop_us=loop_us, timer_us=timer_us),
            devices=(device("mtk_hwz,page_ns=15000"),),
            streams=Streams(policy=StreamPolicy.MANAGED, managed=ManagedKind.NONBLOCKING, run_pages=64),
        )
        .latencies["async_writes"]
        .mean_us
        for loop_us in (0.0, 30.0)
    )
    assert by_loop - by_receiver == pytest.approx(25 + 30 + timer_us, abs=2)


def test_a_receiver_that_wakes_callers_elsewhere_pays_for_it() -> None:
    # The receiver has one CPU, two callers the other: each answer wakes a task on another CPU.
    callers = ClosedLoad(name="callers", tasks=2, size_bytes=4096, make_us=1.0)
    free, paid = (served(callers, machine=machine(2, 10.0, **COSTS, ipi_us=ipi_us)) for ipi_us in (0.0, 10.0))
    assert 0.5 < paid.written_pages_per_s / free.written_pages_per_s < 0.9


def test_sharing_is_the_same_each_time() -> None:
    one, other = served(FLOOD, SYNC), served(FLOOD, SYNC)
    assert one.latencies == other.latencies


def test_a_load_that_is_bound_to_a_group_of_cpus_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "s.toml"
    path.write_text(
        "[scheduler]\nrule = 'eevdf'\n[[machine.groups]]\nlike = 'cortex-a76'\nname = 'big'\ncount = 4\n"
        "[[loads]]\nkind = 'closed'\ngroup = 'big'\n"
    )
    with pytest.raises(InvalidValue, match=r"loads\.group: "):
        load_scenario(path)


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("rule = 'eevdf'\nquantum_us = 3", 'scheduler.quantum_us: it is a setting of rule = "first_come"'),
        ("slice_us = 3", 'scheduler.slice_us: it is a setting of rule = "eevdf", and this is first_come'),
        ("rule = 'cfs'", "scheduler.rule: "),
        ("rule = 'eevdf'\nslice_us = -1", "scheduler.slice_us: it must be at least 0"),
    ],
)
def test_settings_of_another_rule_are_refused(lines: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "s.toml"
    path.write_text(f"[scheduler]\n{lines}\n[machine]\ntable = 'cortex-a76'\n[[loads]]\nkind = 'closed'\n")
    with pytest.raises(InvalidValue, match=message):
        load_scenario(path)


def test_a_writer_beside_a_flood_has_two_lasting_states() -> None:
    """On the receiver's CPU it preempts that; on the other it waits. Busy CPUs are not searched for an idle one."""
    medians_us = [
        served(
            ClosedLoad(name="flood", depth=8, size_bytes=1 << 20, is_async=True, make_us=330.0),
            ClosedLoad(name="sync", make_us=2.0),
            machine=machine(2, 3.6, 1.5, **COSTS | {"page_us": 1.0, "receive_us": 3.0}, loop_us=25.0),
            devices=(device("mtk_hwz,page_ns=15000", is_emulated=True),),
            streams=Streams(managed=ManagedKind.NONBLOCKING, run_pages=64, percpu_run_pages=32, fallback_run_pages=8),
            seed=seed,
        )
        .latencies["sync_writes"]
        .percentiles_us[50]
        for seed in range(1, 25)
    ]
    fast, slow = [us for us in medians_us if us < 25], [us for us in medians_us if us > 50]
    assert fast
    assert slow
    assert len(fast) + len(slow) == len(medians_us)
