"""What a load of `zramfs compare` takes by itself, as simulations need to know: fio, and the storm's process."""

import os
import re
import statistics
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from zramfs.measure.fio import BASICS, read_report

MEMORY = Path("/dev/shm")  # noqa: S108 - a file system that is in memory
STORM_MIB = 384, 96
"""What `compare` fills on a disk of 512 MiB, and what may stay in memory."""

TOUCHED = re.compile(r"touched ([0-9]+) pages in ([0-9.]+) s")


def output_of(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(command)}: exit code {done.returncode}: {done.stderr.strip()}")
    return done.stdout


def fio_us(block: str, *, depth: int) -> float:
    """What fio itself takes for a request of this size: filling its pages, above all. Its null engine does nothing.

    As many requests have memory of their own as the workload has in flight, and every CPU does the same.
    """
    options = [f"--bs={block}", f"--iodepth={depth}", "--rw=write", "--size=64M", "--buffer_compress_percentage=60"]
    timed = ["--ioengine=null", f"--numjobs={os.cpu_count()}", "--time_based", "--runtime=300ms"]
    jobs = read_report(output_of(*BASICS, "--name=null", "--output-format=json", *timed, *options))["jobs"]
    return statistics.mean(1e6 / float(job["write"]["iops"]) for job in jobs)


def storm_us() -> float:
    """What a page takes the storm's process and the kernel where swap is a file in memory, without FUSE and zramfs."""
    command = [sys.executable, "-P", "-m", "zramfs.compare.memory_hog", *map(str, STORM_MIB), "1.25", os.devnull]
    with swap_in_memory(MEMORY / f"zramfs-swap-{os.getpid()}"):
        said = output_of(*command)
    found = TOUCHED.search(said)
    if found is None:
        sys.exit(f"{' '.join(command)} does not say how long it took: {said[:80]!r}")
    return float(found[2]) / int(found[1]) * 1e6


@contextmanager
def swap_in_memory(path: Path) -> Iterator[None]:
    """Swap to a loop device of a file in memory, before all other swap."""
    path.touch(mode=0o600)
    try:
        os.truncate(path, 512 << 20)
        device = output_of("losetup", "--show", "--find", str(path)).strip()
        try:
            output_of("mkswap", device)
            output_of("swapon", "--priority", "200", device)
            yield
        finally:
            subprocess.run(["swapoff", device], check=False, stderr=subprocess.DEVNULL)
            output_of("losetup", "--detach", device)
    finally:
        path.unlink()
