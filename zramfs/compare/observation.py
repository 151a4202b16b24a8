"""One more run of a setting, on a mount that traces its requests. No figure comes from it: tracing costs time."""

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from zramfs.compare.fresh_mount import fresh_mount
from zramfs.compare.programs import Interruption
from zramfs.compare.queue_samples import MARK_BYTES, QueueSampler, QueueSamples
from zramfs.compare.settings import Setting
from zramfs.compare.trace import DepthOverTime, cut_mark, depth_over_time, mean_stages_us, read_trace
from zramfs.compare.workload import Plan, Workload

_MOST_S: Final = 2.0
"""How much of a workload is traced at most: more of it would be drawn as a solid bar."""


@dataclass(frozen=True, slots=True)
class Observation:
    """What the trace tells: pages in hand, and the mean µs of each stage by kind of request; and the device's queue."""

    depth: DepthOverTime
    queue: QueueSamples
    stages_us: dict[str, dict[str, float]]


def observe(workload: Workload, setting: Setting, plan: Plan, interruption: Interruption) -> Observation:
    """Run the workload for a short time on a fresh mount; its trace is complete when that has ended."""
    short = Plan(size_bytes=plan.size_bytes, runtime_s=min(plan.runtime_s, _MOST_S))
    with tempfile.TemporaryDirectory(prefix="zramfs-compare-") as folder:
        path = Path(folder, "trace")
        options = ["--size", str(plan.size_bytes), *setting.mount_options, "--trace", str(path)]
        with fresh_mount(options) as mount, QueueSampler(mount) as sampler:
            workload.run(mount, short, interruption)
        began_us, requests = cut_mark(read_trace(path), MARK_BYTES)
    return Observation(depth_over_time(requests, began_us), sampler.samples, mean_stages_us(requests))
