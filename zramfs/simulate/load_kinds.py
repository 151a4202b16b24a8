"""What a scenario's machine is loaded with, as frozen values.

Times are in µs, sizes in bytes, of pages of 4 KiB. `loads` makes them of a TOML file's tables, `flows` cuts them up.
"""

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from zramfs.units import PAGE_SIZE

if TYPE_CHECKING:
    from array import array


class Distribution(Enum):
    """How times vary around their mean: not at all, or exponentially."""

    FIXED = "fixed"
    EXPONENTIAL = "exponential"


class Operation(Enum):
    """What a request does."""

    READ = "read"
    WRITE = "write"


@dataclass(frozen=True, slots=True, kw_only=True)
class AlikeLoad:
    """`tasks` that each have up to `depth` requests in flight, all of one kind and size.

    `group`: the group of CPUs that they are bound to, "" for all. `requests`: how many there are in all; 0: no end.
    `after`: the load that has to end before.
    """

    name: str
    tasks: int = 1
    operation: Operation = Operation.WRITE
    size_bytes: int = PAGE_SIZE
    is_async: bool = False
    depth: int = 1
    group: str = ""
    after: str = ""
    requests: int = 0

    @property
    def pages(self) -> int:
        """Pages of each request."""
        return self.size_bytes // PAGE_SIZE


@dataclass(frozen=True, slots=True, kw_only=True)
class ClosedLoad(AlikeLoad):
    """Tasks that keep up to `depth` requests in flight each, and begin another `think_us` after one has ended.

    With `in_batches` all of `depth` have to end before the next are begun. `make_us`: what their CPU does to make each;
    with a depth of 1 its latency begins after that.
    """

    think_us: float = 0.0
    make_us: float = 0.0
    think: Distribution = Distribution.EXPONENTIAL
    in_batches: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenLoad(AlikeLoad):
    """Requests that arrive whether or not others have ended: a Poisson process of bursts of `burst` requests each.

    The tasks take them from one queue, first come, first served.
    """

    rate_per_s: float
    burst: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class ReclaimLoad:
    """Swap under pressure: reclaimers swap out in batches, and beside them page faults read.

    Each of `reclaimers` writes `batch` single pages, asynchronously, waits for all, and pauses; each of `faulters`
    reads a page, and the next one after `think_us`. The two are not coupled: memory is neither counted nor waited for.
    """

    name: str
    reclaimers: int = 1
    batch: int = 32
    pause_us: float = 0.0
    faulters: int = 1
    think_us: float = 100.0
    group: str = ""
    after: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SwapLoad:
    """Tasks with more memory than they may keep, which reclaim directly: each frees the room that its faults need.

    A task reads `read_bytes` with a fault, what is read ahead included, and has `make_us` of its CPU before each, for
    the pages of the last and the kernel's part. When it has read as much as a batch is, it writes one: `batch` requests
    of `write_bytes`, asynchronously, all of which it waits for.
    """

    name: str
    tasks: int = 1
    batch: int = 32
    write_bytes: int = PAGE_SIZE
    read_bytes: int = PAGE_SIZE
    make_us: float = 0.0
    group: str = ""
    after: str = ""


@dataclass(frozen=True, slots=True, repr=False)
class Trace:
    """Requests of a recording: when each arrives (ns since the first), how many pages, and what it is.

    `kinds`: 0 a synchronous write, 1 an asynchronous one, 2 a read. `skipped`: lines that are neither.
    """

    arrivals_ns: "array[int]"
    pages: "array[int]"
    kinds: bytes
    skipped: int = 0

    def __len__(self) -> int:
        return len(self.arrivals_ns)

    def __repr__(self) -> str:
        return f"<Trace {len(self)} requests>"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayLoad:
    """Requests that arrive as recorded, `speed` times as fast; `tasks` take them as those of an OpenLoad do."""

    name: str
    trace: Trace
    path: str
    speed: float = 1.0
    tasks: int = 1
    depth: int = 1
    group: str = ""
    after: str = ""


Load = ClosedLoad | OpenLoad | ReclaimLoad | SwapLoad | ReplayLoad
