"""The swap storm: swap on the mount, and a process that touches more memory than its cgroup lets it keep."""

import os
import subprocess
import sys
from dataclasses import dataclass
from typing import Final

from zramfs.compare.fresh_mount import FreshMount
from zramfs.compare.memory_hog import CANNOT, MIB
from zramfs.compare.programs import Interruption, run_workload, shown
from zramfs.compare.workload import SWAP_STORM, Plan, WorkloadResult
from zramfs.errors import CommandFailed, InvalidValue
from zramfs.foreign import last_line

_HOG: Final = (sys.executable, "-P", "-m", "zramfs.compare.memory_hog")
_LEAST_SIZE_BYTES: Final = 64 * MIB
_FILL_PER_SIZE: Final = 3 / 4
_LIMIT_PER_FILL: Final = 1 / 4


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
        """Run it once. The program measures nothing: the mount's counters tell what was swapped out."""
        fill_mib = int(plan.size_bytes * _FILL_PER_SIZE) // MIB
        command = [*_HOG, str(fill_mib), str(int(fill_mib * _LIMIT_PER_FILL)), f"{plan.ramp_s + plan.runtime_s:g}"]
        mount.zramfs("swap", "on", str(mount.path))
        try:
            mount.commands.append(shown(*command))
            exit_code, complaint = run_workload(command, mount.folder / "hog.out", interruption)
        finally:
            mount.zramfs("swap", "off", str(mount.path))
        if exit_code:
            raise CommandFailed(f"{self.name}: the process that fills memory failed: {complaint or exit_code}")
        return WorkloadResult()
