from collections.abc import Sequence
from typing import Self

from zramfs.simulate.cpus import Cpus
from zramfs.simulate.device import SimulatedDevice
from zramfs.simulate.flows import Flow
from zramfs.simulate.histogram import LatencyHistogram
from zramfs.simulate.scenario import Device, PercpuKind, Scenario, Spread

class Engine:
    cpus: Cpus
    devices: list[SimulatedDevice]
    latencies: list[LatencyHistogram]
    now_ns: int
    events: int
    wait_count: int
    wait_ns: int
    longest_wait_ns: int
    def __new__(
        cls,
        flows: Sequence[Flow],
        devices: Sequence[Device],
        *,
        scenario: Scenario,
        seed: int,
        warmup_ns: int,
        end_ns: int,
        wake_ns: int,
        cpus: int,
        servers: int,
        percpu_kind: PercpuKind,
        spread: Spread,
        interval_ns: int,
    ) -> Self: ...
    def begin(self) -> None: ...
    def go_on(self, most_events: int) -> bool: ...
    def page_counts(self) -> dict[str, int]: ...
    def counts(self) -> list[tuple[int, int, int, int]]: ...
