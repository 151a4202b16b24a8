"""What is simulated, as frozen values: a machine, its devices, its streams, and what they are loaded with.

Times are in µs, sizes in bytes, of pages of 4 KiB. `reading` makes a Scenario of a TOML file, and has checked it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Final

from zramfs.accel.profile import Profile
from zramfs.contracts import StreamPolicy
from zramfs.simulate.load_kinds import Distribution, Load


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
    run that a device has told of. `halt`: what a CPU that had nothing to do takes to go on, beside that. `cold`: what a
    task takes more to go on, by EEVDF, if others have had its CPU meanwhile, for 30 us or longer, or on another CPU.

    `pin`: for each page of a request but the first, of its caller's time: direct I/O pins it, and lets it go. Half of
    it is to let it go; whoever answers an asynchronous request in a daemon does that.

    `fetch`: for each page that is stored after a device has compressed it, as no cache has it; beside `page`.
    `ipi`: to wake a task on another CPU, by EEVDF, of the time of the CPU that does: an interrupt is sent there.

    Of a daemon: `receive`: to take a request and answer it, of the receiver's time; `request` is then the caller's own.
    `copy`: for each page of a write that is received. `loop`: each time that a device's timer wakes its event loop; 0:
    there is none, and a device's end wakes the receiver. `timer`: to set it, for whoever submits a run or looks for
    ended ones, after it has gone off or if it would be too late. `apart`: what a request takes more where whoever
    answers it is on another CPU than its caller.
    """

    request: Cost
    page: Cost
    wake: Cost
    completion: Cost
    halt: Cost = NO_COST
    receive: Cost = NO_COST
    copy: Cost = NO_COST
    pin: Cost = NO_COST
    cold: Cost = NO_COST
    fetch: Cost = NO_COST
    ipi: Cost = NO_COST
    timer: Cost = NO_COST
    loop: Cost = NO_COST
    apart: Cost = NO_COST


@dataclass(frozen=True, slots=True, kw_only=True)
class Contention:
    """Other work on the host of a virtual machine: each CPU shares its core with it now and then, on its own.

    Whatever tasks do takes `slowdown_percent` longer then, on `share_percent` of the time, for `lasts_us` on average.
    Costs are means: otherwise it takes less than they say.
    """

    slowdown_percent: float
    share_percent: float
    lasts_us: float
    basis: str
    source: str

    @property
    def paces(self) -> tuple[float, float]:
        """By how much times are multiplied without it and with it."""
        slower = 1 + self.slowdown_percent / 100
        alone = 1 / (1 + (slower - 1) * self.share_percent / 100)
        return alone, alone * slower

    @property
    def alone_us(self) -> float:
        """For how long a CPU has its core to itself, on average."""
        return self.lasts_us * (100 - self.share_percent) / self.share_percent


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """CPUs in groups, and where their numbers come from."""

    name: str
    summary: str
    groups: tuple[CpuGroup, ...]
    costs: Costs
    contention: Contention | None = None

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
    With `autogroup` sessions share each CPU: the daemon is one, and each caller, or several where there are over 64.
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
class Scenario:
    """Everything that a simulation depends on: the same scenario gives the same result.

    It is measured from `warmup_us` to `duration_us` of virtual time. Nothing begins after that, and what is in flight
    ends. `service` is how the times of pages vary, and whatever takes time of a CPU is up to `jitter_percent` longer or
    shorter, all alike; a device's times never vary.
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
    jitter_percent: float = 0.0
    duration_us: float = 1_000_000.0
    warmup_us: float = 0.0
    seed: int = 1
    varied: tuple[tuple[str, str], ...] = ()
    """The keys that `--vary` has set in this one, with their values."""
