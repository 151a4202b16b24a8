"""The cells that are measured, with their floors: zramfs's figure over another's (docs/performance.md)."""

from collections.abc import Mapping
from typing import Literal

from apart import BlockLayerCell, MemoryCell
from cells import (
    ALL_TARGETS,
    BASE,
    BASE_OTHERWISE,
    KIB,
    MIB,
    OTHERWISE,
    OURS,
    CallersCell,
    Cell,
    DdCell,
    Direction,
    FioCell,
    PinnedCell,
    Transport,
    Unit,
)
from flood import FloodCell, ZerosFloodCell

Floors = Mapping[str, float]

AS_FAST = 0.97
"""What each cell keeps of the base line's figure on the transport that was there before: rounds differ by as much."""
MAY_GROW = 1.03


def floors_on(uring: Floors | None = None, *, dev: Floors | None = None) -> dict[Transport, Floors]:
    """Return the floors of each transport; on `dev` a cell is as fast as the base line, unless it says otherwise."""
    return {"dev": {BASE: AS_FAST} if dev is None else dev, "uring": uring or {}}


def random_4k(direction: Direction, depth: int, uring: Floors | None = None, **floors: float) -> FioCell:
    """Return a cell of small requests all over the device, counted in requests a second."""
    return FioCell(
        name=f"4k-rand{direction}-qd{depth}",
        title=f"4K random {direction} QD{depth}",
        direction=direction,
        unit="k IOPS",
        pattern=f"rand{direction}",
        block_bytes=4 * KIB,
        depth=depth,
        floors=floors,
        floors_on=floors_on(uring),
        targets=(*ALL_TARGETS, "nothing"),
    )


def sequential(size: str, direction: Direction, depth: int, **floors: float) -> FioCell:
    """Return a cell of large requests one after the other, counted in bytes a second."""
    return FioCell(
        name=f"{size.lower()}-{direction}-qd{depth}",
        title=f"{size} {direction} QD{depth}",
        direction=direction,
        unit="MB/s",
        pattern=direction,
        block_bytes={"128K": 128 * KIB, "1M": MIB}[size],
        depth=depth,
        floors=floors,
        floors_on=floors_on({BASE: 0.95}),
    )


def binaries(direction: Direction, **floors: float) -> DdCell:
    """Return a cell of dd."""
    return DdCell(
        name=f"dd-{direction}",
        title=f"dd 1M {direction}, binaries",
        direction=direction,
        unit="MB/s",
        floors=floors,
        floors_on=floors_on({BASE: 0.95}),
    )


def callers_4k(direction: Direction, callers: int, uring: Floors, **floors: float) -> CallersCell:
    """Return a cell of several psync writers or readers."""
    who = {"write": "writers", "read": "readers"}[direction]
    return CallersCell(
        name=f"4k-rand{direction}-{callers}-{who}",
        title=f"4K random {direction}, {callers} {who}, otherwise 1",
        direction=direction,
        unit="k IOPS",
        pattern=f"rand{direction}",
        block_bytes=4 * KIB,
        depth=1,
        callers=callers,
        floors=floors,
        floors_on=floors_on(uring),
        targets=(OURS, BASE, OTHERWISE, "kernel"),
    )


def pinned_4k(direction: Direction, uring: Floors) -> PinnedCell:
    """Return a cell of one caller who stays on a CPU."""
    return PinnedCell(
        name=f"4k-rand{direction}-pinned",
        title=f"4K random {direction} QD1, on one CPU",
        direction=direction,
        unit="k IOPS",
        pattern=f"rand{direction}",
        block_bytes=4 * KIB,
        depth=1,
        floors_on=floors_on(uring),
        targets=(OURS, BASE, "kernel"),
    )


def flood() -> FloodCell:
    """Return the cell of the synchronous writer beside a flood, policy auto; otherwise percpu."""
    targets = (OURS, BASE, OTHERWISE, BASE_OTHERWISE)
    return flood_p99(
        name="4k-sync-in-flood",
        title="4K sync p99 in a 1M flood, otherwise percpu",
        floors={OTHERWISE: 0.5},
        floors_on=floors_on({BASE: 0.3, BASE_OTHERWISE: 0.5}, dev={BASE: MAY_GROW}),
        targets=targets,
        companions=(
            flood_part("sync", "4k-sync-in-flood-iops", "its IOPS", uring={BASE: 1.4}, targets=targets),
            flood_part("flood", "4k-sync-in-flood-mbs", "the flood", uring={BASE: 1.2}, targets=targets),
        ),
    )


def percpu_flood() -> FloodCell:
    """Return the same with policy percpu on both sides."""
    targets = (OURS, BASE)
    name = "4k-sync-in-percpu-flood"
    return flood_p99(
        name=name,
        title="4K sync p99 in a 1M flood, percpu",
        floors_on=floors_on(dev={}),
        targets=targets,
        always_percpu=True,
        companions=(
            flood_part("sync", f"{name}-iops", "its IOPS", targets=targets, always_percpu=True),
            flood_part("flood", f"{name}-mbs", "the flood", targets=targets, always_percpu=True),
        ),
    )


def flood_p99(
    *,
    name: str,
    title: str,
    floors_on: Mapping[Transport, Floors],
    targets: tuple[str, ...],
    companions: tuple[Cell, ...],
    floors: Floors | None = None,
    always_percpu: bool = False,
) -> FloodCell:
    """Return a cell of the synchronous writer's latency, whose companions are its IOPS and the flood's speed."""
    return FloodCell(
        name=f"{name}-p99",
        title=title,
        direction="write",
        unit="µs",
        figure_of="p99",
        floors=floors or {},
        floors_on=floors_on,
        targets=targets,
        less_is_better=True,
        companions=companions,
        always_percpu=always_percpu,
    )


def flood_part(
    figure_of: Literal["sync", "flood"],
    name: str,
    title: str,
    *,
    targets: tuple[str, ...],
    uring: Floors | None = None,
    always_percpu: bool = False,
) -> FloodCell:
    """Return another figure of the same run."""
    units: dict[str, Unit] = {"sync": "k IOPS", "flood": "MB/s"}
    return FloodCell(
        name=name,
        title=f"… {title}",
        direction="write",
        unit=units[figure_of],
        figure_of=figure_of,
        floors_on=floors_on(uring, dev={}),
        targets=targets,
        always_percpu=always_percpu,
    )


def flood_of_zeros(rate_mib_s: int) -> ZerosFloodCell:
    """Return the cell of what receiving such a flood costs a synchronous writer, whatever is done with it."""
    return ZerosFloodCell(
        name="4k-sync-in-zeros-p99",
        title=f"the same in one of zeros, {rate_mib_s} MiB/s",
        direction="write",
        unit="µs",
        figure_of="p99",
        floors_on=floors_on(dev={BASE: MAY_GROW}),
        targets=(OURS, BASE, OTHERWISE),
        less_is_better=True,
        always_percpu=True,
        rate_bytes_s=rate_mib_s * MIB,
    )


def memory(most: float) -> MemoryCell:
    """Return the cell of what a mount needs for what it stores."""
    return MemoryCell(
        name="memory",
        title="memory of 1 GiB stored, over its data",
        direction="write",
        unit="x",
        figure_of="ratio",
        floors={"data": most},
        targets=(OURS, BASE, "data"),
        constants={"data": 1.0},
        less_is_better=True,
        companions=(
            memory_part("buffers", "receivers' buffers", OURS),
            memory_part("empty", "an empty mount", OURS, BASE),
        ),
    )


def memory_part(figure_of: Literal["empty", "buffers"], title: str, *targets: str) -> MemoryCell:
    """Return another figure of the same mount."""
    return MemoryCell(
        name=f"memory-{figure_of}",
        title=f"… {title}",
        direction="write",
        unit="MiB",
        figure_of=figure_of,
        targets=targets,
        less_is_better=True,
    )


def block_layer(direction: Direction, threads: int, least: float) -> BlockLayerCell:
    """Return the cell of how the block layer alone scales."""
    return BlockLayerCell(
        name=f"block-layer-4k-{direction}",
        title=f"block layer 4K {direction}, {threads} threads, otherwise 1",
        direction=direction,
        unit="k IOPS",
        threads=threads,
        floors={OTHERWISE: least},
        targets=(OURS, OTHERWISE),
    )


CELLS: tuple[Cell, ...] = (
    random_4k("write", 1, peer=2.5),
    random_4k("write", 32, {BASE: 1.1, "kernel": 1.0}, peer=4.0, nothing=0.7),
    random_4k("read", 1, peer=2.0),
    random_4k("read", 32, {BASE: 1.4, "kernel": 1.2}, peer=2.5),
    pinned_4k("write", {BASE: 1.4}),
    pinned_4k("read", {BASE: 1.4}),
    sequential("128K", "write", 1, kernel=0.9),
    sequential("128K", "read", 1),
    sequential("1M", "write", 4, kernel=1.6),
    sequential("1M", "read", 4, kernel=1.3),
    binaries("write", kernel=1.2),
    binaries("read", kernel=1.1),
    callers_4k("write", 4, {BASE: 1.5}, otherwise=1.5),
    callers_4k("read", 4, {BASE: 1.6}),
    flood(),
    percpu_flood(),
    flood_of_zeros(1000),
    memory(1.08),
    block_layer("write", 2, 1.85),
    block_layer("read", 2, 1.9),
)
