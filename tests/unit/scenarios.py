"""Scenarios of tests: machines of any size and speed, whose tasks cost nothing beside what is asked for."""

from typing import Any

from zramfs.accel.profile import parse_accelerator
from zramfs.simulate.load_kinds import ClosedLoad, Load, OpenLoad, Operation
from zramfs.simulate.scenario import Cost, Costs, CpuGroup, Device, Machine, Scenario, Scheduler, Streams


def cost(us: float) -> Cost:
    return Cost(us, "assumed", "a test's")


def machine(cpus: int = 1, compress_us: float = 10.0, decompress_us: float = 3.0, **costs: float) -> Machine:
    group = CpuGroup(
        name="cpu",
        count=cpus,
        compress={"lz4": cost(compress_us)},
        decompress={"lz4": cost(decompress_us)},
    )
    names = (
        "request",
        "page",
        "wake",
        "completion",
        "halt",
        "receive",
        "copy",
        "pin",
        "cold",
        "loop",
        "apart",
        "fetch",
        "ipi",
        "timer",
    )
    return Machine(
        name="test",
        summary="",
        groups=(group,),
        costs=Costs(**{name: cost(costs.get(f"{name}_us", 0.0)) for name in names}),
    )


def scenario(*loads: Load, **settings: Any) -> Scenario:
    defaults: dict[str, Any] = {
        "name": "test",
        "machine": machine(),
        "scheduler": Scheduler(quantum_us=0),
        "duration_us": 1e6,
        "loads": loads,
    }
    return Scenario(**(defaults | settings))


def device(accelerator: str, **settings: Any) -> Device:
    """Make a device of a profile and values, such as ``iaa,page_ns=1000``; the rest as a Device takes it."""
    profile = parse_accelerator(accelerator)
    assert profile is not None
    return Device(**({"name": "device", "profile": profile} | settings))


__all__ = ["ClosedLoad", "Device", "OpenLoad", "Operation", "Streams", "cost", "device", "machine", "scenario"]
