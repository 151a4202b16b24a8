"""What a workload is, and which there are: fio job files of the package or the user's, and the swap storm."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Final, Protocol

from zramfs.compare.fresh_mount import FreshMount
from zramfs.compare.histogram import Histogram
from zramfs.compare.programs import Interruption
from zramfs.errors import InvalidValue
from zramfs.suggestions import did_you_mean

SWAP_STORM: Final = "swap-storm"
_FIO_SUFFIX: Final = ".fio"


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How large the disk is, and for how long a run is measured."""

    size_bytes: int
    runtime_s: float

    @property
    def ramp_s(self) -> float:
        """How long a workload runs before it begins to count: a quarter, in which the fresh disk fills."""
        return self.runtime_s / 4


SYNC: Final = "sync"
ASYNC: Final = "async"
READ: Final = "read"
SWAP: Final = "swap"
KINDS: Final = (SYNC, ASYNC, READ, SWAP)
"""Of requests: by synchronous and asynchronous writers, by readers of both, and pages swapped out."""


@dataclass(frozen=True, slots=True)
class Served:
    """What the requests of one kind got; without latencies where nobody could take them."""

    bytes_per_s: float
    requests_per_s: float
    latencies: Histogram | None = None


@dataclass(frozen=True, slots=True)
class Made:
    """Requests that a job made, and the CPU time in user mode that it took for them: filling their pages, above all."""

    requests: int
    user_s: float

    @property
    def us(self) -> float:
        """What a request took."""
        return 1e6 * self.user_s / self.requests

    def __add__(self, other: "Made") -> "Made":
        return Made(self.requests + other.requests, self.user_s + other.user_s)


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkloadResult:
    """What the requests of each kind got, and what they took those who made them, by job, where that is measured."""

    served: Mapping[str, Served] = field(default_factory=dict)
    read_bytes: int = 0
    made: Mapping[str, Made] = field(default_factory=dict)


class Workload(Protocol):
    """Something that can be run on a mount again and again."""

    @property
    def name(self) -> str:
        """What it is called in the table."""

    @property
    def source(self) -> str:
        """Its definition, for the report: a job file, or a sentence."""

    def check(self, plan: Plan) -> None:
        """Raise a ZramError if it cannot be run here."""

    def run(self, mount: FreshMount, plan: Plan, interruption: Interruption) -> WorkloadResult:
        """Run it once; CommandFailed if it fails, Interrupted if the user ends it."""


def builtin_job_names() -> list[str]:
    """Return the names of the job files in the package, sorted."""
    return sorted(
        entry.name.removesuffix(_FIO_SUFFIX)
        for entry in resources.files("zramfs.compare").joinpath("workloads").iterdir()
        if entry.name.endswith(_FIO_SUFFIX)
    )


def read_job_file(name: str) -> str:
    """Return a job file by its built-in name, or by its path; InvalidValue if there is none."""
    if name in builtin_job_names():
        return resources.files("zramfs.compare").joinpath("workloads", f"{name}{_FIO_SUFFIX}").read_text()
    if "/" not in name and not name.endswith(_FIO_SUFFIX):
        known = did_you_mean(name, [*builtin_job_names(), SWAP_STORM])
        raise InvalidValue(f"no workload {name!r}: {known}, or give a path to a {_FIO_SUFFIX} job file")
    try:
        return Path(name).read_text()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text"
        raise InvalidValue(f"job file {name} cannot be read: {reason}") from error
