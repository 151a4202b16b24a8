from collections.abc import Sequence
from typing import Self

from zramfs.accel.latency import LatencyWindow
from zramfs.accel.ring import DescriptorRing
from zramfs.accel.timeline import Timeline
from zramfs.accel.timer import EventTimer
from zramfs.accel.timing import Timing
from zramfs.codec.run import CompressedRun

class RunWatch:
    ring: DescriptorRing
    timeline: Timeline
    timer: EventTimer
    observed: LatencyWindow
    model: LatencyWindow
    timeout_ns: int
    def __new__(
        cls, ring: DescriptorRing, compressed_runs: Sequence[CompressedRun], timing: Timing, most_pages: int
    ) -> Self: ...
