"""The engine against queues whose answers are known. Hypothesis chooses their parameters, the same ones each time.

The interval that is asked for is three times the half width of the 95 % confidence interval (batch means), so that not
one in twenty right answers fails.
"""

from hypothesis import given, settings
from hypothesis import strategies as st
from queueing import md1_response, mmc_response, repair_response
from scenarios import ClosedLoad, OpenLoad, Streams, device, machine, scenario

from zramfs.contracts import StreamPolicy
from zramfs.simulate import run
from zramfs.simulate.load_kinds import Distribution
from zramfs.simulate.result import Latency
from zramfs.simulate.scenario import ManagedKind

EXPONENTIAL = Distribution.EXPONENTIAL
SERVICE_US = 10.0
REQUESTS = 200_000

fixed = settings(derandomize=True, max_examples=15, deadline=None, database=None)


def agrees(latency: Latency, expected_us: float) -> bool:
    assert latency.requests > REQUESTS / 2
    assert latency.mean_error_us < 0.1 * expected_us, "the interval is so wide that it would hold anything"
    return abs(latency.mean_us - expected_us) <= 3 * latency.mean_error_us + 0.001 * expected_us


def duration_us(rate_per_us: float) -> float:
    return REQUESTS / rate_per_us


@fixed
@given(servers=st.integers(1, 16), load=st.floats(0.2, 0.85))
def test_exponential_pages_of_poisson_arrivals_are_an_mmc_queue(servers: int, load: float) -> None:
    rate_per_us = servers * load / SERVICE_US
    result = run(
        scenario(
            OpenLoad(name="open", rate_per_s=rate_per_us * 1e6, tasks=servers),
            machine=machine(servers, SERVICE_US),
            service=EXPONENTIAL,
            duration_us=duration_us(rate_per_us),
            warmup_us=1000 * SERVICE_US,
        )
    )
    assert agrees(result.latencies["sync_writes"], mmc_response(servers, load, SERVICE_US))


@fixed
@given(load=st.floats(0.2, 0.85))
def test_equal_pages_of_poisson_arrivals_are_an_md1_queue(load: float) -> None:
    rate_per_us = load / SERVICE_US
    result = run(
        scenario(
            OpenLoad(name="open", rate_per_s=rate_per_us * 1e6),
            machine=machine(1, SERVICE_US),
            duration_us=duration_us(rate_per_us),
            warmup_us=1000 * SERVICE_US,
        )
    )
    assert agrees(result.latencies["sync_writes"], md1_response(load, SERVICE_US))


@fixed
@given(load=st.floats(0.2, 0.85), interrupt_ns=st.integers(0, 5000))
def test_a_device_with_one_engine_is_an_md1_queue_and_an_interrupt(load: float, interrupt_ns: int) -> None:
    rate_per_us = load / SERVICE_US
    costs = f"submit_ns=0,job_ns=0,page_ns={int(SERVICE_US * 1000)},engines=1,polled_run_pages=0"
    costs += f",coalesce_runs=1,coalesce_us=0,interrupt_ns={interrupt_ns},queue_depth=4096"
    result = run(
        scenario(
            OpenLoad(name="open", rate_per_s=rate_per_us * 1e6, depth=4096, is_async=True),
            devices=(device(f"qpace,{costs}"),),
            streams=Streams(managed=ManagedKind.NONBLOCKING, policy=StreamPolicy.AUTO),
            duration_us=duration_us(rate_per_us),
            warmup_us=1000 * SERVICE_US,
        )
    )
    expected_us = md1_response(load, SERVICE_US) + interrupt_ns / 1000
    assert agrees(result.latencies["async_writes"], expected_us)
    assert result.pages.fallback == 0


@fixed
@given(machines=st.integers(1, 40), think_us=st.floats(10.0, 1000.0))
def test_tasks_of_a_cpu_that_think_are_machines_with_one_repairer(machines: int, think_us: float) -> None:
    expected_us = repair_response(machines, 1, think_us, SERVICE_US)
    rate_per_us = machines / (think_us + expected_us)
    result = run(
        scenario(
            ClosedLoad(name="closed", tasks=machines, think_us=think_us),
            machine=machine(1, SERVICE_US),
            service=EXPONENTIAL,
            duration_us=duration_us(rate_per_us),
            warmup_us=1000 * SERVICE_US,
        )
    )
    assert agrees(result.latencies["sync_writes"], expected_us)
    assert abs(result.written_pages_per_s / (rate_per_us * 1e6) - 1) < 0.02


@fixed
@given(load=st.floats(0.2, 0.85), cpus=st.integers(1, 8))
def test_the_share_of_cpu_time_is_the_load(load: float, cpus: int) -> None:
    rate_per_us = cpus * load / SERVICE_US
    result = run(
        scenario(
            OpenLoad(name="open", rate_per_s=rate_per_us * 1e6, tasks=cpus),
            machine=machine(cpus, SERVICE_US),
            service=EXPONENTIAL,
            duration_us=duration_us(rate_per_us),
        )
    )
    assert abs(result.cpu_share - load) < 0.02
    assert result.cpu_seconds["compress"] == sum(result.cpu_seconds.values())


def test_a_wrong_answer_does_not_agree() -> None:
    result = run(scenario(OpenLoad(name="open", rate_per_s=70_000), duration_us=2e6, warmup_us=1e4))
    latency = result.latencies["sync_writes"]
    assert agrees(latency, md1_response(0.7, SERVICE_US))
    assert not agrees(latency, mmc_response(1, 0.7, SERVICE_US))
    assert not agrees(latency, 1.1 * md1_response(0.7, SERVICE_US))
