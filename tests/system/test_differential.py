"""Random sequences of operations on the kernel's zram and on a mounted one: after each, everything is equal.

ZRAMFS_TEST_SECONDS says for how long (30 unless told otherwise), ZRAMFS_TEST_SEED with which sequence to begin. One
that fails is shortened, and the message says how to run it again.
"""

import errno
import os
import random
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from functools import cache
from itertools import count
from typing import Protocol

import pytest
from mounts import Mounted
from sample_pages import Pages, made_pages, real_pages
from zram_disks import PAGE, MountedZram, ZramDisk, hot_added

Mount = Callable[..., Mounted]

PAGES = 256
DISKSIZE = PAGES * PAGE
SEQUENCE_LENGTH = 300
MAX_RUN_PAGES = 24  # what the kernel would cut into several bios, each of which may fail, is not comparable

TEST_SECONDS = float(os.environ.get("ZRAMFS_TEST_SECONDS", "30"))
FIRST_SEED = int(os.environ.get("ZRAMFS_TEST_SEED", "1"))
SEQUENCE = os.environ.get("ZRAMFS_TEST_SEQUENCE", "")
SHORTEN_SECONDS = 30.0

ALGORITHMS = ("lz4", "lzo", "lzo-rle")

STREAMS = {
    "per-CPU": ("--stream-policy", "percpu"),
    "polled": ("--stream-policy", "managed", "--accel", "ideal"),
    "modelled": ("--stream-policy", "managed", "--accel", "qpace"),
}


class Operation(Protocol):
    """Something that is done to a disk. What it returns, or the OSError that it raises, is compared."""

    def run(self, disk: ZramDisk) -> object: ...


@dataclass(frozen=True)
class Write:
    offset: int
    size: int
    seed: int

    def run(self, disk: ZramDisk) -> int:
        return disk.write(self.offset, contents(self.size, self.seed))


@dataclass(frozen=True)
class Read:
    offset: int
    size: int

    def run(self, disk: ZramDisk) -> bytes:
        return disk.read(self.offset, self.size)


@dataclass(frozen=True)
class Discard:
    offset: int
    size: int

    def run(self, disk: ZramDisk) -> None:
        disk.discard(self.offset, self.size)


@dataclass(frozen=True)
class Zero:
    offset: int
    size: int

    def run(self, disk: ZramDisk) -> None:
        disk.zero(self.offset, self.size)


@dataclass(frozen=True)
class Store:
    attribute: str
    value: str

    def run(self, disk: ZramDisk) -> None:
        disk.set(self.attribute, self.value)


@dataclass(frozen=True)
class StartAnew:
    algorithm: str

    def run(self, disk: ZramDisk) -> None:
        disk.algorithm = self.algorithm
        disk.start_anew()


@cache
def samples() -> Pages:
    return made_pages(3000, seed=0) + real_pages(2000)


def contents(size: int, seed: int) -> bytes:
    pages = random.Random(seed).choices(samples(), k=-(-size // PAGE))
    return b"".join(pages)[:size]


def some_pages(chance: random.Random) -> tuple[int, int]:
    """Offset and size of pages before the end: mostly few, sometimes all."""
    pages = min(chance.choice([1, 1, 2, 8, 64, PAGES]), PAGES)
    page = chance.randrange(PAGES - pages + 1)
    return page * PAGE, pages * PAGE


def write_pages(chance: random.Random) -> Write:
    """Some of these begin at the end, or reach across it."""
    pages = chance.choice([1, 1, 1, 2, 5, MAX_RUN_PAGES])
    return Write(chance.randrange(PAGES + 1) * PAGE, pages * PAGE, chance.getrandbits(32))


def write_part(chance: random.Random) -> Write:
    """Within a page, or from within one to within another."""
    size = chance.choice([1, 512, chance.randrange(1, PAGE), chance.randrange(1, 3 * PAGE)])
    return Write(chance.randrange(DISKSIZE - size), size, chance.getrandbits(32))


def read_part(chance: random.Random) -> Read:
    """Some of these reach across the end."""
    return Read(chance.randrange(DISKSIZE), chance.randrange(1, 3 * PAGE))


def discard(chance: random.Random) -> Discard:
    return Discard(*some_pages(chance))


def zero(chance: random.Random) -> Zero:
    return Zero(*some_pages(chance))


def set_mem_limit(chance: random.Random) -> Store:
    limit = chance.choice(["0", "0", str(chance.randrange(DISKSIZE)), f"{chance.randrange(1024)}K", "junk", "-1"])
    return Store("mem_limit", limit)


def store(chance: random.Random) -> Store:
    """Attributes that act, and writes that are refused now."""
    name, value = chance.choice(
        [
            ("mem_used_max", "0"),
            ("mem_used_max", "0"),
            ("mem_used_max", "1"),
            ("compact", "1"),
            ("compact", "1"),
            ("compact", "1"),
            ("reset", "1"),
            ("reset", "0"),
            ("disksize", "1M"),
            ("comp_algorithm", "lz4"),
        ]
    )
    return Store(name, value)


def start_anew(chance: random.Random) -> StartAnew:
    return StartAnew(chance.choice(ALGORITHMS))


WEIGHTS: dict[Callable[[random.Random], Operation], int] = {
    write_pages: 100,
    write_part: 30,
    read_part: 10,
    discard: 20,
    zero: 10,
    set_mem_limit: 8,
    store: 20,
    start_anew: 1,
}


def operations(seed: int) -> list[Operation]:
    chance = random.Random(seed)
    makers = chance.choices(list(WEIGHTS), list(WEIGHTS.values()), k=SEQUENCE_LENGTH)
    return [start_anew(chance), *(make(chance) for make in makers)]


@dataclass(frozen=True)
class Difference:
    """The operation after which the two differ, and what differs."""

    number: int
    text: str


class Pair:
    """Does everything to both."""

    def __init__(self, kernel: ZramDisk, ours: ZramDisk) -> None:
        self._disks = kernel, ours

    def first_difference(self, sequence: list[Operation], numbers: list[int]) -> Difference | None:
        """Do these operations of the sequence, from fresh devices on."""
        for disk in self._disks:
            StartAnew("lz4").run(disk)
        for number in numbers:
            if text := self._difference_after(sequence[number]):
                return Difference(number, text)
        return None

    def _difference_after(self, operation: Operation) -> str:
        for what, of in {
            "the outcome": lambda disk: outcome(disk, operation),
            "mm_stat": lambda disk: disk.numbers("mm_stat"),
            "io_stat": lambda disk: disk.numbers("io_stat"),
        }.items():
            in_kernel, in_ours = map(of, self._disks)
            if in_kernel != in_ours:
                return f"{what} is {in_kernel!r:.200} in the kernel, {in_ours!r:.200} in zramfs"
        in_kernel, in_ours = (disk.read(0, DISKSIZE) for disk in self._disks)
        if in_kernel != in_ours:
            return f"the data differs in page {first_difference(in_kernel, in_ours) // PAGE}"
        return ""


def outcome(disk: ZramDisk, operation: Operation) -> object:
    try:
        return operation.run(disk)
    except OSError as error:
        return errno.errorcode[error.errno]


def first_difference(one: bytes, other: bytes) -> int:
    return next(place for place, (a, b) in enumerate(zip(one, other, strict=True)) if a != b)


def shortened(numbers: list[int], fails: Callable[[list[int]], bool]) -> list[int]:
    """Leave out ever shorter stretches of what fails, as long as the rest still does."""
    stretch = len(numbers) // 2
    while stretch:
        start = 0
        while start < len(numbers):
            rest = numbers[:start] + numbers[start + stretch :]
            if fails(rest):
                numbers = rest
            else:
                start += stretch
        stretch //= 2
    return numbers


def describe_failure(pair: Pair, seed: int, failing: list[int], text: str) -> str:
    """Shorten the sequence for a while, and say what fails in it and how to run it again."""
    sequence = operations(seed)
    deadline = time.monotonic() + SHORTEN_SECONDS

    def fails(numbers: list[int]) -> bool:
        return time.monotonic() < deadline and pair.first_difference(sequence, numbers) is not None

    numbers = shortened(failing, fails)
    last = pair.first_difference(sequence, numbers)
    return "\n".join(
        [
            f"the kernel's zram and zramfs differ after the last of these operations, of seed {seed}:",
            *(f"  {number}: {sequence[number]}" for number in numbers),
            last.text if last else f"{text}; it does not fail again: it is a matter of timing",
            f"to run it again: ZRAMFS_TEST_SEQUENCE={seed}:{','.join(map(str, numbers))}",
        ]
    )


def sequences(seconds: float) -> Iterator[tuple[int, list[int]]]:
    """Seeds, and the numbers of the operations to do: for so long, or the one that is asked for."""
    if SEQUENCE:
        seed, _, numbers = SEQUENCE.partition(":")
        yield int(seed), [int(number) for number in numbers.split(",")]
        return
    deadline = time.monotonic() + seconds
    for number in count(FIRST_SEED):
        yield number, list(range(SEQUENCE_LENGTH + 1))
        if time.monotonic() > deadline:
            return


@pytest.mark.timeout(TEST_SECONDS + SHORTEN_SECONDS + 90)
@pytest.mark.parametrize("streams", STREAMS)
def test_random_sequences_are_equal(mount: Mount, streams: str) -> None:
    mounted = mount(*STREAMS[streams], "--zram-abi", "6.18", size=None)
    with hot_added(DISKSIZE, *ALGORITHMS) as kernel, closing(MountedZram(mounted, DISKSIZE)) as ours:
        pair = Pair(kernel, ours)
        for seed, numbers in sequences(TEST_SECONDS / len(STREAMS)):
            print(f"seed {seed}")
            difference = pair.first_difference(operations(seed), numbers)
            if difference:
                pytest.fail(
                    describe_failure(pair, seed, [n for n in numbers if n <= difference.number], difference.text)
                )


def test_failing_sequence_is_shortened_to_what_it_takes() -> None:
    assert shortened(list(range(300)), {17, 41, 230}.issubset) == [17, 41, 230]
