"""Pages of every kind that a zram tells apart."""

import json
import os
import random
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Final

PAGE = 4096

Pages = list[bytes]


@cache
def made_pages(count: int, seed: int) -> Pages:
    """Pages of every size class, patterns, same-filled and random ones, in any order."""
    chance = random.Random(seed)
    pages = []
    for number in range(count):
        kept = chance.randrange(1, PAGE)
        pages.append(
            [
                chance.randbytes(kept) + bytes(PAGE - kept),
                chance.randbytes(PAGE),
                bytes(PAGE),
                chance.randbytes(8) * 512,
                _repeated(chance.randbytes(chance.randrange(9, 300))),
            ][chance.choice([0, 0, 0, 0, 1, 2, 3, 4]) if number % 7 else 0]
        )
    return pages


@cache
def real_pages(count: int) -> Pages:
    """Programs and the sources of Python, in turn."""
    programs = _pages_of_files((path for path in sorted(Path("/usr/bin").iterdir()) if path.is_file()), 64)
    sources = _pages_of_files(iter(sorted(Path(os.__file__).parent.glob("*.py"))), 64)
    pages = [page for both in zip(programs, sources, strict=False) for page in both]
    assert len(pages) > 1000
    return pages[:count]


def _pages_of_files(paths: Iterator[Path], pages_each: int) -> Iterator[bytes]:
    for path in paths:
        yield from islice(_cut(path.read_bytes()), pages_each)


def programs(count: int, seed: int) -> Iterator[bytes]:
    """Programs and libraries."""
    return islice(_pages_of_files(_shuffled(seed, "/usr/bin/*", "/usr/sbin/*", "/usr/lib/*/*.so*"), 400), count)


def texts(count: int, seed: int) -> Iterator[bytes]:
    """Documentation, sources and headers."""
    files = _shuffled(seed, "/usr/share/doc/*/*", "/usr/lib/python3*/**/*.py", "/usr/include/**/*.h")
    return islice(_pages_of_files(files, 100), count)


def json_records(count: int, seed: int) -> Iterator[bytes]:
    """Records with the same names and other values, on one line each or indented."""
    chance = random.Random(seed)
    names = ["id", "name", "value", "timestamp", "children", "status", "position", "x", "y", "unit"]

    def value(depth: int) -> object:
        kind = chance.random()
        if depth > 3 or kind < 0.4:
            word = "".join(chance.choices("abcdefghij klm", k=chance.randrange(20)))
            return chance.choice([chance.randrange(10**6), chance.random(), None, True, word])
        if kind < 0.6:
            return [value(depth + 1) for _ in range(chance.randrange(8))]
        return {name: value(depth + 1) for name in chance.sample(names, 5)}

    for _ in range(-(-count // 16)):
        indent = chance.choice([None, None, 2])
        text = ""
        while len(text) < 16 * PAGE:
            text += json.dumps({"id": chance.getrandbits(30), "records": [value(0) for _ in range(20)]}, indent=indent)
        yield from _cut(text.encode()[: 16 * PAGE])


def images(count: int, seed: int) -> Iterator[bytes]:
    """Gradients with and without noise, of one, three or four bytes a pixel."""
    chance = random.Random(seed)
    for _ in range(count):
        width, channels, noise = chance.choice([64, 256, 640]), chance.choice([1, 3, 4]), chance.choice([1, 1, 2, 4])
        across, down, first = chance.random() / 2, chance.random() * 3, chance.randrange(256)
        colours = [bytes([(pixel + 40 * each) % 256 for each in range(channels)]) for pixel in range(256)]
        added = chance.choices(range(noise), k=-(-PAGE // channels))
        yield b"".join(
            colours[(int(first + number % width * across + number // width * down) + more) % 256]
            for number, more in enumerate(added)
        )[:PAGE]


def zeros_between(count: int, seed: int) -> Iterator[bytes]:
    """Runs of zeros, short and long ones, between literals and what was there before."""
    chance = random.Random(seed)
    for _ in range(count):
        longest_run = chance.choice([3, 5, 8, 16, 40, 300, 2100, 4000])
        longest = chance.choice([1, 3, 5, 8, 20, 40, 300, 2000])
        known = [chance.randbytes(chance.randint(1, longest)) for _ in range(4)]
        page = b""
        while len(page) < PAGE:
            page += chance.choice(known) if chance.random() < 0.4 else chance.randbytes(chance.randint(1, longest))
            page += bytes(chance.randint(0, longest_run))
        yield page[:PAGE]


def phrases_and_runs(seed: int) -> bytes:
    """Phrases of some alphabet that come again, and a tail that comes twice."""
    chance = random.Random(seed)
    alphabet = chance.choice([b"ab", b"\0a", b"\0\1\2\xff", b"abcdefgh", bytes(range(40)), bytes(range(256))])
    longest = chance.choice([4, 6, 12, 40, 400, 3000])
    phrases = [bytes(chance.choices(alphabet, k=chance.randint(1, longest))) for _ in range(chance.choice([2, 8, 60]))]
    page = b""
    while len(page) < PAGE:
        page += chance.choice(phrases)
    tail = chance.randbytes(chance.randrange(25))
    return page[: PAGE - 2 * len(tail)] + tail + tail


KINDS: Final[dict[str, Callable[[int, int], Iterator[bytes]]]] = {
    "program": programs,
    "text": texts,
    "JSON": json_records,
    "image": images,
    "zero-run": zeros_between,
    "phrase": lambda count, seed: (phrases_and_runs(number) for number in range(seed << 32, (seed << 32) + count)),
    "made": lambda count, seed: iter(made_pages(count, seed)),
}
"""Names, and what gives pages by count and seed: nearly as many as are asked for."""


_FEW: Final = 4000


def pages_of(kind: str, count: int, seed: int) -> Iterable[bytes]:
    """Give pages of a kind; few are kept for the next who wants them, as each algorithm does."""
    return _few_pages_of(kind, count, seed) if count <= _FEW else KINDS[kind](count, seed)


@cache
def _few_pages_of(kind: str, count: int, seed: int) -> Pages:
    return list(KINDS[kind](count, seed))


def _repeated(unit: bytes) -> bytes:
    return (unit * (PAGE // len(unit) + 1))[:PAGE]


def _shuffled(seed: int, *patterns: str) -> Iterator[Path]:
    files = sorted({path for each in patterns for path in Path("/").glob(each.lstrip("/")) if path.is_file()})
    random.Random(seed).shuffle(files)
    return iter(files)


def _cut(data: bytes) -> Iterator[bytes]:
    for offset in range(0, len(data) - PAGE + 1, PAGE):
        yield data[offset : offset + PAGE]
