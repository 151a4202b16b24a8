"""What is simulated, as frozen values: a machine, its devices, its streams, and what they are loaded with.

Times are in µs, sizes in bytes, of pages of 4 KiB. `reading` makes a Scenario of a TOML file, and has checked it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Final

from zramfs.accel.profile import Profile
from zramfs.contracts import StreamPolicy
from zramfs.units import PAGE_SIZE

if TYPE_CHECKING:
    from array import array


class PercpuKind(Enum):
    """How the stream of a CPU is shared by the tasks of that CPU.

    NONPREEMPTIBLE: whoever has it keeps the CPU, as in the kernel before its streams could be preempted. MUTEX: its
    holder may be preempted, and others wait for the mutex (today's). SPLIT: likewise, with one stream for writes and
    one for reads (*zram: redesign zcomp and rework backends*, posted October 2026).
    """

    NONPREEMPTIBLE = "nonpreemptible"
    MUTEX = "mutex"
    SPLIT = "split"


class ManagedKind(Enum):
    """What a writer does once a managed stream has its pages.

    BLOCKING: it waits for each run, of one page unless `run_pages` says otherwise (RFC v2). NONBLOCKING: it goes on,
    and the request ends by itself (the RFC's next step).
    """

    BLOCKING = "blocking"
    NONBLOCKING = "nonblocking"


class Spread(Enum):
    """Which of several devices gets a run: the least full, each in turn, or always the same one for a CPU."""

    LEAST_FULL = "least_full"
    ROUND_ROBIN = "round_robin"
    BY_CPU = "by_cpu"


class Distribution(Enum):
    """How times vary around their mean: not at all, or exponentially."""

    FIXED = "fixed"
    EXPONENTIAL = "exponential"


class Operation(Enum):
    """What a request does."""

    READ = "read"
    WRITE = "write"


@dataclass(frozen=True, slots=True)
class Cost:
    """A time of a CPU in µs. `basis` is published, measured, assumed, or given (by the scenario)."""

    us: float
    basis: str
    source: str


NO_COST: Final = Cost(0.0, "assumed", "not in the table")


@dataclass(frozen=True, slots=True, kw_only=True)
class CpuGroup:
    """CPUs that are alike, and how long each takes for a page in software, by algorithm."""

    name: str
    count: int
    compress: Mapping[str, Cost]
    decompress: Mapping[str, Cost]


@dataclass(frozen=True, slots=True, kw_only=True)
class Costs:
    """What a CPU spends beside compressing and decompressing; the same on every CPU.

    `request`: once for each request. `page`: for each page that is stored (allocation, copy, slot); what loading one
    takes is part of decompressing it. `wake`: each time that a task goes on after it has slept. `completion`: for each
    run that a device has told of. `halt`: what a CPU that had nothing to do takes to go on, beside that.

    Of a daemon: `receive`: to take a request and answer it, of the receiver's time; `request` is then the caller's own.
    `copy`: for each page of a write that is received. `loop`: each time that a device's timer wakes its event loop; 0:
    there is none, and a device's end wakes the receiver. `apart`: what a request takes more where whoever answers it is
    on another CPU than its caller.
    """

    request: Cost
    page: Cost
    wake: Cost
    completion: Cost
    halt: Cost = NO_COST
    receive: Cost = NO_COST
    copy: Cost = NO_COST
    loop: Cost = NO_COST
    apart: Cost = NO_COST


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """CPUs in groups, and where their numbers come from."""

    name: str
    summary: str
    groups: tuple[CpuGroup, ...]
    costs: Costs

    @property
    def cpus(self) -> int:
        """How many there are in all."""
        return sum(group.count for group in self.groups)


class Rule(Enum):
    """Who gets a CPU: whoever came first, or whom Linux's scheduler (EEVDF) would choose."""

    FIRST_COME = "first_come"
    EEVDF = "eevdf"


@dataclass(frozen=True, slots=True, kw_only=True)
class Scheduler:
    """How the tasks of a CPU share it.

    FIRST_COME: one that has run for `quantum_us` while others wait goes to the end of the queue; 0: it runs until it
    sleeps. With `wakeup_preempts` a task that wakes up runs at once, and the one that ran goes on next. Where a task
    `migrates`, it goes to an idle CPU when it wakes up, and an idle CPU takes one that waits for another.

    EEVDF: tasks have slices of `slice_us`; 0: those of Linux, 0.7 ms times 1 + log2 of the CPUs, of 8 at most. Tasks
    that work in bulk have `bulk_slice_us`. One that has run during the last `migration_cost_us` stays where it is.
    With `autogroup` a daemon's tasks and all others are groups that share each CPU.
    """

    rule: Rule = Rule.FIRST_COME
    quantum_us: float = 3000.0
    wakeup_preempts: bool = False
    migrates: bool = False
    slice_us: float = 0.0
    bulk_slice_us: float = 12000.0
    migration_cost_us: float = 500.0
    autogroup: bool = True

    def slice_us_of(self, cpus: int) -> float:
        """Return the slice of a task on a machine with so many CPUs."""
        return self.slice_us or 700.0 * min(cpus, 8).bit_length()


@dataclass(frozen=True, slots=True, kw_only=True)
class Daemon:
    """Threads that requests are handed over to, as zramfs has them behind /dev/fuse: one receiver, and a `crew`.

    The receiver does in one go what takes less than `one_go_us`, and up to 32 pages; everything else waits in a
    backlog, of which it does a slice of `slice_us` when there is no request, and at least once every `turn_us`. Reads
    of `shared_read_pages` and more, and writes on per-CPU streams, are shared with the crew, `share_pages` at a time. A
    receiver without work spins for `poll_us`, the crew and the engines of emulated devices for `helper_poll_us`.
    """

    crew: int = 0
    one_go_us: float = 100.0
    slice_us: float = 50.0
    turn_us: float = 500.0
    share_pages: int = 8
    shared_read_pages: int = 16
    poll_us: float = 50.0
    helper_poll_us: float = 200.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Streams:
    """Which streams there are, and how they are chosen.

    `percpu_run_pages`: how many pages are compressed before the stream is let go (the kernel: 1; zramfs: 32).
    `fallback_run_pages`: likewise for pages that no managed stream takes, before one is asked again (zramfs: 8).
    `run_pages`: the longest run of a managed stream. `device_reads`: whether reads prefer a device that decompresses.
    """

    policy: StreamPolicy = StreamPolicy.AUTO
    percpu: PercpuKind = PercpuKind.MUTEX
    managed: ManagedKind = ManagedKind.BLOCKING
    spread: Spread = Spread.LEAST_FULL
    percpu_run_pages: int = 1
    fallback_run_pages: int = 1
    run_pages: int = 1
    device_reads: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """An accelerator: its profile has the timing, what happens when it is full, and the rates of its faults.

    `offline_us` are the periods, as (begin, end), in which it is not there; what it has in hand when one begins is
    done again in software. `decompress_page_us`: what an engine takes for a page; negative: it cannot decompress.
    `is_emulated`: its engines are threads of a daemon, which compress on the machine's CPUs.

    `command_sets`: those that decompress, one page after the other, CPU n by set n mod so many, whose callers poll;
    0: reads queue with the writes.

    `completion_cpu`: that of the one thread which stores what writers do not wait for; negative:
    an interrupt of the writer's CPU does.
    """

    name: str
    profile: Profile
    offline_us: tuple[tuple[float, float], ...] = ()
    decompress_page_us: float = -1.0
    is_emulated: bool = False
    command_sets: int = 0
    completion_cpu: int = -1

    @property
    def can_decompress(self) -> bool:
        """Whether it takes pages to be read."""
        return self.decompress_page_us >= 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ClosedLoad:
    """Tasks that each keep up to `depth` requests in flight, and begin another `think_us` after one has ended.

    `group`: the group of CPUs that they are bound to, "" for all. With `in_batches` all of `depth` have to end before
    the next are begun. `make_us`: what their CPU does to make each; with a depth of 1 its latency begins after that.
    `requests`: how many there are in all; 0: no end. `after`: the load that has to end before.
    """

    name: str
    tasks: int = 1
    operation: Operation = Operation.WRITE
    size_bytes: int = PAGE_SIZE
    is_async: bool = False
    depth: int = 1
    think_us: float = 0.0
    make_us: float = 0.0
    think: Distribution = Distribution.EXPONENTIAL
    in_batches: bool = False
    group: str = ""
    after: str = ""
    requests: int = 0

    @property
    def pages(self) -> int:
        """Pages of each request."""
        return self.size_bytes // PAGE_SIZE


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenLoad:
    """Requests that arrive whether or not others have ended: a Poisson process of bursts of `burst` requests each.

    `tasks` take them from one queue, first come, first served, each with up to `depth` in flight.
    """

    name: str
    rate_per_s: float
    burst: int = 1
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


Load = ClosedLoad | OpenLoad | ReclaimLoad | ReplayLoad


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """Everything that a simulation depends on: the same scenario gives the same result.

    It is measured from `warmup_us` to `duration_us` of virtual time. Nothing begins after that, and what is in flight
    ends. `service` is how the times of CPUs vary; a device's never do.
    """

    name: str
    machine: Machine
    loads: tuple[Load, ...]
    summary: str = ""
    algorithm: str = "lz4"
    devices: tuple[Device, ...] = ()
    streams: Streams = field(default_factory=Streams)
    scheduler: Scheduler = field(default_factory=Scheduler)
    daemon: Daemon | None = None
    service: Distribution = Distribution.FIXED
    duration_us: float = 1_000_000.0
    warmup_us: float = 0.0
    seed: int = 1
    varied: tuple[tuple[str, str], ...] = ()
    """The keys that `--vary` has set in this one, with their values."""
