"""Fill memory and verify it from within a memory cgroup that is too small for it, so that most of it is swapped.

    python -m zramfs.compare.memory_hog FILL_MIB LIMIT_MIB [RUNTIME_S [COUNTERS]]

Fills and verifies at least once, and again until RUNTIME_S have passed. Prints what it verified; exit code 1 if a
byte differs, 77 where no memory cgroup can be made. Once memory is full for the first time, and swap with it, it prints
what stands in the file COUNTERS; and at the end how many pages it has touched since, and in what time.
"""

import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import Final

from zramfs.page import PAGE_BYTES

MIB: Final = 1 << 20
CANNOT: Final = 77

_TOLD_DIFFERENCES: Final = 20
_V1: Final = Path("/sys/fs/cgroup/memory")
_V2: Final = Path("/sys/fs/cgroup")


@contextmanager
def memory_limit(limit_bytes: int) -> Iterator[None]:
    """Put this process into a new memory cgroup (v1 or v2), and back at the end."""
    is_v1 = (_V1 / "memory.limit_in_bytes").exists()
    parent = _V1 if is_v1 else _V2
    group = parent / f"zramfs-hog-{os.getpid()}"
    try:
        group.mkdir()
        (group / ("memory.limit_in_bytes" if is_v1 else "memory.max")).write_text(str(limit_bytes))
        (group / "cgroup.procs").write_text(str(os.getpid()))
    except OSError as error:
        if group.exists():
            group.rmdir()
        print(f"no memory cgroup here: {error}", file=sys.stderr)
        sys.exit(CANNOT)
    try:
        yield
    finally:
        (parent / "cgroup.procs").write_text(str(os.getpid()))
        group.rmdir()


def page(number: int, filler: bytes) -> bytes:
    """Return a page that says which it is, compressible to about half."""
    return (
        number.to_bytes(8, "little") + filler[number % 64 : number % 64 + PAGE_BYTES // 2 - 8] + bytes(PAGE_BYTES // 2)
    )


def fill(memory: bytearray, first: int, filler: bytes) -> None:
    """Write pages that are called `first` and up."""
    for place in range(0, len(memory), PAGE_BYTES):
        memory[place : place + PAGE_BYTES] = page(first + place // PAGE_BYTES, filler)


def verify(memory: bytearray, first: int, filler: bytes) -> str:
    """Read them back; what differs, or nothing."""
    names = range(first, first + len(memory) // PAGE_BYTES)
    wrong = []
    for place, name in enumerate(names):
        found = bytes(memory[place * PAGE_BYTES : (place + 1) * PAGE_BYTES])
        if found != page(name, filler):
            wrong.append(difference(name, found, filler))
    told = "".join(f"\n  {each}" for each in wrong[:_TOLD_DIFFERENCES])
    return f"{len(wrong)} of {len(names)} pages differ, named from {first} on:{told}" if wrong else ""


def difference(name: int, found: bytes, filler: bytes) -> str:
    """Tell where a page differs, and what is there: zeros, another page, or the same one of an earlier round.

    The system's pages begin 16 bytes before ours: that far behind them malloc lets large memory begin.
    """
    wanted = page(name, filler)
    wrong = [at for at in range(PAGE_BYTES) if found[at] != wanted[at]]
    other = int.from_bytes(found[:8], "little")
    if found == page(other, filler):
        holds = f"page {other}"
    elif not any(found[at] for at in wrong):
        holds = "zeros"
    else:
        holds = found[wrong[0] : wrong[0] + 16].hex()
    return f"page {name} differs at {len(wrong)} of the bytes {wrong[0]} to {wrong[-1]}: {holds}"


def swapped_bytes() -> int:
    """Return how much of this process is swapped out."""
    status = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in status if line.startswith("VmSwap:")) * 1024


def main() -> int:
    """Fill and verify until the time has passed."""
    fill_bytes, limit_bytes = (int(argument) * MIB for argument in sys.argv[1:3])
    ends_at = time.monotonic() + float(sys.argv[3] if len(sys.argv) > 3 else 0)
    counters = Path(sys.argv[4]) if len(sys.argv) > 4 else None
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    filler = Random(1).randbytes(PAGE_BYTES)  # noqa: S311 - filler, not a secret
    pages = fill_bytes // PAGE_BYTES
    times = 0
    with memory_limit(limit_bytes):
        memory = bytearray(fill_bytes)
        fill(memory, 0, filler)
        if counters is not None:
            print(counters.read_text(), flush=True)
        full_at = time.monotonic()
        while True:
            differs = verify(memory, times * pages, filler)
            times += 1
            if differs:
                print(differs, file=sys.stderr)
                return 1
            if time.monotonic() >= ends_at:
                break
            fill(memory, times * pages, filler)
        took_s = time.monotonic() - full_at
        swapped_mib = swapped_bytes() // MIB
        del memory
    again = f" {times} times" if times > 1 else ""
    what = f"{fill_bytes // MIB} MiB{again} within {limit_bytes // MIB} MiB of memory"
    if counters is not None:
        print(f"touched {(2 * times - 1) * pages} pages in {took_s:.6f} s since memory was full")
    print(f"verified {what}; {swapped_mib} MiB swapped out")
    return 0


if __name__ == "__main__":
    sys.exit(main())
