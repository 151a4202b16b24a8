"""The swap storm: swap on the mount, and a process that touches more memory than its cgroup lets it keep."""

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from typing import Final

from zramfs.compare.fresh_mount import Counters, FreshMount, pages_of, parse_counters
from zramfs.compare.memory_hog import CANNOT, MIB
from zramfs.compare.programs import Interruption, run_workload, shown
from zramfs.compare.workload import SWAP, SWAP_STORM, Plan, Served, WorkloadResult
from zramfs.errors import CommandFailed, InvalidValue
from zramfs.foreign import last_line
from zramfs.units import PAGE_SIZE

_HOG: Final = (sys.executable, "-P", "-m", "zramfs.compare.memory_hog")
_LEAST_SIZE_BYTES: Final = 64 * MIB
_FILL_PER_SIZE: Final = 3 / 4
_LIMIT_PER_FILL: Final = 1 / 4
_TOUCHED: Final = re.compile(r"^touched [0-9]+ pages in ([0-9.]+) s", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class SwapStorm:
    """Three quarters of the disk's size are filled and verified by a process that may keep a quarter of that."""

    name: str = SWAP_STORM
    source: str = (
        "Swap on the mount (zramfs swap on), and a process in a memory cgroup that fills and verifies four times as "
        "much memory as it may keep, three quarters of the disk's size, again and again until the time has passed."
    )

    def check(self, plan: Plan) -> None:
        """Try a process in a memory cgroup; InvalidValue if the disk is small, CommandFailed if it cannot be."""
        if plan.size_bytes < _LEAST_SIZE_BYTES:
            raise InvalidValue(f"{self.name} needs a disk of {_LEAST_SIZE_BYTES // MIB}M at least")
        if os.geteuid() != 0:
            raise CommandFailed(f"{self.name} needs root: it makes swap space and a memory cgroup")
        tried = subprocess.run([*_HOG, "1", "64"], capture_output=True, text=True, check=False)
        if tried.returncode == CANNOT:
            raise CommandFailed(f"{self.name} needs a memory cgroup: {last_line(tried.stderr)}")

    def run(self, mount: FreshMount, plan: Plan, interruption: Interruption) -> WorkloadResult:
        """Run it once. What is swapped while memory fills for the first time is not counted, as fio's ramp is not."""
        fill_mib = int(plan.size_bytes * _FILL_PER_SIZE) // MIB
        limit_mib = int(fill_mib * _LIMIT_PER_FILL)
        runtime_s = f"{plan.ramp_s + plan.runtime_s:g}"
        command = [*_HOG, str(fill_mib), str(limit_mib), runtime_s, str(mount.stream_stat)]
        output = mount.folder / "hog.out"
        mount.zramfs("swap", "on", str(mount.path))
        try:
            mount.commands.append(shown(*command))
            exit_code, complaint = run_workload(command, output, interruption)
            streams = mount.stream_counters()
        finally:
            mount.zramfs("swap", "off", str(mount.path))
        if exit_code:
            raise CommandFailed(f"{self.name}: the process that fills memory failed: {complaint or exit_code}")
        return WorkloadResult(served={SWAP: swapped(output.read_text(), streams)})


def swapped(text: str, streams: Counters) -> Served:
    """Return what was swapped out since memory was full: the counters then are in the program's words.

    CommandFailed if they are none.
    """
    counters, touched = parse_counters(text), _TOUCHED.search(text)
    if touched is None:
        raise CommandFailed(f"{SWAP_STORM}: the process that fills memory does not say how long it took: {text[:80]!r}")
    pages_per_s = (pages_of(streams) - pages_of(counters)) / float(touched[1])
    return Served(pages_per_s * PAGE_SIZE, pages_per_s)
