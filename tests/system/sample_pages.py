"""Pages of every kind that a zram tells apart."""

import os
import random
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

PAGE = 4096

Pages = list[bytes]


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
                (chance.randbytes(chance.randrange(9, 300)) * PAGE)[:PAGE],
            ][chance.choice([0, 0, 0, 0, 1, 2, 3, 4]) if number % 7 else 0]
        )
    return pages


def real_pages(count: int) -> Pages:
    """Programs and the sources of Python, in turn."""
    programs = _pages_of_files((path for path in sorted(Path("/usr/bin").iterdir()) if path.is_file()), 64)
    sources = _pages_of_files(iter(sorted(Path(os.__file__).parent.glob("*.py"))), 64)
    pages = [page for both in zip(programs, sources, strict=False) for page in both]
    assert len(pages) > 1000
    return pages[:count]


def _pages_of_files(paths: Iterator[Path], pages_each: int) -> Iterator[bytes]:
    for path in paths:
        data = path.read_bytes()
        for offset in islice(range(0, len(data) - PAGE + 1, PAGE), pages_each):
            yield data[offset : offset + PAGE]
