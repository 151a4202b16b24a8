from collections.abc import Mapping, Sequence
from typing import Self

from zramfs.accel.faults import FaultRate
from zramfs.accel.injector import FaultInjector
from zramfs.accel.ring import DescriptorRing
from zramfs.accel.timing import Timing
from zramfs.accel.watch import RunWatch
from zramfs.codec.run import CompressedRun

class DeviceModel:
    ring: DescriptorRing
    faults: FaultInjector
    watch: RunWatch
    stall_ns: int
    def __new__(
        cls, ring: DescriptorRing, runs: Sequence[CompressedRun], timing: Timing, faults: FaultInjector
    ) -> Self: ...
    def close(self) -> None: ...
    def configure(
        self, *, timing: Timing, timeout_ns: int, stall_ns: int, rates: Mapping[str, FaultRate], verifies: bool
    ) -> None: ...
    def stall(self) -> None: ...
    @property
    def is_modelled(self) -> bool: ...
    @property
    def inflight(self) -> int: ...
    def counters(self) -> Mapping[str, int]: ...
    def reset_peaks(self) -> None: ...
