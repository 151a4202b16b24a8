from collections.abc import Sequence

from zramfs.accel.faults import FaultInjector
from zramfs.accel.latency import LatencyWindow
from zramfs.accel.ring import DescriptorRing
from zramfs.accel.timeline import Timeline
from zramfs.accel.timing import Timing
from zramfs.codec.run import CompressedRun

class ModelledQueue:
    ring: DescriptorRing
    timeline: Timeline
    faults: FaultInjector
    observed: LatencyWindow
    model: LatencyWindow
    late_completions: int
    latest_ns: int
    stalls: int
    inline_work_ns: int
    timer_fd: int
    timeout_ns: int
    stall_ns: int
    is_modelled: bool
    def __init__(
        self, ring: DescriptorRing, run_of: Sequence[CompressedRun], timing: Timing, faults: FaultInjector
    ) -> None: ...
    def close(self) -> None: ...
    def reconsider(self) -> None: ...
    def stall(self, now_ns: int | None = None) -> None: ...
    def reap(self) -> list[int]: ...
