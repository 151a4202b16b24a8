#!/usr/bin/env python3
"""Measures the kernel's zram beside measure_algorithms.py, on the same pages: ratio, and µs a page both ways.

sudo .venv/bin/python scripts/measure_kernel.py [FOLDER]    one line for each of its algorithms, by a device of its own
"""

import mmap
import os
import re
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from time import perf_counter_ns
from typing import Final

from measure_algorithms import distinct_pages

from zramfs.units import PAGE_SIZE

_PAGES: Final = 8192
_PAGES_BEFORE: Final = 16  # of the dictionary that measure_algorithms.py takes
_REQUEST: Final = 1 << 20
_ROUNDS: Final = 7
_CONTROL: Final = Path("/sys/class/zram-control")


def main(folder: Path) -> None:
    source = mmap.mmap(-1, _PAGES * PAGE_SIZE)  # whole pages of memory, as direct I/O needs them
    source[:] = b"".join(islice(distinct_pages(folder), _PAGES_BEFORE, _PAGES_BEFORE + _PAGES))
    with added_device() as name:
        attributes = Path("/sys/block", name)
        for algorithm in re.findall(r"[\w-]+", (attributes / "comp_algorithm").read_text()):
            (attributes / "comp_algorithm").write_text(algorithm)
            (attributes / "disksize").write_text(str(len(source)))
            report(algorithm, Path("/dev", name), attributes, source)
            store_when_closed(attributes / "reset", "1")


@contextmanager
def added_device() -> Iterator[str]:
    number = (_CONTROL / "hot_add").read_text().strip()
    try:
        yield f"zram{number}"
    finally:
        store_when_closed(_CONTROL / "hot_remove", number)


def store_when_closed(path: Path, value: str) -> None:
    """Write it once nobody has the device open any more: udev looks at what is new, for a moment."""
    deadline = time.monotonic() + 5
    while True:
        try:
            path.write_text(value)
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)
        else:
            return


def report(algorithm: str, device: Path, attributes: Path, source: mmap.mmap) -> None:
    fd = os.open(device, os.O_RDWR | os.O_DIRECT)
    back = mmap.mmap(-1, len(source))
    try:
        us_a_page(os.pwritev, fd, source)  # into an empty device, unlike all others
        rounds = [(us_a_page(os.pwritev, fd, source), us_a_page(os.preadv, fd, back)) for _ in range(_ROUNDS)]
    finally:
        os.close(fd)
    if back[:] != source[:]:
        sys.exit(f"{algorithm}: what was read is not what was written")
    original, compressed = map(int, (attributes / "mm_stat").read_text().split()[:2])
    there, here = (statistics.median(times) for times in zip(*rounds, strict=True))
    figures = f"write {there:.1f} us a page, read {here:.1f}"
    print(f"{algorithm}: ratio {original / compressed:.2f}, {figures}", flush=True)


def us_a_page(transfer: Callable[[int, list[memoryview], int], int], fd: int, memory: mmap.mmap) -> float:
    window = memoryview(memory)
    start_ns = perf_counter_ns()
    for offset in range(0, len(memory), _REQUEST):
        if transfer(fd, [window[offset : offset + _REQUEST]], offset) != _REQUEST:
            sys.exit("a request was done in part only")
    return (perf_counter_ns() - start_ns) / (len(memory) // PAGE_SIZE) / 1000


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "/usr/bin"))
