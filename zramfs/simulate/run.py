"""Runs a scenario, and makes a Result of what the engine counted."""

from collections.abc import Callable
from time import perf_counter
from typing import Final

from zramfs.errors import InvalidValue
from zramfs.simulate.daemon import DaemonEngine, server_count
from zramfs.simulate.device import SimulatedDevice
from zramfs.simulate.engine import Engine
from zramfs.simulate.flows import flows_of
from zramfs.simulate.histogram import LatencyHistogram
from zramfs.simulate.result import (
    CPU_PURPOSES,
    PERCENTILES,
    REQUEST_CLASSES,
    DeviceResult,
    Latency,
    LoadResult,
    LockWaits,
    PageCounts,
    Result,
    Series,
)
from zramfs.simulate.scenario import Device, Scenario

_CHUNK_EVENTS: Final = 200_000
"""Between two looks at the user: about 0.03 s."""

_INTERVALS: Final = 500
"""Of a series, that the planned duration is cut into: what is in flight then still has room."""

_NS_PER_US: Final = 1000
_NS_PER_S: Final = 1e9


def run(scenario: Scenario, *, on_progress: Callable[[float], None] | None = None) -> Result:
    """Simulate a scenario. `on_progress` is told now and then what share of the virtual time has passed.

    KeyboardInterrupt ends it early, with a partial result. InvalidValue if requests take no time at all.
    """
    began_s = perf_counter()
    engine = _engine_of(scenario)
    is_partial = False
    try:
        while engine.go_on(_CHUNK_EVENTS):
            if on_progress is not None:
                on_progress(min(1.0, engine.now_ns / (scenario.duration_us * _NS_PER_US)))
    except KeyboardInterrupt:
        is_partial = True
    except RuntimeError as error:
        raise InvalidValue(f"{scenario.name}: loads: {error}") from error
    return _result_of(scenario, engine, is_partial=is_partial, wall_s=perf_counter() - began_s)


def _engine_of(scenario: Scenario) -> Engine:
    make = Engine if scenario.daemon is None else DaemonEngine
    engine = make(
        flows_of(scenario),
        scenario.devices,
        scenario=scenario,
        seed=scenario.seed,
        warmup_ns=round(scenario.warmup_us * _NS_PER_US),
        end_ns=round(scenario.duration_us * _NS_PER_US),
        wake_ns=round(scenario.machine.costs.wake.us * _NS_PER_US),
        cpus=scenario.machine.cpus,
        servers=server_count(scenario),
        percpu_kind=scenario.streams.percpu,
        spread=scenario.streams.spread,
        interval_ns=max(1, round(scenario.duration_us * _NS_PER_US / _INTERVALS)),
    )
    engine.begin()
    return engine


def _result_of(scenario: Scenario, engine: Engine, *, is_partial: bool, wall_s: float) -> Result:
    until_ns = min(engine.now_ns, round(scenario.duration_us * _NS_PER_US))
    measured_ns = max(0, until_ns - round(scenario.warmup_us * _NS_PER_US))
    return Result(
        scenario=scenario,
        is_partial=is_partial,
        measured_s=measured_ns / _NS_PER_S,
        wall_s=wall_s,
        events=engine.events,
        latencies=dict(zip(REQUEST_CLASSES, map(_latency_of, engine.latencies), strict=True)),
        pages=PageCounts(**engine.page_counts()),
        lock_waits=LockWaits(
            count=engine.wait_count,
            mean_us=engine.wait_ns / max(1, engine.wait_count) / _NS_PER_US,
            max_us=engine.longest_wait_ns / _NS_PER_US,
        ),
        cpu_seconds={purpose: ns / _NS_PER_S for purpose, ns in zip(CPU_PURPOSES, engine.cpus.used(), strict=True)},
        devices=tuple(
            _device_result(device, simulated, measured_ns, engine.now_ns)
            for device, simulated in zip(scenario.devices, engine.devices, strict=True)
        ),
        loads=tuple(_load_results(scenario, engine)),
    )


def _latency_of(histogram: LatencyHistogram) -> Latency:
    return Latency(
        requests=histogram.count,
        mean_us=histogram.mean_ns() / _NS_PER_US,
        mean_error_us=histogram.mean_error_ns() / _NS_PER_US,
        max_us=histogram.most_ns / _NS_PER_US,
        percentiles_us={percent: histogram.percentile_ns(percent) / _NS_PER_US for percent in PERCENTILES},
        bins=tuple((edge_ns / _NS_PER_US, count) for edge_ns, count in histogram.bins()),
    )


def _device_result(device: Device, simulated: SimulatedDevice, measured_ns: int, now_ns: int) -> DeviceResult:
    engines_ns = measured_ns * max(1, device.profile.number("engines"))
    means, maxima = simulated.depth.until(now_ns)
    return DeviceResult(
        name=device.name,
        pages=simulated.pages,
        runs=simulated.run_count,
        interrupts=simulated.interrupts,
        busy_share=simulated.busy_ns / engines_ns if engines_ns else 0.0,
        refused=simulated.refused,
        faults=simulated.injected_faults(),
        lost_runs=simulated.lost_runs,
        depth=Series(simulated.depth.interval_ns / _NS_PER_S, tuple(means), tuple(maxima)),
    )


def _load_results(scenario: Scenario, engine: Engine) -> list[LoadResult]:
    """Sum the flows of each load up."""
    counts = engine.counts()
    return [
        LoadResult(
            name=load.name,
            submitted=sum(count[1] for count in counts if count[0] == number),
            ended=sum(count[2] for count in counts if count[0] == number),
            dropped=sum(count[3] for count in counts if count[0] == number),
        )
        for number, load in enumerate(scenario.loads)
    ]
