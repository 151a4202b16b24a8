"""CPU time of the daemon by what its threads do, from /proc: what the host would spend, and what emulation does."""

import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_ENGINE_PREFIX: Final = "zramfs-eng"
_SERVING_PREFIXES: Final = ("zramfs-recv", "zramfs-ring", "zramfs-crew")
_NS_PER_S: Final = 1_000_000_000


@dataclass(frozen=True, slots=True)
class CpuTime:
    """Seconds on a CPU. `serving` are the event loop, receivers and crew, `engines` the emulated hardware."""

    serving: float = 0.0
    other: float = 0.0
    engines: float = 0.0

    def __sub__(self, earlier: "CpuTime") -> "CpuTime":
        return CpuTime(self.serving - earlier.serving, self.other - earlier.other, self.engines - earlier.engines)


def read_cpu_time(pid: int, proc: Path = Path("/proc")) -> CpuTime:
    """Sum up the threads of a process; one that ends meanwhile is left out."""
    seconds = {"serving": 0.0, "other": 0.0, "engines": 0.0}
    for task in (proc / str(pid) / "task").iterdir():
        with suppress(FileNotFoundError, ProcessLookupError):
            seconds[_kind(task, pid)] += _seconds(task)
    return CpuTime(**seconds)


def _kind(task: Path, pid: int) -> str:
    name = (task / "comm").read_text()
    if task.name == str(pid) or name.startswith(_SERVING_PREFIXES):
        return "serving"
    return "engines" if name.startswith(_ENGINE_PREFIX) else "other"


def _seconds(task: Path) -> float:
    """`schedstat` counts ns (where the kernel has it), `stat` clock ticks of mostly 10 ms."""
    with suppress(OSError):
        return int((task / "schedstat").read_text().split()[0]) / _NS_PER_S
    after_name = (task / "stat").read_text().rpartition(")")[2].split()
    return (int(after_name[11]) + int(after_name[12])) / os.sysconf("SC_CLK_TCK")
