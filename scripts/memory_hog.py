"""Fill memory and verify it from within a memory cgroup that is too small for it, so that most of it is swapped.

    memory_hog.py FILL_MIB LIMIT_MIB

Prints what it verified; exit code 1 if a byte differs, 77 where no memory cgroup can be made.
"""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random

PAGE_BYTES = 4096
MIB = 1 << 20
CANNOT = 77

V1 = Path("/sys/fs/cgroup/memory")
V2 = Path("/sys/fs/cgroup")


@contextmanager
def memory_limit(limit_bytes: int) -> Iterator[None]:
    """Put this process into a new memory cgroup (v1 or v2), and back at the end."""
    is_v1 = (V1 / "memory.limit_in_bytes").exists()
    parent = V1 if is_v1 else V2
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
    """A page that says which it is, compressible to about half."""
    return (
        number.to_bytes(8, "little") + filler[number % 64 : number % 64 + PAGE_BYTES // 2 - 8] + bytes(PAGE_BYTES // 2)
    )


def main() -> int:
    fill_bytes, limit_bytes = (int(argument) * MIB for argument in sys.argv[1:3])
    filler = Random(1).randbytes(PAGE_BYTES)
    pages = fill_bytes // PAGE_BYTES
    with memory_limit(limit_bytes):
        memory = bytearray(fill_bytes)
        for number in range(pages):
            memory[number * PAGE_BYTES : (number + 1) * PAGE_BYTES] = page(number, filler)
        for number in range(pages):
            if memory[number * PAGE_BYTES : (number + 1) * PAGE_BYTES] != page(number, filler):
                print(f"page {number} differs", file=sys.stderr)
                return 1
        swapped_kib = next(
            int(line.split()[1]) for line in Path("/proc/self/status").read_text().splitlines() if "VmSwap" in line
        )
        del memory
    swapped_mib = swapped_kib // 1024
    print(f"verified {fill_bytes // MIB} MiB within {limit_bytes // MIB} MiB of memory; {swapped_mib} MiB swapped out")
    return 0


if __name__ == "__main__":
    sys.exit(main())
