"""Cuts the loads of a scenario into flows: requests of one kind that one set of tasks works on."""

from dataclasses import dataclass, replace
from math import ceil

from zramfs.simulate.load_kinds import (
    AlikeLoad,
    ClosedLoad,
    Distribution,
    Load,
    OpenLoad,
    Operation,
    ReclaimLoad,
    ReplayLoad,
    SwapLoad,
    Trace,
)
from zramfs.simulate.scenario import Machine, Scenario
from zramfs.units import PAGE_SIZE

SYNC_WRITE, ASYNC_WRITE, READ = range(3)
"""Kinds of request: the indexes of `result.REQUEST_CLASSES`."""

_NS_PER_US = 1000
_NS_PER_S = 1_000_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Flow:
    """What the engine is loaded with. `cpus`: that of each task. `gap_ns`: the mean between arrivals; 0: it is closed.

    `make_ns`: what a task's CPU does before each request arrives. `trace`: arrivals at its times, divided by `speed`,
    instead. `requests`: how many there are, 0: no end. `after`: the load that has to end before; -1: none.
    `reads_first`: of `read_pages` each, one by one, that precede each batch of a task; the time to make is theirs.
    """

    load: int
    cpus: tuple[int, ...]
    depth: int
    pages: int = 1
    kind: int = SYNC_WRITE
    think_ns: float = 0.0
    make_ns: float = 0.0
    thinks_exponentially: bool = False
    in_batches: bool = False
    gap_ns: float = 0.0
    burst: int = 1
    trace: Trace | None = None
    speed: float = 1.0
    requests: int = 0
    after: int = -1
    reads_first: int = 0
    read_pages: int = 0

    @property
    def is_open(self) -> bool:
        """Whether requests arrive by themselves."""
        return self.gap_ns > 0 or self.trace is not None


def flows_of(scenario: Scenario) -> list[Flow]:
    """Return the flows of all loads. Tasks get CPUs in turn, each load going on where the one before ended."""
    flows: list[Flow] = []
    names = [load.name for load in scenario.loads]
    for number, load in enumerate(scenario.loads):
        begun = sum(len(flow.cpus) for flow in flows)
        after = names.index(load.after) if load.after else -1
        flows += [replace(flow, after=after) for flow in _flows_of_load(load, number, scenario.machine, begun)]
    return flows


def _flows_of_load(load: Load, number: int, machine: Machine, begun: int) -> list[Flow]:
    candidates = cpus_of_group(machine, load.group)

    def cpus(first: int, count: int) -> tuple[int, ...]:
        return tuple(candidates[(first + task) % len(candidates)] for task in range(count))

    match load:
        case ClosedLoad():
            return [_closed(load, number, cpus(begun, load.tasks))]
        case OpenLoad():
            return [_open(load, number, cpus(begun, load.tasks))]
        case ReplayLoad():
            own = cpus(begun, load.tasks)
            return [
                Flow(
                    load=number,
                    cpus=own,
                    depth=load.depth,
                    trace=load.trace,
                    speed=load.speed,
                    requests=len(load.trace),
                )
            ]
        case SwapLoad():
            return [_swap(load, number, cpus(begun, load.tasks))]
        case ReclaimLoad():
            reclaimers = cpus(begun, load.reclaimers)
            return _reclaim(load, number, reclaimers, cpus(begun + load.reclaimers, load.faulters))


def cpus_of_group(machine: Machine, group: str) -> list[int]:
    """Return the numbers of the CPUs of one group, or of all for "": CPUs are counted in the order of the groups."""
    numbers: list[int] = []
    begin = 0
    for each in machine.groups:
        if group in ("", each.name):
            numbers += range(begin, begin + each.count)
        begin += each.count
    return numbers


def _kind(operation: Operation, *, is_async: bool) -> int:
    if operation is Operation.READ:
        return READ
    return ASYNC_WRITE if is_async else SYNC_WRITE


def _closed(load: ClosedLoad, number: int, cpus: tuple[int, ...]) -> Flow:
    return replace(
        _alike(load, number, cpus),
        think_ns=load.think_us * _NS_PER_US,
        make_ns=load.make_us * _NS_PER_US,
        thinks_exponentially=load.think is Distribution.EXPONENTIAL,
        in_batches=load.in_batches,
    )


def _open(load: OpenLoad, number: int, cpus: tuple[int, ...]) -> Flow:
    gap_ns = _NS_PER_S / load.rate_per_s * load.burst
    return replace(_alike(load, number, cpus), gap_ns=gap_ns, burst=load.burst)


def _alike(load: AlikeLoad, number: int, cpus: tuple[int, ...]) -> Flow:
    return Flow(
        load=number,
        cpus=cpus,
        depth=load.depth,
        pages=load.pages,
        kind=_kind(load.operation, is_async=load.is_async),
        requests=load.requests,
    )


def _swap(load: SwapLoad, number: int, cpus: tuple[int, ...]) -> Flow:
    return Flow(
        load=number,
        cpus=cpus,
        depth=load.batch,
        pages=load.write_bytes // PAGE_SIZE,
        kind=ASYNC_WRITE,
        make_ns=load.make_us * _NS_PER_US,
        in_batches=True,
        reads_first=ceil(load.batch * load.write_bytes / load.read_bytes),
        read_pages=load.read_bytes // PAGE_SIZE,
    )


def _reclaim(load: ReclaimLoad, number: int, reclaimers: tuple[int, ...], faulters: tuple[int, ...]) -> list[Flow]:
    swap_out = Flow(
        load=number,
        cpus=reclaimers,
        depth=load.batch,
        kind=ASYNC_WRITE,
        think_ns=load.pause_us * _NS_PER_US,
        thinks_exponentially=True,
        in_batches=True,
    )
    swap_in = Flow(
        load=number,
        cpus=faulters,
        depth=1,
        kind=READ,
        think_ns=load.think_us * _NS_PER_US,
        thinks_exponentially=True,
    )
    return [flow for flow in (swap_out, swap_in) if flow.cpus]


assert PAGE_SIZE == 4096  # noqa: S101 - the costs of the machines are those of such pages
