"""What the process of a swap storm takes by itself, as simulations need to know."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from zramfs.measure.fio import BASICS, file_name, read_report

MEMORY = Path("/dev/shm")  # noqa: S108 - a file system that is in memory
STORM_MIB = 384, 96
"""What `compare` fills on a disk of 512 MiB, and what may stay in memory."""

TOUCHED = re.compile(r"touched ([0-9]+) pages in ([0-9.]+) s")


def output_of(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(command)}: exit code {done.returncode}: {done.stderr.strip()}")
    return done.stdout


def storm_us() -> float:
    """What a page takes the storm's process and the kernel where swap is a file in memory, without FUSE and zramfs.

    Less what writing a page to such a file takes, for which the process waits as it does for zramfs.
    """
    command = [sys.executable, "-P", "-m", "zramfs.compare.memory_hog", *map(str, STORM_MIB), "1.25", os.devnull]
    with loop_in_memory(MEMORY / f"zramfs-swap-{os.getpid()}") as device:
        write_us = written_us(device)
        with swap_on(device):
            said = output_of(*command)
    found = TOUCHED.search(said)
    if found is None:
        sys.exit(f"{' '.join(command)} does not say how long it took: {said[:80]!r}")
    return float(found[2]) / int(found[1]) * 1e6 - write_us


def written_us(device: str) -> float:
    """What writing a page takes in requests as the storm's are."""
    requests = ["--rw=write", "--bs=512k", "--direct=1", "--ioengine=libaio", "--iodepth=32"]
    timed = ["--time_based", "--runtime=400ms", "--output-format=json", f"--filename={file_name(Path(device))}"]
    job = read_report(output_of(*BASICS, "--name=swap", *timed, *requests, "--zero_buffers"))["jobs"][0]
    return 1e6 / float(job["write"]["iops"]) / (512 // 4)


@contextmanager
def loop_in_memory(path: Path) -> Iterator[str]:
    """A loop device of a file in memory."""
    path.touch(mode=0o600)
    try:
        os.truncate(path, 512 << 20)
        device = output_of("losetup", "--show", "--find", str(path)).strip()
        try:
            yield device
        finally:
            output_of("losetup", "--detach", device)
    finally:
        path.unlink()


@contextmanager
def swap_on(device: str) -> Iterator[None]:
    """Swap to a device before all others."""
    output_of("mkswap", device)
    output_of("swapon", "--priority", "200", device)
    try:
        yield
    finally:
        output_of("swapoff", device)
